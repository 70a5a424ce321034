"""Losses and gates of regions against the formulas in numpy."""

import numpy as np
import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes, Instances

from sad.losses.regions import (
    BOX_GATES,
    CLASS_GATES,
    CLASS_LOSSES,
    decided,
    deltas_of_class,
    encoded_alike,
    log_missing,
    overlaps,
)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def reference(name, x, z, temperature, is_sigmoid):
    """Of each region, from probabilities; good for logits of a few units."""
    if name == "l2":
        return ((x - z)[:, : -1 if is_sigmoid else None] ** 2).mean(1)
    if name == "bce":
        if is_sigmoid:
            p, q = sigmoid(x[:, :-1]), sigmoid(z[:, :-1])
        else:
            p, q = softmax(x), softmax(z)
        return -(q * np.log(p) + (1 - q) * np.log(1 - p)).mean(1)
    x, z = x / temperature, z / temperature
    if is_sigmoid:
        p, q = sigmoid(x[:, :-1]), sigmoid(z[:, :-1])
        kl = q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))
    else:
        p, q = softmax(x), softmax(z)
        kl = q * np.log(q / p)
    return temperature**2 * kl.sum(1)


def logits(seed, regions=7, classes=3):
    return 2 * np.random.default_rng(seed).normal(size=(regions, classes + 1))


@pytest.mark.parametrize("name", CLASS_LOSSES)
@pytest.mark.parametrize("is_sigmoid", [False, True])
@pytest.mark.parametrize(("classes", "temperature"), [(3, 1.0), (1, 1.0), (3, 2.5)])
def test_class_losses(name, is_sigmoid, classes, temperature):
    x, z = logits(0, classes=classes), logits(1, classes=classes)
    student, teacher = torch.tensor(x, requires_grad=True), torch.tensor(z, requires_grad=True)
    loss = CLASS_LOSSES[name](student, teacher, sigmoid=is_sigmoid, temperature=temperature)
    np.testing.assert_allclose(loss.detach(), reference(name, x, z, temperature, is_sigmoid))
    loss.sum().backward()
    assert teacher.grad is None
    step = 1e-6
    for place in np.ndindex(x.shape):  # the gradient, by differences
        moved = [x.copy(), x.copy()]
        moved[0][place] -= step
        moved[1][place] += step
        low, high = (reference(name, y, z, temperature, is_sigmoid).sum() for y in moved)
        assert student.grad[place].item() == pytest.approx((high - low) / (2 * step), abs=1e-5)


@pytest.mark.parametrize("name", CLASS_LOSSES)
@pytest.mark.parametrize("is_sigmoid", [False, True])
def test_class_losses_of_a_teacher_that_is_the_student(name, is_sigmoid):
    student = torch.tensor(logits(0), requires_grad=True)
    loss = CLASS_LOSSES[name](student, student, sigmoid=is_sigmoid, temperature=1.0)
    loss.sum().backward()
    assert student.grad.abs().max() < 1e-9
    if name != "bce":  # whose floor is the teacher's entropy
        assert loss.abs().max() < 1e-9


@pytest.mark.parametrize("name", CLASS_LOSSES)
@pytest.mark.parametrize("is_sigmoid", [False, True])
def test_class_losses_stay_finite(name, is_sigmoid):
    """Where one class has all: 1 - p rounds to 0."""
    rows = torch.tensor([[100.0, -100, -100], [-100, 100, 0], [0, 0, 90], [60, 60, -60]])
    for teacher in (rows, rows.flip(0)):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            student = rows.detach().clone().to(dtype).requires_grad_()
            loss = CLASS_LOSSES[name](student, teacher.to(dtype), sigmoid=is_sigmoid, temperature=1)
            loss.sum().backward()
            assert loss.dtype == torch.float32
            assert loss.isfinite().all() and student.grad.isfinite().all()


