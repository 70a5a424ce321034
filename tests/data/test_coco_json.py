"""COCO jsons read item by item: the same as json.load, whatever the chunks; broken ones named."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coco_files import BOX, CATEGORIES, IMAGES, annotation, read_all, write
from sad.data.coco_items import RULES
from sad.data.coco_json import CocoJson, count_instances
from sad.utils.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # no halves of surrogate pairs
NUMBERS = st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.slow
@given(
    others=st.dictionaries(TEXT.filter(lambda key: key not in RULES), VALUES),
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
    for whole in (True, False):
        file = CocoJson(str(path), whole=whole)
        assert list(file.images()) == loaded["images"]
        assert file.categories == loaded["categories"]
        assert not file.has_annotations and list(file.labels({})) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    annotations = [annotation(0, 3, [0, 0, 1, 1])] * 60_000
    path = tmp_path / "long.json"
    write(path, {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations})
    tracemalloc.start()
    file = CocoJson(str(path), whole=False)
    assert sum(1 for _ in file.images()) == 3
    assert sum(1 for _ in file.labels({0: (100, 80)})) == 60_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000 < path.stat().st_size / 3


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "no whole json"),
        ('{"images": [{"id": 1,', "no whole json"),
        ('{"images": [{"id": 1, "file_name": "a", "width": 1, "height": 1}]', "no whole json"),
        ('{"images": [] "categories": []}', "no whole json"),
        ('{"images": \xff', "no (whole )?json"),
        ("[1, 2]", "not in COCO's format: it is a list"),
        ('[{"image_id": 1, "score": 0.5}]', "not in COCO's format: it is a list"),
        ("3", "not in COCO's format"),
        ('{"images": [5]}', "not in COCO's format"),
        ('{"images": [{"id": 1, "file_name": "a.png"}]}', "not in COCO's format .*width"),
        (
            '{"images": [{"id": 1, "file_name": "a", "width": 0, "height": 1}]}',
            "not in COCO's format .*images, id 1: width is 0, not a number of pixels",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a", "width": 9, "height": 9}], '
            '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2]}]}',
            "not in COCO's format .*bbox",
        ),
        ('{"annotations": []}', "it has no images, but 'annotations'"),
        ('{"images": []}', "lists no images"),
        ('{"a.png12": {"filename": "a.png", "regions": []}}', "it has no images|VIA's"),
        ('{"_via_settings": {}, "_via_img_metadata": {}}', "VIA's"),
        ('{"version": "5", "shapes": [], "imagePath": "a.png"}', "LabelMe's"),
    ],
)
def test_broken_json_is_named(tmp_path, text, sentence, whole):
    path = tmp_path / "broken.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=f"broken.json.*{sentence}"):
        read_all(str(path), whole)


@pytest.mark.parametrize("whole", [True, False])
def test_ids_of_any_size(tmp_path, whole):
    """As of hashes; ijson stops at 64 bits, here after it has given the first images."""
    images = [*IMAGES, {**IMAGES[0], "id": 2**64}]
    content = {"images": images, "categories": CATEGORIES, "info": {"teacher_weights_sha256": ""}}
    content["annotations"] = [annotation(2**64, 3, BOX)] * 2
    file = CocoJson(write(tmp_path / "hashes.json", content), whole=whole)
    assert file.is_written_by_labelling
    assert list(file.images()) == images
    assert [label["image_id"] for label in file.labels({2**64: (100, 80)})] == [2**64] * 2


def test_a_broken_json_is_described_alike(tmp_path):
    path = tmp_path / "latin.json"
    path.write_bytes(json.dumps({"images": IMAGES}).replace("png", "\xe9").encode("latin-1"))
    said = set()
    for whole in (True, False):
        with pytest.raises(UserError) as error:
            read_all(str(path), whole)
        said.add(str(error.value))
    assert len(said) == 1 and "no json of UTF-8" in said.pop()


def test_json_with_an_image_twice_or_absent(tmp_path):
    path = write(tmp_path / "twice.json", {"images": [IMAGES[0], IMAGES[0]]})
    for whole in (True, False):
        with pytest.raises(UserError, match="same id is given to several images: 10"):
            read_all(path, whole)
        with pytest.raises(UserError, match="absent.json cannot be opened"):
            read_all(str(tmp_path / "absent.json"), whole)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_and_numbers_that_are_none_in_fields_nobody_reads(tmp_path, encoding, whole):
    """What Python's json takes; ijson takes none of it."""
    coco = {
        "info": {"depth": float("nan")},
        "images": [{**image, "gps": [float("inf")]} for image in IMAGES],
        "categories": CATEGORIES,
        "annotations": [annotation(10, 3, BOX, attributes={"depth": float("-inf")})],
    }
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(coco), encoding=encoding)
    images, labels = read_all(str(path), whole)
    assert [image["id"] for image in images] == [10, 11, 12]
    assert [label["bbox"] for label in labels] == [BOX]


