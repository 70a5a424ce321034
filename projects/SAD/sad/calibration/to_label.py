"""Which unlabelled images are most worth labelling: where the teacher errs most, spread out."""

import csv
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from ..utils.files import atomic_write

POOL = 10  # images to choose from, for each that is wanted
EDGE = 1e-6  # scores are kept this far from 0 and 1


class Errors(NamedTuple):
    """Expected numbers of each image, each (N,)."""

    wrong: np.ndarray  # boxes that are kept and are wrong
    missed: np.ndarray  # boxes that are dropped and are right
    objects: np.ndarray  # boxes that are right, kept or dropped


def fit_chance(scores: np.ndarray, right: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The chance that a box of some score is right, by a logistic curve in the score's logit.

    Args:
        scores, right: (M,) of boxes of held-out images; right is bool.
    """
    if len(np.unique(right)) < 2:  # no curve goes through one kind, or none
        frequency = (right.sum() + 1) / (len(right) + 2)
        return lambda values: np.full(len(values), frequency)
    curve = LogisticRegression(C=np.inf).fit(_logits(scores), right)
    slope, offset = curve.coef_[0, 0], curve.intercept_[0]
    return lambda values: expit(slope * _logits(values)[:, 0] + offset)


def _logits(scores: np.ndarray) -> np.ndarray:
    return logit(np.clip(scores, EDGE, 1 - EDGE))[:, None]


def expected_errors(
    images: np.ndarray, chances: np.ndarray, kept: np.ndarray, num_images: int
) -> Errors:
    """What is expected to be wrong with the pseudo-labels of each image.

    Objects that the teacher gives no box at all are not in it: nothing tells of them.

    Args:
        images: (M,) each box's image, 0 ... num_images - 1.
        chances: (M,) that it is right.
        kept: (M,) bool, whether it becomes a pseudo-label.
    """

    def total(values):
        return np.bincount(images, weights=values, minlength=num_images)

    return Errors(total(kept * (1 - chances)), total(~kept * chances), total(chances))


def uncertainty(errors: Errors) -> np.ndarray:
    """(N,) expected errors for each expected object, of which one more than there are, so that
    neither crowded images nor empty ones always win.
    """
    return (errors.wrong + errors.missed) / (1 + errors.objects)


def choose_spread(values: np.ndarray, features: np.ndarray, number: int) -> np.ndarray:
    """Positions of images that are uncertain and unlike each other, in the order they are chosen.

    Of the POOL x `number` most uncertain, first the most uncertain of all, then always the one
    whose uncertainty times its distance to the nearest chosen image is largest.

    Args:
        values: (N,) uncertainty.
        features: (N, F) of which the distances are, each column scaled to a deviation of 1.
    """
    pool = np.argsort(-values, kind="stable")[: POOL * number]
    scale = features[pool].std(axis=0)
    points = features[pool] / np.where(scale > 0, scale, 1)
    nearest = np.full(len(pool), np.inf)
    chosen = []
    for _ in range(min(number, len(pool))):
        gain = values[pool] * nearest if chosen else values[pool].copy()
        gain[chosen] = -1
        chosen.append(int(np.argmax(gain)))
        distance = np.linalg.norm(points - points[chosen[-1]], axis=1)
        nearest = np.minimum(nearest, distance)
    return pool[chosen]


def describe(positions: np.ndarray, images: list[dict], errors: Errors) -> list[dict]:
    """Of the images at these positions file_name, reason, uncertainty, wrong, missed, objects.

    Args:
        images: N dicts with file_name.
        errors: of all N.
    """
    values = uncertainty(errors)
    described = []
    for position in positions.tolist():
        wrong, missed, objects = (float(number[position]) for number in errors)
        reason = f"{wrong:.1f} wrong and {missed:.1f} missed boxes expected, {objects:.1f} objects"
        described.append(
            {
                "file_name": images[position]["file_name"],
                "reason": reason,
                "uncertainty": round(float(values[position]), 4),
                "wrong": round(wrong, 4),
                "missed": round(missed, 4),
                "objects": round(objects, 4),
            }
        )
    return described


def write_list(path: str, proposals: list[dict]) -> None:
    """A csv of what `describe` gives, the first choice first."""
    columns = ["file_name", "reason", "uncertainty", "wrong", "missed", "objects"]
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(proposals)