def test_log_missing_is_exact_where_a_class_has_nearly_all():
    rows = torch.tensor([[40.0, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    found = log_missing(rows)
    assert found[0, 0].item() == pytest.approx(np.log(1 + np.e) - 40)  # 1 - p is e-17
    np.testing.assert_allclose(found[1], np.log(2 / 3))


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_class_losses_of_no_region(name):
    student = torch.zeros(0, 4, requires_grad=True)
    loss = CLASS_LOSSES[name](student, torch.zeros(0, 4), sigmoid=False, temperature=1.0)
    assert loss.shape == (0,)
    loss.sum().backward()


CLASSES = torch.tensor([0, 1, 2, 3, 3, 0, 1])  # 3 is background


@pytest.mark.parametrize("name", CLASS_GATES)
@pytest.mark.parametrize("is_sigmoid", [False, True])
def test_class_gates(name, is_sigmoid):
    x, z, classes = logits(2), logits(3), CLASSES.numpy()
    z[0] = [5, 0, 0, 0]  # right, if confidently
    z[3] = [-5, -5, -5, 5]
    expected = []
    for ours, theirs, wanted in zip(x, z, classes, strict=True):
        p, q = ((sigmoid(y) if is_sigmoid else softmax(y[None])[0]) for y in (ours, theirs))
        if is_sigmoid:
            right = np.append(q[:3], 0.5).argmax() == wanted
        else:
            right = q.argmax() == wanted
        is_object = wanted < 3
        better = is_object and q[wanted] > p[wanted]
        expected.append(
            {
                **{"all": True, "fg": is_object, "teacher_right": right},
                **{"fg_teacher_right": is_object and right, "fg_teacher_better": better},
            }[name]
        )
    found = CLASS_GATES[name](torch.tensor(x), torch.tensor(z), CLASSES, is_sigmoid)
    assert found.tolist() == expected
    assert any(expected)


def test_what_a_sigmoid_head_decides_for():
    rows = torch.tensor([[1.0, 2.0, 9.0], [-1.0, -2.0, -9.0], [0.5, -1.0, 0.0]])
    assert decided(rows, True).tolist() == [1, 2, 0]
    assert decided(rows, False).tolist() == [2, 0, 0]


@pytest.mark.parametrize(("columns", "picked"), [(12, [0, 8, 4]), (4, [0, 0, 0])])
def test_deltas_of_the_class(columns, picked):
    deltas = torch.arange(3 * columns).view(3, columns)
    found = deltas_of_class(deltas, torch.tensor([0, 2, 1]))
    assert found.tolist() == [
        [columns * row + first + i for i in range(4)] for row, first in enumerate(picked)
    ]


def test_deltas_under_other_weights_make_the_same_box():
    boxes = torch.tensor([[10.0, 10, 30, 50], [0, 0, 8, 8]])
    deltas = torch.tensor([[1.0, -2, 0.5, 3], [0.3, 0.1, -1, 0]])
    ours, theirs = Box2BoxTransform((10.0, 10, 5, 5)), Box2BoxTransform((1.0, 2, 3, 4))
    assert encoded_alike(deltas, boxes, ours, Box2BoxTransform((10.0, 10, 5, 5))) is deltas
    found = encoded_alike(deltas, boxes, theirs, ours)
    torch.testing.assert_close(ours.apply_deltas(found, boxes), theirs.apply_deltas(deltas, boxes))
    torch.testing.assert_close(found, deltas * torch.tensor([10, 5, 5 / 3, 5 / 4]))


def test_overlaps_are_of_boxes_clipped_to_their_image():
    boxes = torch.tensor([[-10.0, -10, 10, 10], [10, 0, 50, 40], [5, 5, 5, 5], [90, 0, 99, 9]])
    truth = torch.tensor([[0.0, 0, 10, 20], [10, 0, 30, 20], [7, 7, 7, 7], [0, 0, 9, 9]])
    sizes = torch.tensor([[100, 100], [20, 30], [100, 100], [50, 80]])
    assert overlaps(boxes, truth, sizes).tolist() == [0.5, 1.0, 0.0, 0.0]
    clipped = Boxes(boxes.clone())
    clipped.clip(Instances((20, 30)).image_size)  # height, width
    assert clipped.tensor[1].tolist() == truth[1].tolist()


def test_box_gates():
    teacher, student, region = torch.tensor(
        [[0.9, 0.8, 0.7], [0.9, 0.7, 0.8], [0.8, 0.9, 0.7], [0.7, 0.9, 0.8], [1, 1, 1]]
    ).T
    found = {name: gate(teacher, student, region).tolist() for name, gate in BOX_GATES.items()}
    assert found == {
        "proposal": [True, True, True, False, False],
        "student": [True, True, False, False, False],
        "both": [True, True, False, False, False],
        "always": [True] * 5,
    }