HARMLESS = {
    "ids that begin anew": lambda n, a: a.update(id=1),
    "ids from 0": lambda n, a: a.update(id=n),
    "no ids": lambda n, a: a.pop("id"),
    "ids that are texts": lambda n, a: a.update(id="a"),
    "crowd null": lambda n, a: a.update(iscrowd=None),
    "crowd a text": lambda n, a: a.update(iscrowd="0"),
    "crowd false": lambda n, a: a.update(iscrowd=False),
    "crowd absent": lambda n, a: a.pop("iscrowd"),
    "two corners as a polygon": lambda n, a: a.update(segmentation=[[10, 10, 15, 15]]),
    "an empty polygon": lambda n, a: a.update(segmentation=[[]]),
    "a flat polygon": lambda n, a: a.update(segmentation=[10, 10, 15, 10, 15, 15]),
    "run lengths without a size": lambda n, a: a.update(segmentation={"counts": [0, 5]}),
    "polygons null": lambda n, a: a.update(segmentation=None),
    "no area": lambda n, a: a.pop("area"),
    "area a text": lambda n, a: a.update(area="25"),
    "area of the image before it was made smaller": lambda n, a: a.update(area=1e12),
    "area nan": lambda n, a: a.update(area=float("nan")),
    "ids of a table": lambda n, a: a.update(
        image_id=float(a["image_id"]), category_id=float(a["category_id"])
    ),
    "ignore 0": lambda n, a: a.update(ignore=0),
}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS.keys())
def test_harmless_oddities_change_nothing(tmp_path, change, whole):
    def coco(odd: bool):
        annotations = []
        for number, (image_id, category) in enumerate([(10, 3), (10, 7), (12, 7)]):
            annotations.append(
                annotation(image_id, category, BOX, id=number + 1, area=25, iscrowd=0)
            )
            if odd:
                change(number, annotations[-1])
        return {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations}

    clean, odd = (
        read_all(write(tmp_path / f"{kind}.json", coco(kind == "odd")), whole)
        for kind in ("clean", "odd")
    )
    assert clean == odd
    assert [label["id"] for label in odd[1]] == [1, 2, 3]


@pytest.mark.parametrize("whole", [True, False])
def test_what_cannot_be_used_is_counted_by_reason(tmp_path, whole):
    boxes = {
        "boxes": [[0, 0, 100, 80], [98, 70, 3, 10], [-0.5, 0, 5, 5], *[BOX] * 20],
        "without area": [[3, 3, 0, 4], [3, 3, 4, 0], [5, 5, 1e-320, 5]],
        "of a negative width or height": [[10, 10, -5, 5]],
        "outside of their image": [[100, 5, 2, 2]],
        "with values that are not finite": [
            [float("nan"), 2, 3, 4],
            [0, 0, 5, float("inf")],
            [0, 0, 10**400, 5],
        ],
    }
    annotations = [annotation(10, 3, box) for group in boxes.values() for box in group]
    annotations += [annotation(99, 3, BOX)] * 2
    annotations += [annotation(11, 3, BOX, iscrowd=value) for value in (1, "1", True, 1.0)]
    annotations += [annotation(11, 3, BOX, ignore=1)]
    masks = [{"image_id": 10, "category_id": 3}, annotation(10, 3, []), annotation(10, 3, None)]
    coco = {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations + masks}
    file = CocoJson(write(tmp_path / "coco.json", coco), whole=whole)
    labels = list(file.labels({10: (100, 80), 11: (100, 80), 12: (100, 80)}))
    expected = {reason: len(group) for reason, group in boxes.items()}
    expected |= {"annotations": 41, "crowds": 5, "of images that are not listed": 2}
    assert file.found == {**expected, "without a box": 3}
    assert file.unusable == {10: 11}
    assert [label["iscrowd"] for label in labels] == [0] * 23 + [1] * 5
    assert [label["bbox"] for label in labels[:3]] == boxes["boxes"][:3]  # as they are
    for reason, group in boxes.items():
        assert reason == "boxes" or f"{len(group)} {reason}" in file.why_no_boxes()


