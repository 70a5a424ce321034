"""Values of another kind than COCO's format has."""

import pytest

from coco_files import BOX, CATEGORIES, IMAGES, annotation, read_all, write
from sad.data.coco_json import count_instances
from sad.data.datasets import load_coco_set
from sad.utils.errors import UserError


@pytest.mark.parametrize("value", [2, -1, "maybe", [], {}, 0.5])
def test_crowd_flags_that_are_none(tmp_path, value):
    annotations = [annotation(10, 3, BOX, id=8, iscrowd=value)]
    coco = {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations}
    for whole in (True, False):
        with pytest.raises(UserError, match="annotations, id 8: iscrowd is .*, not 0 or 1"):
            read_all(write(tmp_path / "coco.json", coco), whole)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"images": [{**IMAGES[0], "id": 1.5}]}, "images, id 1.5: id is 1.5, not a whole number"),
        ({"images": [IMAGES[0], {**IMAGES[1], "id": "a"}]}, "some ids of images are numbers and"),
        ({"images": [{**IMAGES[0], "width": "9"}]}, "id 10: width is '9', not a number of pixels"),
        ({"images": [{**IMAGES[0], "height": 2**40}]}, "height is 1099511627776, not a number"),
        ({"images": [{**IMAGES[0], "file_name": "a\nb"}]}, r"file_name is 'a\\nb', not a text"),
        ({"categories": [*CATEGORIES, {"id": 3, "name": "ox"}]}, "given to several categories"),
        ({"categories": [{"id": 3, "name": None}]}, "categories, id 3: name is None, not a text"),
        ({"annotations": [annotation(10, 3, "1234")]}, "bbox is '1234', not a list of four"),
        ({"annotations": [annotation(10, [], [0, 0, 1, 1])]}, r"category_id is \[\], not a whole"),
        ({"annotations": [annotation(10, 3, [0, True, 1, 1])]}, r"bbox is \[0, True, 1, 1\], not"),
    ],
)
def test_values_of_another_kind_are_named_by_every_command(tmp_path, changes, sentence):
    images = changes.get("images", IMAGES)
    content = {"images": images, "categories": CATEGORIES, "annotations": [annotation(10, 3, BOX)]}
    path = write(tmp_path / "odd.json", {**content, **changes})
    with pytest.raises(UserError, match=f"odd.json is not in COCO's format .*{sentence}"):
        count_instances(path)
    with pytest.raises(UserError, match=f"odd.json is not in COCO's format .*{sentence}"):
        load_coco_set("odd", path, str(tmp_path))
