"""Thresholds are left only for a clear gain on images that did not choose."""

import numpy as np
import pytest

from sad.calibration.choice import MIN_BOXES, choose
from sad.calibration.curves import Counts

THRESHOLDS = np.arange(1, 10) / 10


def counts(good: list[float], bad: list[float], images=60) -> Counts:
    """One box in each image; right ones reach 0.9, wrong ones the score `bad` of their class."""
    right = np.zeros((len(good), images, 9), np.int16)
    wrong = np.zeros_like(right)
    for number, (reach, noise) in enumerate(zip(good, bad, strict=True)):
        right[number, :, THRESHOLDS <= reach] = 1
        wrong[number, :, THRESHOLDS <= noise] = 2
    return Counts(THRESHOLDS, right, wrong, np.ones((len(good), images), np.int64))


def test_one_threshold_where_classes_are_alike():
    common, each = choose(counts([0.9, 0.9], [0.4, 0.4]), 0.5)
    assert common.threshold == 0.5 and not common.changed
    assert [choice.threshold for choice in each] == [0.5, 0.5]


def test_a_better_common_threshold():
    common, each = choose(counts([0.9, 0.9], [0.4, 0.4]), 0.2)
    # F1 is 1 from 0.5 to 0.9, of which the middle is taken
    assert common.threshold == pytest.approx(0.7) and common.changed and common.gain > 0.3
    assert not any(choice.changed for choice in each)


def test_a_class_of_its_own():
    common, each = choose(counts([0.9, 0.4, 0.9], [0.2, 0.1, 0.2]), 0.5)
    assert each[1].changed and each[1].threshold < 0.5
    assert not each[0].changed and not each[2].changed


def test_few_boxes_change_nothing():
    few = counts([0.9], [0.4], MIN_BOXES - 1)
    common, (only,) = choose(few, 0.2)
    assert common.threshold == only.threshold == 0.2 and common.gain is None


def test_the_seed_decides():
    given = counts([0.9, 0.6], [0.4, 0.3])
    assert choose(given, 0.3, 1) == choose(given, 0.3, 1)
