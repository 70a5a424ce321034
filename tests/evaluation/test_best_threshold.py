"""The score threshold of the best F1, against a count at every threshold."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO

from sad.evaluation.best_threshold import best_threshold

BOXES = [[0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 10, 10], [60, 0, 10, 10]]


def truth(boxes=BOXES, crowds=()) -> COCO:
    """One image, one class, objects side by side."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 7, "width": 100, "height": 20}],
        "categories": [{"id": 3, "name": "box"}],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": 3, "bbox": box, "area": 100,
             "iscrowd": int(n in crowds)}
            for n, box in enumerate(boxes, start=1)
        ],
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def found(*boxes_and_scores) -> list[dict]:
    return [{"image_id": 7, "category_id": 3, "bbox": box, "score": score}
            for box, score in boxes_and_scores]  # fmt: skip


WRONG = [0, 15, 3, 3]


def test_half_way_between_the_last_right_one_and_the_next():
    boxes = found((BOXES[0], 0.9), (BOXES[1], 0.8), (BOXES[2], 0.6), (WRONG, 0.4), (WRONG, 0.3))
    assert best_threshold(truth(), boxes) == pytest.approx(0.5)
    assert best_threshold(truth(), boxes[::-1]) == pytest.approx(0.5)
    assert best_threshold(truth(), boxes[:3]) == pytest.approx(0.3)


def test_a_wrong_one_is_worth_two_right_ones_below_it():
    boxes = found((BOXES[0], 0.9), (WRONG, 0.8), (BOXES[1], 0.7), (BOXES[2], 0.6))
    assert best_threshold(truth(), boxes) == pytest.approx(0.3)  # F1 6/8, above 2/5
    assert best_threshold(truth(), found((BOXES[0], 0.9), *[(WRONG, 0.8)] * 9)) == pytest.approx(
        0.85
    )


def test_detections_of_one_score_are_shown_together():
    """F1 is best with the first of 0.5 alone, but no threshold shows it without the others."""
    boxes = found((BOXES[0], 0.9), (BOXES[1], 0.5), *[(WRONG, 0.5)] * 5)  # 2/5, 4/6, 4/11
    assert best_threshold(truth(), boxes) == pytest.approx(0.7)


@pytest.mark.parametrize("boxes", [[], found((WRONG, 0.9))])
def test_nothing_that_is_right(boxes):
    assert best_threshold(truth(), boxes) is None


def test_crowds_are_no_objects_to_find():
    """With the third object to find F1 is better at 0.9 and 0.5 together."""
    boxes = found((BOXES[0], 0.9), (WRONG, 0.8), (WRONG, 0.7), (BOXES[1], 0.6))
    assert best_threshold(truth(BOXES[:2]), boxes) == pytest.approx(0.85)  # 2/3 = 4/6: the first
    assert best_threshold(truth(BOXES[:3]), boxes) == pytest.approx(0.3)  # 4/7 above 2/4
    assert best_threshold(truth(BOXES[:3], crowds=[3]), boxes) == pytest.approx(0.85)


def test_as_a_count_at_every_threshold():
    rng = np.random.default_rng(0)
    boxes = found(*((BOXES[n % 4] if n < 4 else WRONG, s) for n, s in enumerate(rng.random(30))))
    threshold = best_threshold(truth(), boxes)

    def f1(at):
        shown = [box for box in boxes if box["score"] >= at]
        right = sum(box["bbox"] != WRONG for box in shown)
        return 2 * right / (len(shown) + 4)

    assert f1(threshold) == max(f1(at) for at in np.linspace(0, 1, 2001))
