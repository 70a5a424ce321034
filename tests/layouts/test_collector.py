"""Images and boxes as readers find them: clipped, counted, brought to the image's frame."""

import pytest
from PIL import Image

from sad.data.coco_boxes import Limits
from sad.layouts.collector import Collector, number_of
from sad.utils.errors import UserError


def collector(folder, **images):
    """With images of these sizes, "a" being a.png."""
    found = Collector("COCO json", "labels", str(folder), ["cat", "dog"])
    for name, (size, declared) in images.items():
        Image.new("RGB", size).save(folder / f"{name}.png")
        assert found.add_image(f"{name}.png", size, declared)
    return found


def boxes(labels) -> list[list[float]]:
    return [annotation["bbox"] for annotation in labels.annotations]


def test_boxes_are_clipped_and_repeated_ones_left_out(tmp_path):
    found = collector(tmp_path, a=((100, 50), None))
    found.add_box("a.png", 1, (-5, 10, 20, 60), "one")
    found.add_box("a.png", 1, (-5, 10, 20, 60), "two")
    found.add_box("a.png", 2, (-5, 10, 20, 60), "another class")
    found.add_box("a.png", 1, (0.25, 0.5, 10.75, 20), "fractions")
    labels = found.finish()
    assert boxes(labels) == [[0, 10, 20, 40], [0, 10, 20, 40], [0.25, 0.5, 10.5, 19.5]]
    assert labels.left_out == {"repeated boxes": ["two"]}
    assert labels.mended == {"boxes clipped to their image": ["one", "another class"]}
    assert labels.annotations[0]["area"] == 800
    assert [x["id"] for x in labels.annotations] == [1, 2, 3]


@pytest.mark.parametrize(
    "corners", [(10, 10, 10, 20), (10, 20, 30, 10), (200, 10, 220, 20), (float("nan"), 1, 2, 3)]
)
def test_what_is_no_box_is_left_out(corners, tmp_path):
    found = collector(tmp_path, a=((100, 50), None))
    found.add_box("a.png", 1, (10, 10, 30, 30), "good")
    found.add_box("a.png", 1, corners, "bad")
    labels = found.finish()
    assert boxes(labels) == [[10, 10, 20, 20]]
    assert [where for of_kind in labels.left_out.values() for where in of_kind] == ["bad"]


def test_images_are_numbered_by_name_and_taken_once(tmp_path):
    found = collector(tmp_path, b=((10, 10), None), a=((20, 10), None))
    assert not found.add_image("a.png", (20, 10))
    assert not found.add_image("c.png", "cut short")
    labels = found.finish()
    assert [(x["id"], x["file_name"], x["width"]) for x in labels.images] == [
        (1, "a.png", 20),
        (2, "b.png", 10),
    ]
    assert list(labels.left_out) == ["further labels of one image", "images that cannot be read"]


def test_boxes_follow_an_image_that_was_resized(tmp_path):
    found = collector(tmp_path, a=((50, 25), (100, 50)), b=((50, 25), (30, 90)))
    found.add_box("a.png", 1, (20, 10, 60, 50), "halved")
    found.add_box("b.png", 1, (20, 10, 30, 20), "of another shape")
    labels = found.finish()
    assert boxes(labels) == [[10, 5, 20, 20], [20, 10, 10, 10]]
    assert sorted(len(where) for where in labels.mended.values()) == [1, 1]


def test_too_many_boxes_that_leave_their_image(tmp_path):
    found = collector(tmp_path, a=((100, 50), None))
    for x in range(5):
        found.add_box("a.png", 1, (x, 10, x + 150, 40), "far out")
    with pytest.raises(UserError, match="5 of 5 boxes leave their image"):
        found.finish(Limits(), "boxes are in pixels")


@pytest.mark.parametrize(
    ("classes", "said"), [(["cat", "cat"], "twice"), (["cat", ""], "''"), (["a\nb"], "to print")]
)
def test_names_that_will_not_do(classes, said, tmp_path):
    with pytest.raises(UserError, match=said):
        Collector("YOLO", "labels", str(tmp_path), classes)


def test_nothing_to_use(tmp_path):
    with pytest.raises(UserError, match="no image that can be used"):
        Collector("YOLO", "labels", str(tmp_path), ["cat"]).finish()
    found = collector(tmp_path, a=((100, 50), None))
    found.add_box("a.png", 1, (10, 10, 10, 10), "flat")
    with pytest.raises(UserError, match="none of its labels can be used"):
        found.finish()


def test_numbers_of_names():
    assert number_of(["b", "a", "b"], None, "x") == {"b": 1, "a": 2}
    assert number_of(["b", "a"], ["a", "b"], "x") == {"b": 2, "a": 1}
    with pytest.raises(UserError, match="'a' and 'c'"):
        number_of(["c", "b"], ["a", "b"], "x")
