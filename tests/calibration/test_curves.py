"""Counts by threshold against plain loops, and the places that are worth a look."""

import numpy as np
import pytest

from sad.calibration.curves import best_position, count_boxes, f1_of, judge, lowest_precise, rates
from sad.calibration.images import HeldOut
from sad.pseudo_labels.detections import DETECTION, SCORE_UNITS


@pytest.fixture
def case():
    """Two images, two classes; boxes that are right, of another class, beside, and on a crowd."""
    images = [{"image_id": 7}, {"image_id": 9}]
    labels = [
        {"id": 1, "image_id": 7, "category_id": 2, "bbox": [0, 0, 10, 10], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 5, "bbox": [20, 0, 10, 10], "iscrowd": 0},
        {"id": 3, "image_id": 9, "category_id": 2, "bbox": [0, 0, 30, 30], "iscrowd": 1},
        {"id": 4, "image_id": 9, "category_id": 5, "bbox": [40, 40, 10, 10], "iscrowd": 0},
    ]
    for label in labels:
        label["area"] = label["bbox"][2] * label["bbox"][3]
    held_out = HeldOut(images, labels, [{"id": 2, "name": "a"}, {"id": 5, "name": "b"}], 0)
    found = [
        (0, (0, 0, 10, 10), 0, 0.9),  # right
        (0, (0, 0, 10, 9), 0, 0.5),  # the same object again
        (0, (20, 0, 30, 10), 0, 0.4),  # of another class
        (1, (5, 5, 25, 25), 0, 0.8),  # on the crowd
        (1, (40, 40, 50, 50), 1, 0.3),  # right
    ]
    detections = np.zeros(len(found), DETECTION)
    for row, (image, box, category, score) in zip(detections, found, strict=True):
        row["image"], row["category"] = image, category
        row["box"], row["score"] = box, round(score * SCORE_UNITS)
    return held_out, detections


def test_right_and_wrong(case):
    right, wrong = judge(*case)
    assert right.tolist() == [True, False, False, False, True]
    assert wrong.tolist() == [False, True, True, False, False]


def test_counts_at_each_threshold(case):
    held_out, detections = case
    right, wrong = judge(*case)
    counts = count_boxes(held_out, detections, right, wrong, 0.05, [0.45])
    assert 0.45 in counts.thresholds and counts.thresholds[0] == 0.05
    scores = detections["score"] / SCORE_UNITS
    for number, threshold in enumerate(counts.thresholds):
        for kind, of_kind in ((right, counts.right), (wrong, counts.wrong)):
            for category in (0, 1):
                for image in (0, 1):
                    expected = sum(
                        kind
                        & (scores >= threshold)
                        & (detections["category"] == category)
                        & (detections["image"] == image)
                    )
                    assert of_kind[category, image, number] == expected
    assert counts.labels.tolist() == [[1, 0], [1, 1]]


def test_rates():
    found = rates(np.array([4, 2, 0]), np.array([4, 0, 0]), np.array(5))
    assert found.precision.tolist() == [0.5, 1, 1]
    assert found.recall.tolist() == [0.8, 0.4, 0]
    assert found.f1 == pytest.approx([2 * 0.5 * 0.8 / 1.3, 2 * 0.4 / 1.4, 0])
    assert f1_of(0, 0, 0) == 0 and rates(np.array([0]), np.array([0]), np.array(0)).recall == 0


def test_places():
    assert best_position(np.array([0.1, 0.5, 0.5, 0.5, 0.2])) == 2
    assert best_position(np.array([[1, 0], [0, 1]])).tolist() == [0, 1]
    precision, found = np.array([0.2, 0.7, 0.9, 1.0]), np.array([9, 5, 2, 0])
    assert lowest_precise(precision, found, 0.7) == 1
    assert lowest_precise(precision, found, 0.95) is None  # no box is left there
