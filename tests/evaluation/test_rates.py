"""Precision, recall and F1 by threshold."""

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from sad.evaluation.rates import best_position, by_threshold, lowest_precise, rates


def test_rates_of_nothing():
    curve = rates(np.zeros(3, int), np.array([1, 0, 0]), 0)
    assert curve.precision.tolist() == [0, 1, 1]
    assert curve.recall.tolist() == curve.f1.tolist() == [0, 0, 0]


def test_best_is_the_middle_of_equals():
    assert best_position(np.array([0.1, 0.5, 0.5, 0.5, 0.2])) == 2
    assert best_position(np.array([[0.5, 0.5], [0.1, 0.2]])).tolist() == [0, 1]


def test_lowest_precise():
    precision, found = np.array([0.5, 0.8, 0.6, 0.9, 1.0]), np.array([9, 5, 4, 2, 0])
    assert lowest_precise(precision, found, 0.7) == 1
    assert lowest_precise(precision, found, 0.95) is None


def test_by_threshold_as_sklearn_counts():
    """Each object that is found is a case that is so and is said to be so, and so on."""
    rng = np.random.default_rng(0)
    scores, right = rng.random(50).round(2), rng.random(50) < 0.6
    wrong = ~right & (rng.random(50) < 0.9)  # the others lie on crowds
    labels = int(right.sum()) + 7
    thresholds, found = by_threshold(scores, right, wrong, labels)
    assert len(thresholds) == 99
    for place in (0, 30, 59, 98):
        kept = scores >= thresholds[place]
        hits, mistakes = (right & kept).sum(), (wrong & kept).sum()
        truth = [1] * labels + [0] * mistakes
        said = [1] * hits + [0] * (labels - hits) + [1] * mistakes
        expected = precision_recall_fscore_support(truth, said, average="binary", zero_division=1)
        ours = [found.precision[place], found.recall[place], found.f1[place]]
        np.testing.assert_allclose(ours, expected[:3])
    assert np.isin(scores, thresholds).sum() > 40  # a score at a threshold reaches it
