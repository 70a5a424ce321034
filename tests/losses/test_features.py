"""The mean squared difference of feature maps."""

import torch

from sad.losses.features import mean_squared_difference


def test_each_level_counts_alike():
    student = [torch.zeros(2, 4, 8, 8), torch.ones(2, 6, 1, 1)]
    teacher = [torch.full((2, 4, 8, 8), 2.0), torch.full((2, 6, 1, 1), 4.0)]
    assert mean_squared_difference(student, teacher).item() == (4 + 9) / 2


def test_float32_at_least():
    half = [torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)]
    zero = [torch.zeros(1, 1, 2, 2, dtype=torch.float16)]
    assert mean_squared_difference(half, zero).item() == 90_000  # beyond float16's 65504
