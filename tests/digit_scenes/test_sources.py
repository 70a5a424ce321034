"""Handwriting and photographs: each split has its own, and nothing is downloaded."""

import importlib.metadata
import socket

import numpy as np

from sad.digit_scenes import sources
from sad.digit_scenes.sources import SPLITS


def test_splits_share_no_handwriting_and_use_all_of_it():
    glyphs = sources.glyphs()
    seen = {
        split: {glyph.tobytes() for digit in range(10) for glyph in glyphs[split][digit]}
        for split in SPLITS
    }
    assert [len(seen[split]) for split in SPLITS] == [600, 600, 200, 397]
    assert len(set().union(*seen.values())) == 1797
    for split, total in zip(SPLITS, (600, 600, 200, 397), strict=True):
        for digit in range(10):
            assert abs(len(glyphs[split][digit]) - total / 10) <= 7


def test_photograph_parts_are_disjoint_and_large_enough():
    for photograph in sources.photographs():
        height, width = photograph.shape[:2]
        pixels = np.arange(height * width).reshape(height, width)
        train = sources.part_of_photograph(pixels, "labeled")
        tune = sources.part_of_photograph(pixels, "tune")
        minival = sources.part_of_photograph(pixels, "minival")
        together = np.concatenate([train.ravel(), tune.ravel(), minival.ravel()])
        assert (np.bincount(together) == 1).all() and len(together) == height * width
        assert np.array_equal(train, sources.part_of_photograph(pixels, "unlabeled"))
        assert min(train.shape + tune.shape + minival.shape) >= 128


def test_sources_are_in_the_wheel_and_need_no_network(monkeypatch):
    wheel = {str(path) for path in importlib.metadata.files("scikit-image")}
    assert {f"skimage/data/{name}" for name in sources.PHOTOGRAPHS} <= wheel

    def refuse(*args):
        raise AssertionError("network touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    sources.photographs.__wrapped__()
    sources.glyphs.__wrapped__()
