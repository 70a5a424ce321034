"""The score threshold is calibrated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import calibrate_threshold_brute_force
from sad.pseudo_labels.detections import SCORE_UNITS, calibrate_threshold


def calibrate(scores, num_images, target_mean):
    units = (np.asarray(scores) * SCORE_UNITS).round().astype(int)
    counts = np.bincount(units, minlength=SCORE_UNITS + 1)
    return calibrate_threshold(counts, num_images, target_mean)


@given(
    st.lists(st.lists(st.integers(1, 12), max_size=6), min_size=1, max_size=8).filter(any),
    st.floats(0.01, 8),
)
def test_calibration_equals_brute_force(scores_per_image, target_mean):
    """Integers make many ties, and images without detections occur."""
    scores_per_image = [(np.array(scores) / 12).round(6) for scores in scores_per_image]
    threshold = calibrate(np.concatenate(scores_per_image), len(scores_per_image), target_mean)
    assert threshold == calibrate_threshold_brute_force(scores_per_image, target_mean)


def test_calibration_equals_brute_force_on_many_distinct_scores():
    rng = np.random.default_rng(0)
    scores_per_image = [rng.random(rng.integers(0, 40)).round(6) for _ in range(50)]
    for target_mean in (0.1, 3.3, 12, 100):
        threshold = calibrate(np.concatenate(scores_per_image), 50, target_mean)
        assert threshold == calibrate_threshold_brute_force(scores_per_image, target_mean)


def test_calibration_by_hand():
    scores = np.array([0.9, 0.8, 0.8, 0.3])
    assert calibrate(scores, 4, 0.25) == 0.9
    # 2 are wanted, 1 or 3 can be had (the two 0.8 stay together): fewer wins.
    assert calibrate(scores, 4, 0.5) == 0.9
    assert calibrate(scores, 4, 0.7) == 0.8
    # More are wanted than there are.
    assert calibrate(scores, 4, 50.0) == 0.3
    # Images without detections count: 6 images of a mean of 0.5 are 3 instances.
    assert calibrate(scores, 6, 0.5) == 0.8


def test_calibration_without_scores():
    with pytest.raises(ValueError, match="no scores"):
        calibrate([], 5, 1.0)
