"""Losses of feature maps."""

import torch.nn.functional as F
from torch import Tensor

from .distillation import at_least_float32


def mean_squared_difference(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """The mean over the levels of the mean over all elements of a level.

    Args:
        student, teacher: (N, C, h, w) of each level, of equal shapes.
    """
    levels = [
        F.mse_loss(at_least_float32(x), at_least_float32(z))
        for x, z in zip(student, teacher, strict=True)
    ]
    return sum(levels) / len(levels)
