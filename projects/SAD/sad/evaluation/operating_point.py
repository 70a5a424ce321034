"""The score above which detections are best taken for objects: that of the best F1."""

from typing import NamedTuple

import numpy as np
from pycocotools.coco import COCO

from .matching import match_boxes


class OperatingPoint(NamedTuple):
    threshold: float  # between the last score that is taken and the next one
    f1: float
    precision: float
    recall: float


def best_f1(truth: COCO, results: list[dict]) -> OperatingPoint | None:
    """F1 is of all classes together, at IoU 0.5; detections on crowds do not count.

    Args:
        truth: see `read_truth`.
        results: detections as in COCO's results, on images of the truth.
    Returns:
        the highest of equally good thresholds; None where nothing is found, or there is nothing.
    """
    labels, categories = list(truth.anns.values()), list(truth.cats.values())
    correct, wrong, _ = match_boxes(labels, results, list(truth.imgs), categories)
    objects = sum(not label.get("iscrowd", 0) for label in labels)
    scores = np.array([box["score"] for box in results], float)
    counted = correct | wrong
    if not correct.any() or not objects:
        return None
    order = np.argsort(-scores[counted], kind="stable")
    scores, correct = scores[counted][order], correct[counted][order]
    last = np.flatnonzero(np.append(np.diff(scores) < 0, True))  # of each of equal scores
    found, taken = np.cumsum(correct)[last], last + 1
    f1 = 2 * found / (taken + objects)
    best = int(f1.argmax())
    score = scores[last[best]]
    next_score = scores[last[best] + 1] if best + 1 < len(last) else 0.0
    return OperatingPoint(
        threshold=float((score + next_score) / 2),
        f1=float(f1[best]),
        precision=float(found[best] / taken[best]),
        recall=float(found[best] / objects),
    )
