"""What all terms share: the factor over the iterations, and what is chosen of a batch."""

import pytest
import torch
from detectron2.structures import Boxes

from sad.config.load import get_sad_cfg
from sad.terms import TERMS
from sad.terms.term import Outputs, Targets


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(
    ("opts", "expected"),
    [
        ((0.5, 0, 1.0), [0.5, 0.5, 0.5, 0.5, 0.5]),
        ((2.0, 4, 1.0), [0.5, 1.0, 1.5, 2.0, 2.0]),
        ((1.0, 0, 0.0), [1.0, 0.75, 0.5, 0.25, 0.0]),
        ((1.0, 2, 0.5), [0.5, 0.875, 0.75, 0.625, 0.5]),
    ],
)
def test_factor_of_each_iteration(name, opts, expected):
    """Rises over WARMUP_ITERS, and falls evenly to DECAY_TO of WEIGHT at iteration 4."""
    node = get_sad_cfg().SAD.DISTILL[name.upper()]
    node.WEIGHT, node.WARMUP_ITERS, node.DECAY_TO = opts
    term = TERMS[name](node, max_iter=4)
    assert [term.weight(i) for i in range(5)] == pytest.approx(expected)


def test_targets_of_some_images():
    anchors = [Boxes(torch.rand(2, 4)), Boxes(torch.rand(1, 4))]
    labels = torch.tensor([[0, 1, 2], [2, 2, 2], [-1, 2, 0]])
    boxes = [torch.full((3, 4), 1.0), torch.full((3, 4), 2.0)]
    chosen = Targets(anchors, labels, [0, 2], boxes, 2).select([1, 2])
    assert chosen.labels.tolist() == [[2, 2, 2], [-1, 2, 0]]
    assert chosen.hard == [1] and torch.equal(chosen.boxes[0], boxes[1])
    assert chosen.foreground.tolist() == [[False] * 3, [False, False, True]]


def test_outputs_of_some_images_and_kinds():
    outputs = Outputs(logits=[torch.arange(6.0).view(3, 2, 1)], deltas=[torch.zeros(3, 2, 4)])
    chosen = outputs.select([2, 0], {"logits"})
    assert chosen.deltas is None
    assert chosen.logits[0].flatten().tolist() == [4, 5, 0, 1]
