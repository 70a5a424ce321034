"""Box losses against hand-made numbers."""

import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform

from sad.losses.boxes import BOX_LOSSES

TRANSFORM = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
ANCHOR = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
STILL = torch.zeros(1, 4)
BESIDE = torch.tensor([[1.0, 0.0, 0.0, 0.0]])  # the anchor, shifted by its width
FAR = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
HALF = torch.tensor([[0.0, 0.0, -0.6931471805599453, 0.0]])  # half as wide, in the middle


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [(STILL, 0.0), (BESIDE, 1.0), (FAR, 1 + 1 / 3), (HALF, 0.5)],
    ids=["same", "side by side", "apart", "inside"],
)
def test_generalized_iou(deltas, expected):
    loss = BOX_LOSSES["giou"](deltas, STILL, ANCHOR, TRANSFORM, beta=0.0)
    assert loss.tolist() == pytest.approx([expected], abs=1e-5)


@pytest.mark.parametrize(("beta", "expected"), [(0.0, 3.25), (1.0, 2.03125), (0.5, 2.5625)])
def test_smooth_l1(beta, expected):
    student = torch.tensor([[1.0, -2.0, 0.25, 0.0]])
    loss = BOX_LOSSES["smooth_l1"](student, STILL, ANCHOR, TRANSFORM, beta=beta)
    assert loss.tolist() == pytest.approx([expected])


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_teacher_gets_no_gradient(name):
    student, teacher = (x.clone().requires_grad_() for x in (BESIDE, HALF))
    BOX_LOSSES[name](student, teacher, ANCHOR, TRANSFORM, beta=0.0).sum().backward()
    assert student.grad.any() and teacher.grad is None


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_no_boxes(name):
    empty = torch.zeros(0, 4, requires_grad=True)
    loss = BOX_LOSSES[name](empty, torch.zeros(0, 4), torch.zeros(0, 4), TRANSFORM, beta=0.0)
    assert loss.shape == (0,)
    loss.sum().backward()


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_deltas_that_are_no_numbers_are_seen_in_the_loss(name):
    loss = BOX_LOSSES[name](STILL * torch.nan, STILL, ANCHOR, TRANSFORM, beta=0.0)
    assert loss.isnan().all()
