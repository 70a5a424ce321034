"""Which score threshold the pseudo-labels get: one for all classes, or one for a class alone.

The rule. The starting point is the threshold that labelling would choose, at which unlabelled
images have as many boxes as labelled ones. Another one takes its place only where held-out images
show that it is better:

1. of at least MIN_BOXES labelled boxes
2. the threshold of the best F1 is found on images drawn with replacement, and F1 is compared on
   the images that were not drawn, RESAMPLES times: images that choose do not judge;
3. the mean gain in F1 is at least MARGIN and at least its standard deviation over the draws.

First all classes together are asked, which gives the common threshold, then each class against
it. A class with few boxes, or without a clear gain, keeps the common one.
"""

from typing import NamedTuple

import numpy as np

from ..evaluation.rates import best_position, f1_of
from .curves import Counts

MIN_BOXES = 30
MARGIN = 0.02
RESAMPLES = 200


class Choice(NamedTuple):
    threshold: float
    changed: bool  # whether it is not the starting point
    gain: float | None  # in F1 on images that did not choose it; None with too few boxes
    spread: float | None  # its standard deviation over the draws
    reason: str


def choose(counts: Counts, start: float, seed: int = 0) -> tuple[Choice, list[Choice]]:
    """(the common threshold, that of each class), by the rule above.

    Args:
        start: the threshold that labelling would choose, one of `counts.thresholds`.
        seed: of the draws.
    """
    together = (counts.right.sum(0), counts.wrong.sum(0), counts.labels.sum(0))
    common = _better(counts.thresholds, *together, start, "labelling's own", seed)
    classes = zip(counts.right, counts.wrong, counts.labels, strict=True)
    return common, [
        _better(counts.thresholds, *of_class, common.threshold, "the common one", seed)
        for of_class in classes
    ]


def _better(thresholds, right, wrong, labels, start: float, name: str, seed: int) -> Choice:
    """The best F1's threshold where it is clearly better than `start`, else `start`.

    Args:
        right, wrong: (N, T); labels: (N,).
        name: of `start`, for the reason.
    """
    number = int(labels.sum())
    if number < MIN_BOXES:
        text = f"{number} labelled boxes are too few (under {MIN_BOXES}) to leave {name}"
        return Choice(start, False, None, None, text)
    place = int(np.searchsorted(thresholds, start))
    gain, spread = gain_of_best(right, wrong, labels, place, seed)
    best = float(thresholds[best_position(f1_of(right.sum(0), wrong.sum(0), number))])
    said = f"F1 {gain:+.3f} ± {spread:.3f} against {name}, on images that did not choose"
    if gain >= max(MARGIN, spread):
        return Choice(best, True, gain, spread, f"the best F1: {said}")
    return Choice(start, False, gain, spread, f"no clear gain by another: {said}")


def gain_of_best(right, wrong, labels, place: int, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of what the best F1's threshold gains over that at `place`.

    Args:
        right, wrong, labels: (N, T), (N, T) and (N,) counts of N images.
    """
    num_images = len(labels)
    weights = np.full(num_images, 1 / num_images)
    drawn = np.random.default_rng(seed).multinomial(num_images, weights, RESAMPLES)

    def f1(weights):  # (draws, T)
        weights = weights.astype(np.float32)
        return f1_of(weights @ right, weights @ wrong, (weights @ labels)[:, None])

    best = best_position(f1(drawn))
    judged = f1(drawn == 0)
    gains = judged[np.arange(RESAMPLES), best] - judged[:, place]
    return float(gains.mean()), float(gains.std())
