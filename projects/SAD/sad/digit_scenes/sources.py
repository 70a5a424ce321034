"""What the scenes are made of: handwriting and photographs, and each split's part of them."""

import functools
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from ..utils.errors import UserError

SPLITS = ("labeled", "unlabeled", "tune", "minival")
GLYPHS_PER_SPLIT = (600, 600, 200, 397)  # all 1,797 of them

# Photographs inside the scikit-image wheel whose notes there say CC0, public domain or "no known
# copyright restrictions". Left out: motorcycle and moon (no note), rocket (disputed), clock, page
# and text (they show digits or print that no box would name).
PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
)
TRAIN_WIDTH = 0.6  # training crops come from the left 60 % of a photograph's width,
TUNE_HEIGHT = 0.45  # tune from the upper 45 % of the rest, minival from what is below


@functools.cache
def glyphs():
    """{split: {digit: (n, 8, 8) float32 samples, ink 0 to 1}}, the same for every seed.

    Sets of any two seeds so share no handwriting between training and evaluation either.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            "digit scenes need the digits of scikit-learn: pip install scikit-learn"
        ) from error
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    # In shuffled order, first of every digit one sample, then of every digit a second, ...: any
    # stretch of it holds all digits alike.
    order = np.random.default_rng(0).permutation(len(images))
    labels = digits.target[order]
    rank = np.empty_like(labels)
    for digit in range(10):
        rank[labels == digit] = np.arange((labels == digit).sum())
    order = order[np.argsort(rank, kind="stable")]
    parts = np.split(order, np.cumsum(GLYPHS_PER_SPLIT)[:-1])
    return {
        split: {digit: images[part[digits.target[part] == digit]] for digit in range(10)}
        for split, part in zip(SPLITS, parts, strict=True)
    }


@functools.cache
def photographs():
    """The photographs in the order of PHOTOGRAPHS, (H, W, 3) uint8 RGB.

    They are read as files: scikit-image's own loaders would download one that is missing.
    """
    folder = _photograph_folder()
    found = []
    for name in PHOTOGRAPHS:
        try:
            with Image.open(folder / name) as photograph:
                found.append(np.asarray(photograph.convert("RGB")))
        except OSError as error:
            raise UserError(
                f"the photograph {folder / name} is missing or unreadable, though scikit-image's "
                "wheel holds it: pip install --force-reinstall --no-deps scikit-image"
            ) from error
    return found


def _photograph_folder():
    package = importlib.util.find_spec("skimage")  # finds it without importing it
    if package is None:
        raise UserError(
            "digit scenes need the photographs of scikit-image: pip install scikit-image"
        )
    return Path(package.origin).parent / "data"


def part_of_photograph(photograph, split):
    """The pixels of a photograph that a split may show; no two parts overlap."""
    height, width = photograph.shape[:2]
    left, upper = round(TRAIN_WIDTH * width), round(TUNE_HEIGHT * height)
    if split == "tune":
        return photograph[:upper, left:]
    if split == "minival":
        return photograph[upper:, left:]
    return photograph[:, :left]
