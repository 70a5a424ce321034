"""One threshold, or one for a class alone: sets of which the answer is known."""

import numpy as np
import pytest

from sad.calibration.choice import MIN_BOXES, choose, gain_of_best
from sad.calibration.curves import Counts

THRESHOLDS = np.arange(1, 10) / 10


def counts_of(*classes) -> Counts:
    """Of classes (images, right scores of each, wrong scores of each, objects of each)."""
    columns = [[], [], []]
    for images, right, wrong, labels in classes:
        for column, found in zip(columns, (right, wrong), strict=False):
            reached = [sum(score >= t for score in found) for t in THRESHOLDS]
            column.append(np.tile(reached, (images, 1)))
        columns[2].append(np.full(images, labels))
    return Counts(THRESHOLDS, *map(np.array, columns))


def test_a_class_with_another_best_threshold_gets_it():
    """Below 0.5 all boxes of the second are wrong; the first is as good at 0.3 as anywhere."""
    both = counts_of((40, [0.95], [], 1), (40, [0.75], [0.35, 0.45], 1))
    common, (first, second) = choose(both, 0.3)
    # Together they gain: F1 160 / 240 at 0.3, and 1 from 0.5 to 0.7.
    assert common.changed and common.threshold == 0.6 and common.gain == pytest.approx(1 / 3)
    assert not first.changed and not second.changed
    same = counts_of((40, [0.35], [], 1), (40, [0.75], [0.35, 0.45], 1))
    common, (first, second) = choose(same, 0.3)
    assert (common.threshold, common.changed) == (0.3, False)
    assert (first.threshold, first.changed) == (0.3, False)
    assert (second.threshold, second.changed) == (0.6, True)
    assert second.gain == pytest.approx(0.5) and second.spread == 0


def test_few_boxes_keep_the_common_threshold():
    for number, changed in ((MIN_BOXES - 1, False), (MIN_BOXES, True)):
        counts = counts_of((number, [0.75], [0.35, 0.45], 1))
        common, (only,) = choose(counts, 0.3)
        assert common.changed == changed and only.threshold == common.threshold
        assert (common.gain is None) != changed


def test_chance_is_no_gain():
    """Right and wrong boxes whose scores say nothing: the best of many thresholds is luck."""
    gains = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        right, wrong = rng.random((2, 60, 9)) < 0.02  # boxes by their highest threshold
        right[:, -1] |= rng.random(60) < 0.5
        wrong[:, -1] |= rng.random(60) < 0.5
        right, wrong = (x[:, ::-1].cumsum(1)[:, ::-1] for x in (right, wrong))
        gain, spread = gain_of_best(right, wrong, np.ones(60, int), place=0, seed=seed)
        gains.append(gain >= max(0.02, spread))
    assert sum(gains) <= 2


def test_images_that_choose_do_not_judge():
    """By plain loops over the same draws."""
    rng = np.random.default_rng(1)
    right, wrong = rng.integers(0, 3, (2, 12, 4))
    labels = right.max(1) + rng.integers(0, 2, 12)

    def f1(weights, place):
        found = weights @ (right[:, place] + wrong[:, place])
        return 2 * (weights @ right[:, place]) / max(found + weights @ labels, 1)

    gains = []
    for drawn in np.random.default_rng(5).multinomial(12, [1 / 12] * 12, 200):
        values = [f1(drawn, place) for place in range(4)]
        equal = np.flatnonzero(np.isclose(values, max(values)))
        best = equal[(len(equal) - 1) // 2]
        others = (drawn == 0).astype(int)
        gains.append(f1(others, best) - f1(others, 2))
    expected = np.mean(gains), np.std(gains)
    assert gain_of_best(right, wrong, labels, 2, seed=5) == pytest.approx(expected, abs=1e-6)


def test_one_image():
    common, (only,) = choose(counts_of((1, [0.75] * 40, [0.35] * 40, 40)), 0.3)
    assert not common.changed and only.threshold == 0.3 and np.isfinite(common.gain)
