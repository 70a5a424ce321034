"""Random numbers that go on."""

import random

import numpy as np
import torch
from detectron2.utils.env import seed_all_rng

from sad.utils.rng import rng_state, set_rng_state


def test_random_numbers_go_on(tmp_path):
    """Through a file that is read without running code."""
    seed_all_rng(3)
    torch.save(rng_state(), tmp_path / "rng.pth")

    def draw():
        return random.random(), np.random.rand(), torch.rand(2).tolist()

    drawn = draw()
    assert draw() != drawn
    set_rng_state(torch.load(tmp_path / "rng.pth", weights_only=True))
    assert draw() == drawn