@pytest.mark.parametrize("whole", [True, False])
def test_annotations_that_are_there_twice_are_said(tmp_path, whole, log):
    annotations = [annotation(10, 3, [x, 1, 9, 9], id=x) for x in range(20)]
    for name, more in (("once", []), ("twice", annotations[:7])):
        coco = {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations + more}
        assert len(read_all(write(tmp_path / f"{name}.json", coco), whole)[1]) == 20 + len(more)
    (line,) = log
    assert "twice.json: 7 of 27 annotations repeat" in line


def test_instances_without_crowds_empty_boxes_and_foreign_images(tmp_path):
    coco = {
        "annotations": [  # they may stand before the images
            annotation(10, 3, BOX),
            annotation(10, 7, BOX, iscrowd=0),
            annotation(10, 3, BOX, iscrowd=1),
            annotation(11, 3, [4, 4, 0, 5]),
            annotation(99, 3, BOX),
        ],
        "images": IMAGES,
        "categories": CATEGORIES[::-1],
    }
    file, instances = count_instances(write(tmp_path / "coco.json", coco))
    assert file.categories == CATEGORIES  # in the order of the ids, as in Detectron2's models
    assert instances == {10: 2, 11: 0, 12: 0}


def test_ids_of_another_type_are_the_reason(tmp_path):
    coco = {"images": IMAGES, "categories": CATEGORIES, "annotations": [annotation("10", 3, BOX)]}
    file, instances = count_instances(write(tmp_path / "coco.json", coco))
    assert not any(instances.values())
    reason = file.why_no_boxes()
    assert "1 of images that are not listed" in reason
    assert "image_id '10' is a text" in reason and "numbers, such as 10" in reason


@pytest.mark.parametrize(
    "category, sentence",
    [
        (4, "annotations, id 8: category_id is 4, which is not among the categories"),
        ("3", "annotations, id 8: category_id is '3', a text, the ids of categories are numbers"),
    ],
)
def test_an_annotation_of_an_unlisted_category(tmp_path, category, sentence):
    annotations = [annotation(10, category, BOX, id=8)]
    coco = {"images": IMAGES, "annotations": annotations, "categories": CATEGORIES}
    for whole in (True, False):
        with pytest.raises(UserError, match=sentence):
            read_all(write(tmp_path / "coco.json", coco), whole)


def test_the_content_of_a_json_is_all_that_it_holds(tmp_path):
    item = annotation(10, 3, BOX, segmentation=[[1, 2, 3, 4, 5, 6]], image_name="x")
    coco = {"images": [{"id": None}], "categories": 7, "annotations": [item], "more": [1]}
    path = tmp_path / "coco.json"
    path.write_bytes(json.dumps(coco).encode("utf-8-sig"))
    assert CocoJson.content_of(str(path)) == coco
    for text in ('{"images": [', '{"shapes": []}', "[]"):
        path.write_text(text)
        with pytest.raises(UserError, match="coco.json"):
            CocoJson.content_of(str(path))
    with pytest.raises(UserError, match="absent.json"):
        CocoJson.content_of(str(tmp_path / "absent.json"))
