"""Differences of feature maps, and masks, against the formulas in numpy."""

import numpy as np
import pytest
import torch

from sad.losses.features import (
    FEATURE_LOSSES,
    channel_divergence,
    convolved_at,
    gaussian_mask,
    masked_squared_difference,
    mean_squared_difference,
    pearson_distance,
)


def maps(seed, shape=(2, 3, 4, 5)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_mean_squared_difference():
    x, z = maps(0), maps(1)
    expected = ((x.numpy() - z.numpy()) ** 2).mean()
    assert mean_squared_difference(x, z).item() == pytest.approx(expected)


def test_pearson_distance_is_one_less_the_correlation():
    x, z = maps(0), 3 * maps(1) - maps(0) + 7
    of_channels = zip(*(m.transpose(0, 1).flatten(1).numpy() for m in (x, z)), strict=True)
    expected = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in of_channels])
    assert pearson_distance(x, z).item() == pytest.approx(expected)
    # Scale and level of a channel do not matter.
    scale, level = torch.tensor([2.0, 0.1, 5.0])[:, None, None], maps(2, (3, 1, 1))
    assert pearson_distance(scale * x + level, z).item() == pytest.approx(expected)
    assert pearson_distance(-x, x).item() == pytest.approx(2)


def test_constant_channels_are_finite():
    constant = torch.zeros(2, 3, 4, 5, dtype=torch.float64).requires_grad_()
    loss = pearson_distance(constant, maps(0))
    assert loss.item() == pytest.approx(0.5)
    loss.backward()
    assert constant.grad.isfinite().all()
    cell = maps(0, (1, 3, 1, 1))  # a single image of a single place
    assert pearson_distance(cell, cell + 1) == 0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_channel_divergence_is_the_formula(temperature):
    x, z = maps(0), maps(1)
    total = 0.0
    for image in range(2):
        for channel in range(3):
            p, q = (np.exp(m[image, channel].numpy() / temperature) for m in (x, z))
            p, q = p / p.sum(), q / q.sum()
            total += temperature**2 * (q * np.log(q / p)).sum()
    assert channel_divergence(x, z, temperature).item() == pytest.approx(total / 6)
    assert channel_divergence(x + maps(2, (2, 3, 1, 1)), z, temperature).item() == pytest.approx(
        total / 6
    )


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_all_feature_losses(name):
    """Nothing where the maps are equal, the right gradient, and float32 at least."""
    x, z = maps(0).requires_grad_(), maps(1)

    def loss(student, teacher=z):
        return FEATURE_LOSSES[name](student, teacher, temperature=2.0)

    assert loss(x, x.detach()).item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.gradcheck(loss, x, fast_mode=True)
    half = x.detach().half(), z.half()
    found = loss(*half)
    assert found.dtype == torch.float32
    assert found == loss(*(m.float() for m in half))
    assert loss(300 * half[0], half[1]).isfinite()  # squares beyond float16's 65504


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
    shapes = [(24, 3), (6, 5), (0, 3)]  # no object in the last: divided by 2, not by 0
    student, teacher = ([rng.normal(size=shape) for shape in shapes] for _ in range(2))
    masks = [rng.uniform(size=places) for places, _ in shapes]
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


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_convolution_at_some_places(size, share, order):
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 5, size, padding=size // 2).double()
    maps = torch.randn(2, 3, 6, 7, dtype=torch.float64).to(memory_format=order).requires_grad_()
    places = torch.rand(2, 6, 7) < share
    found, gradients = [], []
    inputs = [maps, *convolution.parameters()]
    for result in (
        convolved_at(maps, convolution, places),
        convolution(maps).permute(0, 2, 3, 1)[places],
    ):
        found.append(result)
        gradients.append(torch.autograd.grad(result.sin().sum(), inputs))
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*gradients)
