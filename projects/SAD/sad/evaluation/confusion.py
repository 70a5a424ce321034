"""Which classes are taken for which: every detection and every object has one place in a matrix."""

import numpy as np

from .matching import MATCH_IOU, match_boxes, overlaps


def confusion_matrix(labels: list[dict], found: list[dict], images: list, categories) -> np.ndarray:
    """Detections by the class of the object that they are on.

    On the diagonal are those that COCO's evaluation calls right. Of the others, by falling score,
    each takes the object of another class that it overlaps with most (IoU at least 0.5), if no
    detection has taken it. Crowds, and what lies on them, are left out.

    Args:
        labels, found, images, categories: see `match_boxes`, K categories.
    Returns:
        (K + 1, K + 1) counts. Rows are labelled classes in the order of the categories, columns
        detected ones. The last row counts detections on no object, or on one that another detection
        has; the last column objects that no detection is on.
    """
    right, wrong, missed = match_boxes(labels, found, images, categories)
    place_of = {category["id"]: place for place, category in enumerate(categories)}
    nothing = len(categories)
    matrix = np.zeros((nothing + 1, nothing + 1), int)
    for position in np.flatnonzero(right):
        place = place_of[found[position]["category_id"]]
        matrix[place, place] += 1
    alone = wrong.copy()
    free = missed.copy()
    for objects, boxes, ious in overlaps(labels, found):
        scores = np.array([found[position]["score"] for position in boxes])
        for row in np.argsort(-scores, kind="stable"):
            if not wrong[boxes[row]]:
                continue
            near = np.where(free[objects], ious[row], 0)
            if near.max(initial=0) < MATCH_IOU:
                continue
            taken = objects[near.argmax()]
            free[taken] = alone[boxes[row]] = False
            of_object, of_box = labels[taken], found[boxes[row]]
            matrix[place_of[of_object["category_id"]], place_of[of_box["category_id"]]] += 1
    for position in np.flatnonzero(alone):
        matrix[nothing, place_of[found[position]["category_id"]]] += 1
    for position in np.flatnonzero(free):
        matrix[place_of[labels[position]["category_id"]], nothing] += 1
    return matrix
