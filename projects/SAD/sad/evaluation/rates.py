"""Precision, recall and F1 of boxes by score threshold.

Shapes: T thresholds.
"""

from typing import NamedTuple

import numpy as np

STEPS = 100  # thresholds from 0 to 1


class Rates(NamedTuple):
    precision: np.ndarray  # 1 where there is no box
    recall: np.ndarray  # 0 where there is no object
    f1: np.ndarray  # 2 right / (right + wrong + labels), 0 where there is neither


def rates(right: np.ndarray, wrong: np.ndarray, labels: np.ndarray) -> Rates:
    """
    Args:
        right, wrong: (..., T) counts.
        labels: (...) counts.
    """
    labels = np.asarray(labels)[..., None]
    found = right + wrong
    precision = np.where(found > 0, right / np.maximum(found, 1), 1.0)
    return Rates(precision, right / np.maximum(labels, 1), f1_of(right, wrong, labels))


def f1_of(right, wrong, labels):
    """F1 of counts that broadcast against each other."""
    return 2 * right / np.maximum(right + wrong + labels, 1)


def best_position(f1: np.ndarray) -> np.ndarray:
    """(...) where (..., T) values are largest; of equals the one in their middle."""
    best = f1 == f1.max(axis=-1, keepdims=True)
    order = best.cumsum(axis=-1)
    return np.argmax(best & (order == (order[..., -1:] + 1) // 2), axis=-1)


def lowest_precise(precision: np.ndarray, found: np.ndarray, wanted: float) -> int | None:
    """Of T positions the lowest with this precision, and at least one box; None without any."""
    positions = np.flatnonzero((precision >= wanted) & (found > 0))
    return int(positions[0]) if len(positions) else None


def by_threshold(
    scores: np.ndarray, right: np.ndarray, wrong: np.ndarray, labels: int
) -> tuple[np.ndarray, Rates]:
    """The rates of the boxes with at least each score.

    Args:
        scores, right, wrong: (M,) of boxes, see `sad.evaluation.matching.match_boxes`.
        labels: number of objects.
    Returns:
        thresholds (T,) in steps of 0.01, and their rates.
    """
    thresholds = np.arange(1, STEPS) / STEPS
    scores = np.asarray(scores, float)
    counts = [
        np.array([np.count_nonzero(kind & (scores >= threshold)) for threshold in thresholds])
        for kind in (right, wrong)
    ]
    return thresholds, rates(*counts, labels)
