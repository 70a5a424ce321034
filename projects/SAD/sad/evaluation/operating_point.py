"""The score above which detections are best taken for objects: that of the best F1."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools.coco import COCO

from .matching import match_boxes
from .rates import best_position, by_threshold


class OperatingPoint(NamedTuple):
    threshold: float  # in steps of 0.01; of those that are equally good the one in their middle
    precision: float
    recall: float
    f1: float


def best_point(
    scores: Sequence[float], right: np.ndarray, wrong: np.ndarray, objects: int
) -> OperatingPoint | None:
    """
    Args:
        scores, right, wrong: (M,) of detections, see `match_boxes`.
        objects: number of labelled ones, without crowds.
    Returns:
        None where nothing is right, so that no threshold is better than another.
    """
    if not np.any(right):
        return None
    thresholds, found = by_threshold(scores, right, wrong, objects)
    best = best_position(found.f1)
    return OperatingPoint(thresholds[best].item(), *(of_all[best].item() for of_all in found))


def best_f1(truth: COCO, results: list[dict]) -> OperatingPoint | None:
    """F1 is of all classes together, at IoU 0.5; detections on crowds do not count.

    Args:
        truth: see `read_truth`.
        results: detections as in COCO's results, on images of the truth.
    Returns:
        see `best_point`
    """
    labels, categories = list(truth.anns.values()), list(truth.cats.values())
    correct, wrong, _ = match_boxes(labels, results, list(truth.imgs), categories)
    objects = sum(not label.get("iscrowd", 0) for label in labels)
    return best_point([box["score"] for box in results], correct, wrong, objects)
