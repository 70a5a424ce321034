"""Boxes become annotations within their images; what is wrong with them is named and counted."""

import numpy as np
import pytest

import layouts_made as made
from sad.data.coco_boxes import Limits
from sad.layouts.collector import Collector, number_of
from sad.utils.errors import UserError


def collector(root=".", classes=("cat", "dog")) -> Collector:
    return Collector("Pascal VOC", "labels", str(root), classes)


def test_images_and_boxes_are_numbered_by_the_images_names():
    found = collector()
    for name in ("b.png", "a.png", "c.png"):
        assert found.add_image(name, (40, 30))
    found.add_box("b.png", 2, (1, 2, 11, 22), "b")
    found.add_box("a.png", 1, (0, 0, 40, 30), "a", crowd=1)
    labels = found.finish()
    assert [(x["id"], x["file_name"]) for x in labels.images] == [
        (1, "a.png"),
        (2, "b.png"),
        (3, "c.png"),
    ]
    assert labels.annotations == [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 30], "area": 1200}
        | {"iscrowd": 1},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [1, 2, 10, 20], "area": 200}
        | {"iscrowd": 0},
    ]
    assert not labels.mended and not labels.left_out


def test_boxes_are_clipped_and_never_leave_their_image_by_a_rounding_error():
    found, rng = collector(), np.random.default_rng(0)
    found.add_image("a.png", (333, 77))
    for n, (x, y) in enumerate(rng.uniform(0, (330, 70), (300, 2))):
        found.add_box("a.png", 1, (x, y, 333 + n % 2, 77.5), str(n))
    labels = found.finish()
    assert len(labels.annotations) == 300 == len(labels.mended["boxes clipped to their image"])
    for item in labels.annotations:
        x, y, w, h = item["bbox"]
        assert 333 - 1e-6 < x + w <= 333 and 77 - 1e-6 < y + h <= 77


def test_a_crowd_takes_the_place_of_no_object():
    found = collector()
    found.add_image("a.png", (40, 30))
    for crowd in (1, 0, 0):
        found.add_box("a.png", 1, (1, 1, 9, 9), "a", crowd=crowd)
    labels = found.finish()
    assert [x["iscrowd"] for x in labels.annotations] == [1, 0]
    assert [*labels.left_out] == ["repeated boxes"]


def test_boxes_that_are_none_are_left_out_by_reason():
    found = collector()
    found.add_image("a.png", (40, 30))
    nan = float("nan")
    boxes = [(1, 1, 9, 9), (5, 5, 5, 9), (9, 9, 1, 1), (50, 50, 60, 60), (nan, 0, 1, 1)]
    boxes += [(1, 1, 9.001, 9), (1, 1, 9, 9.5), (-5, 0, 1e-9, 9)]
    for n, box in enumerate(boxes):
        found.add_box("a.png", 1, box, str(n))
    found.add_box("a.png", 2, boxes[0], "another class")
    labels = found.finish()
    assert len(labels.annotations) == 3
    assert labels.left_out == {
        "boxes without area": ["1", "7"],
        "boxes of a negative width or height": ["2"],
        "boxes outside of their image": ["3"],
        "boxes with values that are not finite": ["4"],
        "repeated boxes": ["5"],
    }


def test_the_area_of_a_mask_is_kept_where_it_can_be_one():
    found = collector()
    found.add_image("a.png", (40, 30))
    for n, area in enumerate((50, 999, None, "x")):
        found.add_box("a.png", 1, (n, 0, n + 10, 10), "", area=area)
    assert [x["area"] for x in found.finish().annotations] == [50, 100, 100, 100]


