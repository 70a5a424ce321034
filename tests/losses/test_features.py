"""Differences of feature maps, and masks, against the formulas in numpy."""

import numpy as np
import pytest
import torch

from sad.losses.features import (
    gaussian_mask,
    masked_squared_difference,
    mean_squared_difference,
)


def test_each_level_counts_alike():
    student = [torch.zeros(2, 4, 8, 8), torch.ones(2, 6, 1, 1)]
    teacher = [torch.full((2, 4, 8, 8), 2.0), torch.full((2, 6, 1, 1), 4.0)]
    assert mean_squared_difference(student, teacher).item() == (4 + 9) / 2


def test_float32_at_least():
    half = [torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)]
    zero = [torch.zeros(1, 1, 2, 2, dtype=torch.float16)]
    assert mean_squared_difference(half, zero).item() == 90_000  # beyond float16's 65504


# --- masks ---------------------------------------------------------------------------------------


def reference_mask(boxes, size, stride, spread):
    """Cell by cell, from the formula; a side below a cell is one cell with 1."""
    mask = np.zeros(size)
    for x0, y0, x1, y1 in boxes:
        for row, column in np.ndindex(*size):
            weight = 1.0
            for low, high, at, cells in ((x0, x1, column, size[1]), (y0, y1, row, size[0])):
                middle, half = (low + high) / 2, (high - low) / 2
                if 2 * half < stride:
                    weight *= at == min(int(middle // stride), cells - 1)
                    continue
                centre = (at + 0.5) * stride
                inside = low <= centre <= high
                weight *= np.exp(-((centre - middle) ** 2) / (spread * half**2)) if inside else 0
            mask[row, column] = max(mask[row, column], weight)
    return mask


BOXES = {
    "none": [],
    "one": [(8, 8, 40, 24)],
    "overlapping": [(0, 0, 32, 32), (10, 6, 57, 30), (3, 20, 61, 47)],
    "thin": [(4, 17, 60, 21), (30, 0, 33, 48)],
    "under a cell": [(17, 9, 22, 14), (60, 44, 64, 48)],
    "without area": [(20, 20, 20, 20)],
    "the whole image": [(0, 0, 64, 48)],
}


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("spread", [2.0, 0.5, np.inf])
def test_mask_is_the_formulas(name, stride, spread):
    size = (48 // stride, 64 // stride)
    boxes = torch.tensor(BOXES[name], dtype=torch.float32).reshape(-1, 4)
    found = gaussian_mask(boxes, size, stride, spread)
    np.testing.assert_allclose(found, reference_mask(BOXES[name], size, stride, spread), atol=1e-6)


def test_middle_of_an_edge_and_corner():
    mask = gaussian_mask(torch.tensor([[0.5, 0.5, 8.5, 8.5]]), (9, 9), 1)
    np.testing.assert_allclose(mask[0], mask[-1])
    assert mask[4, 4] == 1
    assert mask[0, 4].item() == pytest.approx(np.exp(-0.5))
    assert mask[0, 0].item() == pytest.approx(np.exp(-1))


def test_box_under_a_cell_takes_one_cell_with_one():
    mask = gaussian_mask(torch.tensor([[17.0, 9.0, 22.0, 14.0]]), (6, 8), 8)
    assert mask.sum() == 1 and mask[1, 2] == 1


@pytest.mark.parametrize("pooled", [False, True])
def test_masked_difference(pooled):
    rng = np.random.default_rng(0)
    shapes = [(2, 3, 4, 6), (2, 5, 2, 3), (2, 3, 1, 1)]
    student, teacher = ([rng.normal(size=shape) for shape in shapes] for _ in range(2))
    masks = [rng.uniform(size=(2, *shape[2:])) for shape in shapes]
    masks[2][:] = 0  # no object there: divided by 2, not by 0
    above = [
        (m * ((x - z) ** 2).mean(1)).sum() for x, z, m in zip(student, teacher, masks, strict=True)
    ]
    below = [mask.sum() for mask in masks]
    if pooled:
        expected = sum(above) / (2 * sum(below))
    else:
        expected = sum(a / (2 * max(1, b)) for a, b in zip(above, below, strict=True)) / 3
    tensors = ([torch.tensor(x) for x in levels] for levels in (student, teacher, masks))
    assert masked_squared_difference(*tensors, pooled=pooled).item() == pytest.approx(expected)
