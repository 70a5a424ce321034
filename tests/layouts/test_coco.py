"""Each oddity of an exporter's json by itself; whole sets are in test_read.py."""

import json

import numpy as np
import pytest
from pycocotools import mask

import layouts_made as made
from sad.layouts.read import read_labels
from sad.utils.errors import UserError

BOX = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20]}


@pytest.fixture
def read(tmp_path):
    """A function that reads a json of one image of 40 x 30 pixels, changed as told."""
    made.save(tmp_path / "a.jpg", (40, 30), [])

    def change_and_read(*annotations, classes=None, **sections):
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": list(annotations),
        } | sections
        content = {name: value for name, value in content.items() if value is not None}
        (tmp_path / "a.json").write_text(json.dumps(content))
        return read_labels(str(tmp_path / "a.json"), classes=classes)

    return change_and_read


def boxes(labels) -> list[list]:
    return [annotation["bbox"] for annotation in labels.annotations]


@pytest.mark.parametrize("image_id", [1, "1", 1.0, " 1"])
def test_ids_may_be_numbers_texts_or_fractions(image_id, read):
    category = {"id": str(image_id), "name": "cat"}
    assert boxes(read(BOX | {"image_id": image_id}, categories=[category])) == [[1, 2, 10, 20]]


def test_categories_are_in_the_order_of_their_ids(read):
    categories = [{"id": n, "name": name} for n, name in ((10, "c"), (9, "b"), (0, "a"))]
    labels = read(BOX | {"category_id": 9}, categories=categories)
    assert labels.classes == ["a", "b", "c"] and labels.annotations[0]["category_id"] == 2
    texts = [{"id": n, "name": name} for n, name in (("10", "c"), ("9", "b"))]
    assert read(BOX | {"category_id": 10}, categories=texts).classes == ["b", "c"]


def test_a_category_that_only_groups_others_is_no_class(read):
    group = {"id": 0, "name": "pets", "supercategory": "none"}
    cat = {"id": 1, "name": "cat", "supercategory": "pets"}
    labels = read(BOX, categories=[group, cat])
    assert labels.classes == ["cat"] and [*labels.left_out.values()] == [["pets"]]
    # With boxes it is one, and so it is where another set says so; its own group is no other's.
    labels = read(BOX | {"category_id": 0}, categories=[group, cat])
    assert labels.classes == ["pets", "cat"]
    assert read(BOX, categories=[group, cat], classes=["pets", "cat"]).classes == ["pets", "cat"]
    own = {"id": 2, "name": "dog", "supercategory": "dog"}
    assert read(BOX, categories=[cat, own]).classes == ["cat", "dog"]
    named_alike = [{"id": 0, "name": "cat"}, {"id": 1, "name": "cat", "supercategory": "cat"}]
    assert read(BOX, categories=named_alike).classes == ["cat"]


def test_categories_of_one_name_are_one_class(read):
    twice = [{"id": 1, "name": "cat"}, {"id": 2, "name": " cat"}, {"id": 3, "name": "dog"}]
    labels = read(BOX, BOX | {"category_id": 2, "bbox": [5, 5, 5, 5]}, categories=twice)
    assert labels.classes == ["cat", "dog"] and [x["category_id"] for x in labels.annotations] == [
        1,
        1,
    ]
    assert [*labels.mended.values()] == [["cat"]]


def test_numbers_beyond_all_measure(read):
    labels = read(BOX, BOX | {"bbox": [1, 1, 10**400, 5]})
    assert len(labels.annotations) == 1 and sum(map(len, labels.left_out.values())) == 1


@pytest.mark.slow
def test_boxes_are_taken_around_masks_of_each_kind(read):
    pixels = np.zeros((30, 40), np.uint8)
    pixels[5:25, 10:30] = 1
    compressed = mask.encode(np.asfortranarray(pixels))
    compressed["counts"] = compressed["counts"].decode()
    runs = [10 * 30 + 5, *([20, 10] * 20)]
    runs[-1] = 1200 - sum(runs[:-1])
    polygon = [10, 5, 30, 5, 30, 25, 10, 25]
    whole = [
        compressed,
        {"counts": runs, "size": [30, 40]},
        [polygon],
        polygon,
        [polygon[:6], polygon[2:]],
    ]
    for segmentation in whole:
        for box in ({}, {"bbox": None}, {"bbox": []}, {"bbox": [0, 0, 0, 0]}):
            item = {"image_id": 1, "category_id": 1, "segmentation": segmentation} | box
            labels = read(item)
            assert boxes(labels) == [[10, 5, 20, 20]] and labels.mended