def test_boxes_are_those_of_the_declared_size(tmp_path):
    found = collector(tmp_path)
    made.save(tmp_path / "swapped.png", (50, 40), [])
    cases = {  # file: (size, declared, box, what it becomes)
        "small.png": ((50, 40), (100, 80), (20, 20, 100, 80), (10, 10, 50, 40)),
        "swapped.png": ((50, 40), (40, 50), (10, 10, 50, 40), (10, 10, 50, 40)),
        "wrong.png": ((50, 40), (1, 1), (10, 10, 50, 40), (10, 10, 50, 40)),
        "square.png": ((50, 50), (1, 1), (10, 10, 50, 50), (10, 10, 50, 50)),
        "right.png": ((50, 40), (50, 40), (10, 10, 50, 40), (10, 10, 50, 40)),
        "none.png": ((50, 40), None, (10, 10, 50, 40), (10, 10, 50, 40)),
    }
    for name, (size, declared, box, _) in cases.items():
        found.add_image(name, size, declared)
        found.add_box(name, 1, box, name)
    labels = found.finish()
    boxes, _ = made.as_read(labels)
    assert boxes == {name: [("cat", *box)] for name, (*_, box) in cases.items()}
    resized, wrong = labels.mended.values()
    assert [*map(str, resized)] == ["small.png"]
    assert sorted(wrong) == ["square.png", "swapped.png", "wrong.png"]


def test_one_wrong_size_of_all_images_scales_none_of_them():
    found, boxes = collector(), {"a.png": (10, 10, 90, 70), "b.png": (200, 100, 300, 250)}
    for name, box in boxes.items():
        found.add_image(name, (400, 300), (100, 75))
        found.add_box(name, 1, box, name)
    labels = found.finish()
    assert made.as_read(labels)[0] == {name: [("cat", *box)] for name, box in boxes.items()}
    assert [*labels.mended.values()] == [["a.png", "b.png"]]


def test_boxes_drawn_before_exif_turned_their_images_are_turned(tmp_path):
    found = collector(tmp_path)
    made.save_turned(tmp_path / "a.jpg", (60, 80), [])  # stored as 80 x 60
    made.save(tmp_path / "b.jpg", (80, 60), [])
    for name, size in (("a.jpg", (60, 80)), ("b.jpg", (80, 60))):
        found.add_image(name, size, (80, 60))
        found.add_box(name, 1, (70, 5, 80, 25), name)
    labels = found.finish()
    # A quarter turn to the right: what is at the right end comes to the lower end.
    assert made.as_read(labels)[0] == {
        "a.jpg": [("cat", 35, 70, 55, 80)],
        "b.jpg": [("cat", 70, 5, 80, 25)],
    }
    assert list(labels.mended.values()) == [["a.jpg"]]


def test_images_are_taken_once_and_only_if_they_can_be_read():
    found = collector()
    assert found.add_image("a.png", (40, 30)) and not found.add_image("a.png", (40, 30))
    assert not found.add_image("b.png", "it is empty")
    labels = found.finish()
    assert len(labels.images) == 1 and sum(map(len, labels.left_out.values())) == 2


def test_sets_that_hold_nothing_of_use_are_refused():
    with pytest.raises(UserError, match="no image"):
        collector().finish()
    found = collector()
    found.add_image("a.png", (40, 30))
    found.add_box("a.png", 1, (5, 5, 5, 9), "here")
    with pytest.raises(UserError, match="without area .here"):
        found.finish()
    for n in range(10):
        found.add_box("a.png", 1, (20 + n, 5, 60, 20), "outside")
    with pytest.raises(UserError, match="10 of 11 boxes leave their image.*so and so"):
        found.finish(Limits(), "so and so")
    for classes in (["cat", "cat"], [""], ["a\nb"]):
        with pytest.raises(UserError):
            collector(classes=classes)


def test_names_are_numbered_by_the_wanted_order():
    assert number_of(["b", "a", "b"], None, "") == {"b": 1, "a": 2}
    assert number_of(["b", "a"], ["a", "b"], "") == {"b": 2, "a": 1}
    with pytest.raises(UserError, match="'c'"):
        number_of(["b", "a"], ["a", "c"], "val")
