"""The score above which detections are best taken for objects: that of the best F1."""

from typing import NamedTuple

from pycocotools.coco import COCO

from .matching import match_boxes
from .rates import best_position, by_threshold


class OperatingPoint(NamedTuple):
    threshold: float  # in steps of 0.01; of those that are equally good the one in their middle
    precision: float
    recall: float
    f1: float


def best_f1(truth: COCO, results: list[dict]) -> OperatingPoint | None:
    """F1 is of all classes together, at IoU 0.5; detections on crowds do not count.

    Args:
        truth: see `read_truth`.
        results: detections as in COCO's results, on images of the truth.
    Returns:
        None where nothing is found, or there is nothing.
    """
    labels, categories = list(truth.anns.values()), list(truth.cats.values())
    correct, wrong, _ = match_boxes(labels, results, list(truth.imgs), categories)
    objects = sum(not label.get("iscrowd", 0) for label in labels)
    if not correct.any() or not objects:
        return None
    thresholds, found = by_threshold([box["score"] for box in results], correct, wrong, objects)
    best = best_position(found.f1)
    return OperatingPoint(thresholds[best].item(), *(of_all[best].item() for of_all in found))
