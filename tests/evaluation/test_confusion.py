"""Confusion matrices of scenes whose counts are known, and sums that must hold."""

import numpy as np
import pytest

from detections_made import made, parts
from sad.evaluation.confusion import confusion_matrix
from sad.evaluation.matching import match_boxes

CATEGORIES = [{"id": 7}, {"id": 3}]  # not in the order of their ids


def label(category, box, image=1, crowd=0):
    return {"image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd}


def box(category, box, score, image=1):
    return label(category, box, image) | {"score": score}


def test_each_cell_by_hand():
    labels = [
        label(7, [0, 0, 10, 10]),  # found
        label(7, [30, 0, 10, 10]),  # taken for a 3
        label(3, [60, 0, 10, 10]),  # missed
        label(3, [0, 40, 40, 40], crowd=1),
        label(3, [90, 0, 10, 10]),  # found, though a 7 lies there with a better score
    ]
    found = [
        box(7, [0, 0, 10, 10], 0.9),
        box(7, [0, 0, 10, 9], 0.8),  # once more: on nothing that is free
        box(3, [30, 0, 10, 9], 0.3),
        box(3, [30, 0, 10, 10], 0.4),  # the better of two takes the object
        box(3, [5, 45, 10, 10], 0.7),  # on the crowd
        box(7, [5, 45, 10, 10], 0.7),  # not its crowd
        box(7, [90, 0, 10, 10], 0.9),
        box(3, [90, 0, 10, 10], 0.2),
        box(3, [60, 0, 10, 10], 0.5, image=2),  # the right place on the wrong image
    ]
    matrix = confusion_matrix(labels, found, [1, 2], CATEGORIES)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 1], [3, 2, 0]]


@pytest.mark.parametrize("seed", range(4))
def test_rows_are_objects_columns_detections_and_the_diagonal_is_what_coco_calls_right(seed):
    content, found = made(seed)
    labels, images, categories = parts(content)
    matrix = confusion_matrix(labels, found, images, categories)
    right, wrong, missed = match_boxes(labels, found, images, categories)
    ids = [category["id"] for category in categories]
    for place, number in enumerate(ids):
        of_class = np.array([x["category_id"] == number for x in found])
        objects = [x for x in labels if x["category_id"] == number and not x["iscrowd"]]
        assert matrix[place].sum() == len(objects)
        assert matrix[:, place].sum() == (of_class & (right | wrong)).sum()
        assert matrix[place, place] == (of_class & right).sum()
    assert matrix[-1, -1] == 0
    confused = matrix[:-1, :-1].sum() - right.sum()
    assert confused > 0 and matrix[:-1, -1].sum() == missed.sum() - confused


def test_nothing():
    assert confusion_matrix([], [], [1], CATEGORIES).tolist() == np.zeros((3, 3)).tolist()
    one = [label(3, [0, 0, 9, 9])]
    assert confusion_matrix(one, [], [1], CATEGORIES)[1].tolist() == [0, 0, 1]
    assert confusion_matrix([], [box(3, [0, 0, 9, 9], 1.0)], [1], CATEGORIES)[2].tolist() == [
        0,
        1,
        0,
    ]
