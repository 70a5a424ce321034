"""Suppression against torchvision's."""

import pytest
import torch
from detectron2.layers import batched_nms

from sad.export.suppression import NOTHING, suppress


@pytest.mark.parametrize("seed", range(5))
def test_suppression_is_that_of_each_image_and_class(seed):
    draw = torch.Generator().manual_seed(seed)
    n, m, k = 3, 60, 4
    corners = 40 * torch.rand(n, m, 2, generator=draw) - 10
    sides = 1 + 20 * torch.rand(n, m, 2, generator=draw)
    boxes = torch.cat([corners, corners + sides], dim=2)
    scores = torch.rand(n, m, generator=draw)
    scores[:, ::4] = NOTHING
    scores[2] = NOTHING
    labels = torch.randint(k, (n, m), generator=draw)
    keep = suppress(boxes, scores, labels, k, 0.3)
    for image in range(n):
        real = (scores[image] > NOTHING).nonzero()[:, 0]
        wanted = batched_nms(boxes[image, real], scores[image, real], labels[image, real], 0.3)
        assert keep[image].nonzero()[:, 0].tolist() == real[wanted].sort().values.tolist()


def test_far_boxes_of_many_images_are_told_apart():
    """In float32 the 640th class's boxes would be moved by more than they can bear."""
    near = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 4.9], [0.0, 0.0, 10.0, 5.1]])
    boxes = torch.cat([near, torch.tensor([[0.0, 0.0, 1e5, 1e5]])]).expand(8, 4, 4)
    scores = torch.tensor([0.9, 0.8, 0.7, 0.95]).expand(8, 4)
    labels = torch.tensor([79, 79, 79, 78]).expand(8, 4)
    keep = suppress(boxes, scores, labels, 80, 0.5)
    assert keep.tolist() == [[True, True, False, True]] * 8


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_box_that_is_not_finite_is_nothing_and_spoils_no_other(wrong):
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]).repeat(2, 1, 1)
    boxes[1, 2, 3] = wrong
    scores = torch.tensor([0.9, 0.8, 0.7]).expand(2, 3)
    keep = suppress(boxes, scores, torch.zeros(2, 3, dtype=torch.long), 1, 0.5)
    assert keep.tolist() == [[True, False, True], [True, False, False]]