@pytest.mark.parametrize(
    "item",
    [
        {"bbox": [1, 2, 3]},
        {"bbox": "cat"},
        {"bbox": None, "segmentation": []},
        {"bbox": None, "segmentation": [[]]},
        {"bbox": None, "segmentation": {"counts": [5]}},
        {"bbox": None, "segmentation": {"counts": [-1, 3], "size": [30, 40]}},
        {"bbox": None, "segmentation": "x"},
        {"iscrowd": 7},
        {"category_id": 2},
        {"category_id": None},
        {"image_id": 2},
        {"bbox": [1, 2, -3, 4]},
        {"bbox": [1, 2, float("nan"), 4]},
    ],
)
def test_what_is_no_box_is_left_out_and_named(item, read):
    labels = read(BOX, BOX | {"id": 77} | item)
    assert boxes(labels) == [[1, 2, 10, 20]]
    assert any("77" in where[0] for where in labels.left_out.values())


def test_an_image_that_is_missing_is_not_another_one_of_its_name(read, tmp_path):
    made.save(tmp_path / "cam2" / "1.jpg", (40, 30), [])
    names = ["cam1/1.jpg", "cam2/1.jpg"]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names, start=1)]
    labels = read(BOX, BOX | {"image_id": 2, "bbox": [3, 4, 5, 6]}, images=images)
    assert [x["file_name"] for x in labels.images] == ["cam2/1.jpg"]
    assert boxes(labels) == [[3, 4, 5, 6]]
    assert labels.left_out["images that are not there"] == ["cam1/1.jpg"]


def test_boxes_of_an_image_that_is_listed_several_times_are_joined(read):
    entry = {"file_name": "a.jpg", "width": 40, "height": 30}
    sizes = [{}, {}, {"width": None}, {"width": 80, "height": 60}]  # the last is no such entry
    images = [{"id": n, **entry, **size} for n, size in enumerate(sizes, start=1)]
    items = [BOX | {"image_id": n, "bbox": [n, n, 5, 6]} for n in (1, 2, 3, 4)]
    repeated = BOX | {"image_id": 2, "bbox": [1, 1, 5, 6]}
    labels = read(*items, repeated, images=images)
    assert len(labels.images) == 1
    assert boxes(labels) == [[1, 1, 5, 6], [2, 2, 5, 6], [3, 3, 5, 6]]
    assert labels.mended == {"further entries of one image, their boxes joined": ["a.jpg"] * 2}
    assert labels.left_out["further labels of one image"] == ["a.jpg"]
    assert len(labels.left_out["repeated boxes"]) == 1


def test_crowds_and_areas_are_kept(read):
    labels = read(
        BOX | {"iscrowd": 1}, BOX | {"bbox": ["3", "3", "9", "9"], "area": 70, "iscrowd": None}
    )
    assert [(x["iscrowd"], x["area"]) for x in labels.annotations] == [(1, 200), (0, 70)]


def test_jsons_that_hold_no_labels_are_refused(read):
    cases = [
        {"annotations": None},
        {"categories": None},
        {"categories": []},
        {"categories": [{"id": 1}]},
        {"categories": [{"id": 1, "name": "a"}, {"id": "1", "name": "b"}]},
        {"categories": [{"id": 1, "name": " "}]},
        {"images": []},
        {"images": [{"id": 1}]},
        {"images": [{"file_name": "a.jpg"}]},
        {"images": [{"id": 1, "file_name": "a.jpg"}] * 2},
        {"images": [{"id": 1, "file_name": "gone.jpg"}]},
        {"images": 5},
        {"annotations": {"a": 1}},
        {"annotations": [5]},
    ]
    for sections in cases:
        with pytest.raises(UserError) as raised:
            read(BOX, **sections)
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


def test_boxes_that_are_corners_are_refused(read):
    items = [BOX | {"bbox": [20 + n / 9, 15, 39, 29]} for n in range(9)]
    with pytest.raises(UserError, match="corners"):
        read(*items)
