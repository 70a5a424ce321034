"""What is wrong with a detection, and which objects nothing finds: the kinds of TIDE.

D. Bolya, S. Foley, J. Hays, J. Hoffman. TIDE: A General Toolbox for Identifying Object Detection
Errors. arXiv 2008.08115. A wrong detection may fit several kinds. Then it is "place" before
"class", and both before the others, as in the authors' program.

Shapes: M detections, P labelled objects.
"""

from typing import NamedTuple

import numpy as np

from .matching import MATCH_IOU, match_boxes, overlaps

BACKGROUND_IOU = 0.1
KINDS = (
    "class",  # IoU of 0.5 or more with an object of another class
    "place",  # right class, but IoU with the object from 0.1 to 0.5
    "both",  # IoU from 0.1 to 0.5 with an object of another class
    "duplicate",  # right class and place, but a better score has found the object
    "background",  # IoU below 0.1 with every object
)
CLASS, PLACE, BOTH, DUPLICATE, BACKGROUND = range(len(KINDS))


class Errors(NamedTuple):
    right: np.ndarray  # (M,) bool, as COCO's evaluation sees it at IoU 0.5
    kind: np.ndarray  # (M,) place in KINDS; -1 of those that are right or on a crowd
    target: np.ndarray  # (M,) position of the object that a "place" or "class" error means, else -1
    found: np.ndarray  # (P,) bool
    missed: np.ndarray  # (P,) bool: not found, and no "place" or "class" error means it


def find_errors(labels: list[dict], found: list[dict], images: list, categories) -> Errors:
    """
    Args:
        labels, found, images, categories: see `match_boxes`.
    """
    right, wrong, unfound = match_boxes(labels, found, images, categories)
    kind, target = np.full((2, len(found)), -1)
    kind[wrong] = BACKGROUND
    crowd = np.array([bool(label.get("iscrowd", 0)) for label in labels], bool)
    class_of = np.array([label["category_id"] for label in labels])
    for objects, boxes, ious in overlaps(labels, found):
        ious = np.where(crowd[objects], 0, ious)
        for position, of_all in zip(boxes, ious, strict=True):
            if not wrong[position]:
                continue
            same = class_of[objects] == found[position]["category_id"]
            own, other = np.where(same, of_all, 0), np.where(same, 0, of_all)
            kind[position] = _kind(own.max(initial=0), other.max(initial=0))
            if kind[position] in (PLACE, CLASS):
                meant = own if kind[position] == PLACE else other
                target[position] = objects[meant.argmax()]
    missed = unfound.copy()
    missed[target[target >= 0]] = False
    return Errors(right, kind, target, ~unfound & ~crowd, missed)


def _kind(own: float, other: float) -> int:
    """Of a wrong detection.

    Args:
        own, other: greatest IoU with objects of its class, and of other classes.
    """
    if BACKGROUND_IOU <= own < MATCH_IOU:
        return PLACE
    if other >= MATCH_IOU:
        return CLASS
    if own >= MATCH_IOU:
        return DUPLICATE
    return BOTH if other >= BACKGROUND_IOU else BACKGROUND


def count_errors(errors: Errors) -> dict[str, int]:
    """How many detections are right, of each kind and on crowds ("ignored"); how many objects are
    "found", "missed", and neither: meant by a detection of the wrong class or place ("meant").
    """
    kinds = {name: int((errors.kind == place).sum()) for place, name in enumerate(KINDS)}
    right, found, missed = (int(x.sum()) for x in (errors.right, errors.found, errors.missed))
    meant = errors.target[errors.target >= 0]
    return {
        "right": right,
        **kinds,
        "ignored": len(errors.kind) - right - sum(kinds.values()),
        "found": found,
        "meant": len(np.unique(meant[~errors.found[meant]])),
        "missed": missed,
    }
