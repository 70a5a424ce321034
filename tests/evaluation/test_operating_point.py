"""The score of the best F1, against a search through all thresholds."""

import numpy as np
import pytest
from pycocotools.coco import COCO

from sad.evaluation.operating_point import best_f1, best_point


def _truth(labels: list[dict]) -> COCO:
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 3}, {"id": 7}],
        "annotations": [
            {"id": i + 1, "iscrowd": 0, "area": 100, **label} for i, label in enumerate(labels)
        ],
    }
    truth.createIndex()
    return truth


def _box(x: int, score=None, category=3, image=1, **more) -> dict:
    box = {"image_id": image, "category_id": category, "bbox": [x, 0, 10, 10], **more}
    return box if score is None else {**box, "score": score}


def test_a_case_by_hand():
    truth = _truth([_box(0), _box(100), _box(0, image=2, category=7)])
    found = [
        _box(0, 0.9),
        _box(0, 0.8, image=2, category=7),
        _box(50, 0.6),  # where nothing is
        _box(100, 0.5),
        _box(0, 0.3, category=7),  # of another class
    ]
    point = best_f1(truth, found)  # F1 is 1/2, 4/5, 2/3, 6/7 and 3/4 down the list
    assert point.threshold == pytest.approx(0.4)
    assert (point.f1, point.precision, point.recall) == pytest.approx((6 / 7, 3 / 4, 1))


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better(seed):
    rng = np.random.default_rng(seed)
    places = rng.choice(40, 12, replace=False) * 20
    truth = _truth([_box(int(x)) for x in places])
    at, scores = rng.choice(40, 20, replace=False) * 20, rng.integers(1, 9, 20) / 10
    found = [_box(int(x), float(score)) for x, score in zip(at, scores, strict=True)]
    of_threshold = {}
    for threshold in np.arange(0.05, 1, 0.1):
        taken = [box for box in found if box["score"] > threshold]
        right = sum(box["bbox"][0] in places for box in taken)
        of_threshold[threshold] = 2 * right / (len(taken) + len(places))
    point = best_f1(truth, found)
    assert point.f1 == pytest.approx(max(of_threshold.values()))
    taken = [box for box in found if box["score"] > point.threshold]
    right = sum(box["bbox"][0] in places for box in taken)
    assert 2 * right / (len(taken) + len(places)) == pytest.approx(point.f1)


def test_crowds_count_neither_way():
    truth = _truth([_box(0), {**_box(100), "iscrowd": 1}])
    point = best_f1(truth, [_box(100, 0.9), _box(0, 0.5)])
    assert (point.f1, point.threshold) == (1.0, 0.25)


def test_without_a_right_detection_there_is_none():
    assert best_f1(_truth([_box(0)]), [_box(100, 0.9)]) is None
    assert best_f1(_truth([_box(0)]), []) is None
    assert best_f1(_truth([]), [_box(100, 0.9)]) is None
    assert best_f1(_truth([{**_box(0), "iscrowd": 1}]), [_box(0, 0.9)]) is None


def test_of_detections_that_are_matched():
    right, wrong = np.array([True, False, True, False]), np.array([False, True, False, False])
    point = best_point([0.9, 0.6, 0.5, 0.8], right, wrong, 2)  # the last is on a crowd
    assert (point.f1, point.precision, point.recall) == pytest.approx((4 / 5, 2 / 3, 1))
    assert 0 < point.threshold <= 0.5
    assert best_point([0.9], np.array([False]), np.array([True]), 2) is None
    assert best_point([], np.zeros(0, bool), np.zeros(0, bool), 2) is None
