"""The score above which detections are best shown."""

import numpy as np

from .matching import match_boxes


def best_threshold(truth, results: list[dict]) -> float | None:
    """The score threshold of the best F1 = 2 right / (right + wrong + objects), at IoU 0.5.

    Args:
        truth: pycocotools.coco.COCO of the annotations.
        results: detections of all its images, as in COCO's results.
    Returns:
        a threshold half way between the last score that is to be shown and the next one; None
        where no detection is right.
    """
    labels = truth.dataset["annotations"]
    categories, image_ids = truth.dataset["categories"], [x["id"] for x in truth.dataset["images"]]
    right, wrong, _ = match_boxes(labels, results, image_ids, categories)
    if not right.any():
        return None
    scores = np.array([box["score"] for box in results])
    order = np.argsort(-scores, kind="stable")
    scores, right, wrong = scores[order], right[order].cumsum(), wrong[order].cumsum()
    objects = sum(not label.get("iscrowd", 0) for label in labels)
    f1 = 2 * right / (right + wrong + objects)
    f1[:-1][scores[:-1] == scores[1:]] = 0  # a threshold shows all detections of a score, or none
    best = int(f1.argmax())
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    return float(scores[best] + below) / 2
