"""Losses of feature maps, and the masks that say where the maps are compared.

SAD.DISTILL.FEATURE.LOSS names a function of FEATURE_LOSSES, which compares the maps of a level at
all places. The masks go with the squared difference alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .distillation import at_least_float32


def mean_squared_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean over all elements of (x - z)^2.

    Args:
        student, teacher: (N, C, h, w)
    """
    return F.mse_loss(at_least_float32(student), at_least_float32(teacher))


def pearson_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - r, the mean over the channels: PKD (arXiv 2207.02039). r is Pearson's correlation of the
    channel's values at all places of all images. A channel that is constant in one has 1/2.

    Args:
        student, teacher: (N, C, h, w)
    """
    return F.mse_loss(_standardised(student), _standardised(teacher)) / 2


def _standardised(maps: Tensor) -> Tensor:
    """Each channel with mean 0 and variance 1: (N, C, h, w) -> (C, N h w)."""
    channels = at_least_float32(maps).transpose(0, 1).flatten(1)
    return F.layer_norm(channels, channels.shape[1:], eps=1e-12)


def channel_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(q || p), the mean over images and channels: CWD (arXiv 2011.13256). p and q are the
    softmax of a channel of student and teacher, divided by T, over the places.

    Args:
        student, teacher: (N, C, h, w)
    """
    log_p, log_q = (
        (at_least_float32(maps).flatten(2) / temperature).log_softmax(dim=2)
        for maps in (student, teacher)
    )
    kl = F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=2)
    return temperature**2 * kl.mean()


# Of the maps of a level, (N, C, h, w) each and of equal shapes, and the keyword temperature.
FEATURE_LOSSES = {
    "l2": lambda x, z, **_: mean_squared_difference(x, z),
    "pkd": lambda x, z, **_: pearson_distance(x, z),
    "cwd": channel_divergence,
}


def masked_squared_difference(
    student: list[Tensor], teacher: list[Tensor], masks: list[Tensor], *, pooled: bool = False
) -> Tensor:
    """The mean over the levels of sum M mean_c (x - z)^2 / (2 max(1, sum M)).

    Args:
        student, teacher: (P, C) of each level, of the P places of all images where M is not 0.
        masks: (P,) of each level, M.
        pooled: one such fraction with the sums over all levels, in place of the mean.
    """
    sums = torch.stack(
        [
            (mask * (at_least_float32(x) - at_least_float32(z)).square().mean(dim=1)).sum()
            for x, z, mask in zip(student, teacher, masks, strict=True)
        ]
    )
    areas = torch.stack([mask.sum() for mask in masks])
    if pooled:
        sums, areas = sums.sum(), areas.sum()
    return (sums / (2 * areas.clamp_min(1))).mean()


def convolved_at(maps: Tensor, convolution: nn.Conv2d, places: Tensor) -> Tensor:
    """What a convolution, padded so that it keeps the size, makes of some places alone.

    Args:
        maps: (N, C, h, w)
        places: (N, h, w) bool, P of them.
    Returns:
        (P, C')
    """
    (size, _), (n, channels, _, _) = convolution.kernel_size, maps.shape
    padded = F.pad(maps, 4 * [size // 2])
    height, width = padded.shape[-2:]
    image, row, column = places.nonzero(as_tuple=True)
    first = (image * height + row) * width + column
    steps = torch.arange(size, device=maps.device)
    around = first[:, None] + (steps[:, None] * width + steps).flatten()  # (P, size^2)
    rows = padded.permute(0, 2, 3, 1).reshape(n * height * width, channels)[around]
    kernel = convolution.weight.permute(0, 2, 3, 1).flatten(1)
    return F.linear(rows.flatten(1), kernel, convolution.bias)


def gaussian_mask(boxes: Tensor, size: tuple[int, int], stride: int, spread: float = 2.0) -> Tensor:
    """exp(-(x - x0)^2 / (s (w/2)^2) - (y - y0)^2 / (s (h/2)^2)) within each box, zero outside.

    With s = 2 the middle of an edge has e^(-1/2), a corner e^(-1). It is taken at the middles of
    the cells; where boxes overlap, the largest counts. In a direction in which a box is smaller
    than a cell it takes the one cell of its middle, with 1.

    Args:
        boxes: (B, 4) in pixels of the image.
        size: (h, w) of the map.
        stride: pixels of the image from one cell to the next.
        spread: s; infinity makes it a mask of ones.
    Returns:
        (h, w)
    """
    if not len(boxes):
        return boxes.new_zeros(size)
    boxes = at_least_float32(boxes)
    rows, columns = (
        _profile(boxes[:, axis], boxes[:, axis + 2], cells, stride, spread)
        for axis, cells in zip((1, 0), size, strict=True)
    )
    return (rows[:, :, None] * columns[:, None, :]).amax(dim=0)


def _profile(low: Tensor, high: Tensor, cells: int, stride: int, spread: float) -> Tensor:
    """A mask along one direction: (B,) sides of boxes -> (B, cells)."""
    middle, half = ((low + high) / 2)[:, None], ((high - low) / 2)[:, None]
    distance = (torch.arange(cells, device=low.device) + 0.5) * stride - middle
    bell = torch.exp(-((distance / half).square() / spread)) * (distance.abs() <= half)
    nearest = (middle[:, 0] / stride).long().clamp(0, cells - 1)
    return torch.where(2 * half < stride, F.one_hot(nearest, cells).to(bell.dtype), bell)
