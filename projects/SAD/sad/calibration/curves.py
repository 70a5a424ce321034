"""Precision, recall and F1 of the teacher's boxes on held-out images, by class and threshold.

Shapes: N images, K classes, T thresholds.
"""

from typing import NamedTuple

import numpy as np

from ..evaluation.matching import match_boxes
from ..evaluation.rates import STEPS
from ..pseudo_labels.coco_file import to_annotations
from ..pseudo_labels.detections import scores


class Counts(NamedTuple):
    """How many boxes of each class and image reach each threshold, right and wrong at IoU 0.5."""

    thresholds: np.ndarray  # (T,) rising
    right: np.ndarray  # (K, N, T)
    wrong: np.ndarray  # (K, N, T); boxes on crowds are neither right nor wrong
    labels: np.ndarray  # (K, N) objects that people have drawn, crowds excluded


def judge(held_out, detections: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(right, wrong): (M,) bool of M detections, see `match_boxes`.

    Of a box with a higher score depends whether one with a lower is right, not the other way. So
    each threshold has the matches of its own boxes.

    Args:
        held_out: sad.calibration.images.HeldOut
        detections: of its images, see `sad.calibration.teacher_boxes`.
    """
    image_ids = [image["image_id"] for image in held_out.images]
    owners = [image_ids[position] for position in detections["image"]]
    boxes = to_annotations(detections, owners, held_out.categories)
    right, wrong, _ = match_boxes(held_out.labels, boxes, image_ids, held_out.categories)
    return right, wrong


def count_boxes(held_out, detections, right, wrong, floor: float, others=()) -> Counts:
    """
    Args:
        held_out, detections, right, wrong: see `judge`.
        floor: the teacher reports nothing below this score.
        others: thresholds to look at beside those in steps of 0.01.
    """
    steps = np.arange(1, STEPS) / STEPS
    thresholds = np.unique([*steps[steps >= floor], *others])
    shape = len(held_out.categories), len(held_out.images), len(thresholds)
    # Each box is counted at the highest threshold that it reaches, then at all below.
    reached = np.searchsorted(thresholds, scores(detections), side="right") - 1
    counts = np.zeros((2, *shape), np.int16)
    for of_kind, kind in zip(counts, (right, wrong), strict=True):
        some = kind & (reached >= 0)
        places = detections["category"][some], detections["image"][some], reached[some]
        np.add.at(of_kind, places, 1)
    counts = np.flip(np.flip(counts, -1).cumsum(-1, dtype=np.int16), -1)
    class_of = {category["id"]: number for number, category in enumerate(held_out.categories)}
    position_of = {image["image_id"]: number for number, image in enumerate(held_out.images)}
    labels = np.zeros(shape[:2], np.int64)
    for label in held_out.labels:
        if not label["iscrowd"]:
            labels[class_of[label["category_id"]], position_of[label["image_id"]]] += 1
    return Counts(thresholds, *counts, labels)
