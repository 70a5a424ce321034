"""COCO jsons read item by item: the same as json.load, whatever the chunks; broken ones named."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sad import coco_json
from sad.coco_json import count_instances, read_coco
from sad.datasets import load_coco_set
from sad.errors import UserError

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
IMAGES = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 80} for i in (10, 11, 12)]
TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # no halves of surrogate pairs
NUMBERS = st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


def annotation(image_id, category_id, box, **more):
    return {"image_id": image_id, "category_id": category_id, "bbox": box, **more}


def write(path, content) -> str:
    path.write_text(json.dumps(content))
    return str(path)


@given(
    others=st.dictionaries(TEXT.filter(lambda key: key not in coco_json.RULES), VALUES),
    notes=VALUES,
    indent=st.sampled_from([None, 2]),
    ascii_only=st.booleans(),
)
def test_items_are_those_of_json_load(tmp_path_factory, others, notes, indent, ascii_only):
    path = tmp_path_factory.getbasetemp() / "items.json"
    images = [{**image, "notes": notes, "score": 0.25} for image in IMAGES]
    content = {**others, "images": images, "categories": CATEGORIES, "last": 12345}
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    loaded = json.loads(path.read_text(encoding="utf-8"))
    images, categories = (
        [(name, item) for name, item in read_coco(str(path)) if name == section]
        for section in ("images", "categories")
    )
    assert [item for _, item in images] == loaded["images"]
    assert [item for _, item in categories] == loaded["categories"]
    assert list(read_coco(str(path), ("categories",))) == categories


def test_memory_does_not_grow_with_the_file(tmp_path):
    annotations = [annotation(0, 3, [0, 0, 1, 1])] * 100_000
    path = tmp_path / "long.json"
    write(path, {"images": IMAGES, "annotations": annotations})
    tracemalloc.start()
    for _ in read_coco(str(path)):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000 < path.stat().st_size / 3


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "no whole json"),
        ('{"images": [{"id": 1,', "no whole json"),
        ('{"images": [{"id": 1, "file_name": "a", "width": 1, "height": 1}]', "no whole json"),
        ('{"images": [] "categories": []}', "no whole json"),
        ('{"images": \xff', "no whole json"),
        ("[1, 2]", "lists no images"),
        ('{"images": 5}', "lists no images"),
        ('{"images": [5]}', "not in COCO's format"),
        ('{"images": [{"id": 1, "file_name": "a.png"}]}', "not in COCO's format .*width"),
        (
            '{"images": [{"id": 1, "file_name": "a", "width": 0, "height": 1}]}',
            "not in COCO's format .*images, id 1: width is 0, not a number of pixels",
        ),
        (
            '{"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2]}]}',
            "not in COCO's format .*bbox",
        ),
        ('{"annotations": []}', "lists no images"),
        ('{"images": []}', "lists no images"),
    ],
)
def test_broken_json_is_named(tmp_path, text, sentence):
    path = tmp_path / "broken.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=f"broken.json.*{sentence}"):
        list(read_coco(str(path)))


def test_json_with_an_image_twice_or_absent(tmp_path):
    path = write(tmp_path / "twice.json", {"images": [IMAGES[0], IMAGES[0]]})
    with pytest.raises(UserError, match="same id"):
        list(read_coco(path))
    with pytest.raises(UserError, match="absent.json cannot be opened"):
        list(read_coco(str(tmp_path / "absent.json")))


def test_instances_without_crowds_empty_boxes_and_foreign_images(tmp_path):
    box = [0, 0, 5, 5]
    coco = {
        "annotations": [  # they may stand before the images
            annotation(10, 3, box),
            annotation(10, 7, box, iscrowd=0),
            annotation(10, 3, box, iscrowd=1),
            annotation(11, 3, [4, 4, 0, 5]),
            annotation(99, 3, box),
        ],
        "images": IMAGES,
        "categories": CATEGORIES[::-1],
    }
    categories, instances = count_instances(write(tmp_path / "coco.json", coco))
    assert categories == CATEGORIES  # in the order of the ids, as in Detectron2's models
    assert instances == {10: 2, 11: 0, 12: 0}


def test_an_annotation_of_an_unlisted_category(tmp_path):
    coco = {"images": IMAGES, "annotations": [annotation(10, 4, [0, 0, 5, 5])]}
    with pytest.raises(UserError, match="annotations of category 4, not listed"):
        count_instances(write(tmp_path / "coco.json", {**coco, "categories": CATEGORIES}))


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"images": [{**IMAGES[0], "id": 1.0}]}, "images, id 1.0: id is 1.0, not a whole number"),
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
def test_values_of_another_kind_are_named_by_both_readers(tmp_path, changes, sentence):
    content = {"images": IMAGES, "categories": CATEGORIES, "annotations": [], **changes}
    path = write(tmp_path / "odd.json", content)
    with pytest.raises(UserError, match=f"odd.json is not in COCO's format .*{sentence}"):
        list(read_coco(path))
    with pytest.raises(UserError, match=f"odd.json is not in COCO's format .*{sentence}"):
        load_coco_set("odd", path, str(tmp_path))
