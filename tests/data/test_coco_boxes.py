"""Numbers that cannot be boxes in pixels stop a command, or are warned of."""

import pytest

from coco_files import BOX, CATEGORIES, IMAGES, annotation, read_all, write
from sad.data.coco_boxes import Limits, Shapes
from sad.data.coco_json import count_instances
from sad.utils.errors import UserError


def boxes_of(change) -> list[list[float]]:
    """60 boxes in images of 100 x 80, as `change` writes them."""
    corners = [(x, y, 8 + x % 7, 6 + y % 5) for x in range(0, 90, 15) for y in range(0, 70, 7)]
    return [list(change(*corner)) for corner in corners]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda x, y, w, h: (x, y, x + w, y + h), "look like corners x0, y0, x1, y1"),
        (lambda x, y, w, h: (x / 100, y / 80, w / 100, h / 80), "look like shares of the image"),
        (lambda x, y, w, h: (60, 50, 50 + w, 40 + h), "centre x, centre y"),
        (lambda x, y, w, h: (10 * x, 10 * y, w, h), "images of another size"),
    ],
)
def test_values_that_are_no_boxes_stop(tmp_path, change, sentence, whole):
    annotations = [annotation(10, 3, box) for box in boxes_of(change)]
    coco = {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations}
    with pytest.raises(UserError, match=f"coco.json: .*{sentence}.*x, y, width, height in pixels"):
        read_all(write(tmp_path / "coco.json", coco), whole)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "boxes, width, warns",
    [
        ([[x, 90, 5, 10] for x in range(0, 95, 4)], 200, True),
        ([[x, 90, 5, 10] for x in range(0, 95, 4)], 110, False),  # where pixels may end at 100
        ([[x, 90, 5, 11] for x in range(0, 95, 4)], 200, False),
        ([[x, 90, 5, 10] for x in range(0, 70, 4)], 200, False),  # too few to tell
    ],
)
def test_boxes_that_may_be_in_percent_are_warned_of(tmp_path, log, whole, boxes, width, warns):
    images = [{**IMAGES[0], "width": width, "height": 300}]
    annotations = [annotation(10, 3, box) for box in boxes]
    coco = {"images": images, "categories": CATEGORIES, "annotations": annotations}
    assert len(read_all(write(tmp_path / "coco.json", coco), whole)[1]) == len(boxes)
    assert any("percent" in message for message in log) == warns


def test_widths_and_heights_that_are_exchanged(tmp_path):
    images = [{**IMAGES[0], "width": 80, "height": 400}]
    annotations = [annotation(10, 3, [x, 10, 20, 20]) for x in range(0, 380, 10)]
    coco = {"images": images, "categories": CATEGORIES, "annotations": annotations}
    with pytest.raises(UserError, match="widths and heights look exchanged"):
        read_all(write(tmp_path / "coco.json", coco))


@pytest.mark.parametrize(
    "box, limits, stops",
    [
        ([97.5, 5, 4, 4], Limits(outside=0), False),  # by less than 2 pixels
        ([96, 5, 7, 4], Limits(outside=0.1), False),  # 1 of 10
        ([96, 5, 7, 4], Limits(outside=0.09), True),
        ([5, 5, 0.9, 0.9], Limits(tiny=0.1), False),
        ([5, 5, 0.9, 0.9], Limits(tiny=0.09), True),
        ([5, 5, 0.1, 40], Limits(tiny=0), False),  # a line
    ],
)
def test_limits_of_plausibility(tmp_path, box, limits, stops):
    annotations = [annotation(10, 3, other) for other in [BOX] * 9 + [box]]
    coco = {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations}
    path = write(tmp_path / "coco.json", coco)
    if stops:
        with pytest.raises(UserError, match="1 of 10 boxes"):
            count_instances(path, limits)
    else:
        assert count_instances(path, limits)[1][10] == 10


def test_what_is_odd_is_told_by_limits():
    shapes = Shapes()
    for n in range(10):
        assert shapes.add([n, 5, 20, 20], 100, 80) is None
    assert shapes.oddity(Limits()) is None
    for n in range(2):
        shapes.add([90, n, 30, 20], 100, 80)
    what, _, key = shapes.oddity(Limits())
    assert what.startswith("2 of 12 boxes leave") and key == "MAX_BOXES_OUTSIDE 0.1"
    assert shapes.oddity(Limits(outside=0.2)) is None
