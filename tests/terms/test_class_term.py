"""The class term against the equations: which anchors it sums over, and what divides the sum."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import reference
from sad.terms import class_term
from sad.terms.class_term import ClassTerm
from sad.terms.term import Outputs, Targets, Term
from term_options import term_options

CLASSES = 3
LABELS = torch.tensor([[0, -1, 3, 2, 3], [3, 3, 1, -1, -1]])  # of 2 images and 4 + 1 anchors


def make_term(**changes) -> ClassTerm:
    return ClassTerm(term_options("CLASS", FUSED=False, **changes), max_iter=10)


def logits(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(2, anchors, CLASSES, generator=generator) for anchors in (4, 1)]


def joined(levels) -> np.ndarray:
    return torch.cat(levels, dim=1).double().numpy()


def is_best(z) -> np.ndarray:
    """(N, R, 1), whether an anchor has the largest score of its image."""
    best = z.max(axis=2, keepdims=True)
    return best == best.max(axis=1, keepdims=True)


STUDENT, TEACHER = logits(0), logits(1)
TARGETS = Targets([], LABELS, [0, 1], [], CLASSES)


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({}, reference.adl),
        ({"GAMMA": 1.0, "BETA": 0.5}, lambda x, z: reference.adl(x, z, gamma=1.0, beta=0.5)),
        (
            {"FORM": "cross_entropy", "BETA": 1.0, "ALPHA": 0.25},
            lambda x, z: reference.released_kernel(x, z, alpha=0.25),
        ),
        ({"LOSS": "kl"}, reference.kl_divergence),
        ({"LOSS": "l2"}, lambda x, z: (x - z) ** 2),
        (
            {"LOSS": "fdl"},
            lambda x, z: reference.fdl(x, z, LABELS.numpy()[..., None] == np.arange(CLASSES)),
        ),
        ({"LOSS": "qfl", "GAMMA": 1.0}, lambda x, z: reference.qfl(x, z, gamma=1.0)),
        (
            {"LOSS": "kl", "TOP": 0.2},  # one of five anchors of each image
            lambda x, z: reference.kl_divergence(x, np.where(is_best(z), z, -100)),
        ),
    ],
    ids=["adl", "adl of other keys", "released", "kl", "l2", "fdl", "qfl", "top"],
)
def test_sum_over_all_anchors_that_are_not_ignored(changes, value):
    loss = make_term(**changes)(Outputs(logits=STUDENT), Outputs(logits=TEACHER), TARGETS)
    expected = value(joined(STUDENT), joined(TEACHER))[LABELS.numpy() >= 0].sum()
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, reference.teacher_power_normalizer(joined(TEACHER))),  # over ignored anchors, too
        ({"NORMALIZER_POWER": 1.0}, reference.teacher_power_normalizer(joined(TEACHER), power=1.0)),
        ({"NORMALIZER": "foreground"}, 3),
        ({"NORMALIZER": "elements"}, 7 * CLASSES),
        ({"NORMALIZER": "best_score"}, reference.sigmoid(joined(TEACHER)).max(2).sum()),
        (
            {"NORMALIZER": "best_score", "TOP": 0.4},
            np.sort(reference.sigmoid(joined(TEACHER)).max(2), axis=1)[:, -2:].sum(),
        ),
        (
            {"TOP": 0.2},
            (reference.sigmoid(joined(TEACHER)) ** 1.8 * is_best(joined(TEACHER))).sum(),
        ),
    ],
    ids=[
        *("teacher_power", "another power", "foreground", "elements", "best_score"),
        *("best_score of the top", "teacher_power of the top"),
    ],
)
def test_divisor(changes, expected):
    found = make_term(**changes).divisor(Outputs(logits=TEACHER), TARGETS)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_dense_teacher():
    """Their class loss: |q - p|^2 BCE with q = 0 outside the top, over the sum of its scores."""
    term = make_term(LOSS="qfl", TOP=0.4, NORMALIZER="best_score")
    student, teacher = Outputs(logits=STUDENT), Outputs(logits=TEACHER)
    targets = Targets([], torch.full_like(LABELS, CLASSES), [], [], CLASSES)  # unlabelled
    loss, divisor = reference.dense_teacher(joined(STUDENT), joined(TEACHER), share=0.4)
    assert term(student, teacher, targets).item() == pytest.approx(loss, rel=1e-5)
    assert term.divisor(teacher, targets).item() == pytest.approx(divisor, rel=1e-5)


def test_only_class_scores_are_asked_of_the_teacher():
    assert ClassTerm.need == {"logits"}


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, {"ALPHA"}),
        ({"FORM": "cross_entropy"}, set()),
        ({"LOSS": "kl"}, {"GAMMA", "BETA", "FORM", "ALPHA"}),
        ({"LOSS": "fdl"}, {"BETA", "FORM", "ALPHA"}),
        ({"NORMALIZER": "elements"}, {"ALPHA", "NORMALIZER_POWER"}),
        ({"FUSED": False}, {"ALPHA", "COMPILE"}),
        ({"LOSS": "qfl"}, {"BETA", "FORM", "ALPHA"}),
        ({"LOSS": "l2"}, {"GAMMA", "BETA", "FORM", "ALPHA", "TOP"}),
    ],
)
def test_keys_without_a_say(changes, idle):
    node = term_options("CLASS", **changes)
    assert ClassTerm.idle_keys(node).keys() - Term.idle_keys(node).keys() == idle


@pytest.mark.parametrize(
    ("changes", "needs"),
    [
        ({}, False),
        ({"LOSS": "fdl"}, True),
        ({"NORMALIZER": "foreground"}, True),
        ({"NORMALIZER": "elements"}, False),
        ({"LOSS": "qfl", "TOP": 0.01, "NORMALIZER": "best_score"}, False),
    ],
)
def test_what_needs_hard_targets(changes, needs):
    assert bool(ClassTerm.why_hard_targets(term_options("CLASS", **changes))) == needs


@pytest.mark.parametrize(
    ("where", "possible", "compiled"),
    [("gpu", True, True), ("gpu", False, False), ("always", False, True), ("never", True, False)],
)
def test_where_the_losses_are_compiled(where, possible, compiled, monkeypatch):
    monkeypatch.setattr(class_term, "can_compile_for", lambda device: possible)
    term = ClassTerm(term_options("CLASS", COMPILE=where), max_iter=10)
    student = SimpleNamespace(device="any", focal_loss_alpha=0.25, focal_loss_gamma=2.0)
    term.attach(None, student, None)
    assert term.fused.compiled == compiled
