"""What all terms share: the factor over the iterations, and what is chosen of a batch."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from sad.config.load import get_sad_cfg
from sad.terms import TERMS
from sad.terms.term import Outputs, Targets, Term


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


@pytest.mark.parametrize(
    ("decay", "steps", "to", "expected"),
    [
        ("linear", 0, 0.0, lambda i: 1 - i / 12),
        ("linear", 4, 0.0, lambda i: 1 - (i // 3) / 4),  # as an epoch of 3 iterations: DWPose's
        ("linear", 5, 0.0, lambda i: 1 - np.floor(5 * i / 12) / 5),
        ("cosine", 0, 0.0, lambda i: (1 + np.cos(np.pi * i / 12)) / 2),
        ("cosine", 0, 0.2, lambda i: 0.2 + 0.8 * (1 + np.cos(np.pi * i / 12)) / 2),
        ("cosine", 3, 0.0, lambda i: (1 + np.cos(np.pi * (i // 4) / 3)) / 2),
    ],
)
def test_decay(decay, steps, to, expected):
    node = get_sad_cfg().SAD.DISTILL.FEATURE
    node.DECAY, node.DECAY_STEPS, node.DECAY_TO, node.WEIGHT = decay, steps, to, 3.0
    term = TERMS["feature"](node, max_iter=12)
    found = [term.weight(i) for i in range(13)]
    assert found == pytest.approx([3 * expected(i) for i in range(13)])
    assert found[0] == 3 and found[12] == pytest.approx(3 * to)
    assert not Term.idle_keys(node)


def test_one_step_is_no_decay():
    """With a single one the weight would never fall."""
    rule = Term.RULES["DECAY_STEPS"]
    assert [rule.holds(steps) for steps in (-1, 0, 1, 2, 12)] == [False, True, False, True, True]


def test_how_it_falls_has_no_say_where_it_does_not():
    assert Term.idle_keys(get_sad_cfg().SAD.DISTILL.CLASS).keys() == {"DECAY", "DECAY_STEPS"}


def test_regions_of_some_images():
    outputs = Outputs(roi_logits=[torch.zeros(2, 3), torch.ones(1, 3)])
    assert outputs.select([1], {"roi_logits"}).roi_logits[0].tolist() == [[1, 1, 1]]
    objects = [Instances((8, 8)), Instances((9, 9))]
    targets = Targets([], torch.empty(2, 0), [0, 1], [], 2, objects, objects)
    chosen = targets.select([1])
    assert chosen.objects == chosen.regions == [objects[1]] and len(chosen.labels) == 1


def test_in_float32():
    outputs = Outputs(roi_logits=[torch.zeros(2, 3).half()], deltas=[torch.zeros(1, 2, 4).double()])
    found = outputs.in_float32({"roi_logits", "deltas"})
    assert found.roi_logits[0].dtype == torch.float32 and found.deltas[0].dtype == torch.float64
