"""Tables of the report from counts that are known."""

import json

import numpy as np

from sad.calibration.curves import Counts
from sad.calibration.summary import ALL, curves, points


def counts() -> Counts:
    right = np.zeros((2, 1, 3), np.int16)
    wrong = np.zeros_like(right)
    right[0, 0], wrong[0, 0] = (4, 3, 1), (4, 1, 0)
    return Counts(np.array([0.2, 0.5, 0.8]), right, wrong, np.array([[5], [0]]))


def test_points():
    rows = points(counts(), ["cat", "dog"], 0.2, {"cat": 0.5, "dog": 0.2})
    together, cat, dog = rows
    assert together["name"] == ALL and together["labels"] == 5
    assert cat["labelling"] == {
        "threshold": 0.2,
        "boxes": 8,
        "precision": 0.5,
        "recall": 0.8,
        "f1": 0.6154,
    }
    assert cat["chosen"]["threshold"] == 0.5 and cat["chosen"]["precision"] == 0.75
    assert cat["precise"]["threshold"] == 0.5  # the first of 70 %
    assert dog["precise"] is None and dog["labelling"]["precision"] is None
    assert dog["labelling"]["recall"] is None
    assert together["chosen"]["threshold"] is None and together["chosen"]["boxes"] == 4


def test_curves_hold_no_nan():
    found = curves(counts(), ["cat", "dog"])
    json.dumps(found, allow_nan=False)
    assert found["curves"]["cat"]["recall"] == [0.8, 0.6, 0.2]
    assert found["curves"]["dog"]["precision"] == [None] * 3
