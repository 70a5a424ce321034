"""The box term of regions against numpy: gates, classes of the deltas, weights, divisors, logs."""

import numpy as np
import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.utils.events import EventStorage

from regions_made import regions_of_image
from sad.terms.roi_box_term import ROIBoxTerm
from sad.terms.term import Outputs, Targets, Term
from term_options import term_options

K = 3
OURS, THEIRS = (10.0, 10.0, 5.0, 5.0), (4.0, 5.0, 2.0, 3.0)
SIZE = (40, 60)


def make_term(weights_of_teacher=OURS, **changes) -> ROIBoxTerm:
    term = ROIBoxTerm(term_options("ROI_BOX", **changes), max_iter=10)
    term.transform = Box2BoxTransform(OURS)
    term.transform_of_teacher = Box2BoxTransform(weights_of_teacher)
    return term


def make_problem(seed=0, counts=(9, 6)):
    """Regions around objects, some of them background, some the object itself."""
    rng, regions = np.random.default_rng(seed), []
    for count in counts:
        low = rng.uniform(0, 15, (count, 2))
        truth = np.concatenate([low, low + rng.uniform(12, 25, (count, 2))], axis=1)
        boxes = truth + rng.uniform(-3, 3, (count, 4)).clip(-low.min(), None)
        boxes[0] = truth[0]  # as where ground truth is appended
        classes = rng.integers(0, K + 1, count)
        classes[0], classes[1] = 1, K
        regions.append(regions_of_image(SIZE, boxes, classes, truth))
    targets = Targets([], torch.empty(len(counts), 0), [0, 1], [], K, regions=regions)
    return rng, targets


def deltas(rng, counts, agnostic, scale) -> Outputs:
    width = 4 if agnostic else 4 * K
    return Outputs(
        roi_deltas=[torch.tensor(scale * rng.normal(size=(n, width))).float() for n in counts]
    )


def decode(deltas, boxes, weights):
    deltas = deltas / np.array(weights)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + size / 2 + deltas[:, :2] * size
    size = size * np.exp(deltas[:, 2:])
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def encode(boxes, source, weights):
    size, wanted = source[:, 2:] - source[:, :2], boxes[:, 2:] - boxes[:, :2]
    shift = (boxes[:, :2] + wanted / 2 - source[:, :2] - size / 2) / size
    return np.concatenate([shift, np.log(wanted / size)], axis=1) * np.array(weights)


def iou(a, b):
    def area(x):
        return np.prod(np.clip(x[:, 2:] - x[:, :2], 0, None), axis=1)

    inner = np.concatenate([np.maximum(a, b)[:, :2], np.minimum(a, b)[:, 2:]], axis=1)
    return area(inner) / (area(a) + area(b) - area(inner))


def giou(a, b):
    def area(x):
        return np.prod(np.clip(x[:, 2:] - x[:, :2], 0, None), axis=1)

    inner = np.concatenate([np.maximum(a, b)[:, :2], np.minimum(a, b)[:, 2:]], axis=1)
    outer = np.concatenate([np.minimum(a, b)[:, :2], np.maximum(a, b)[:, 2:]], axis=1)
    union = area(a) + area(b) - area(inner)
    return area(inner) / union - (area(outer) - union) / area(outer)


def expected_loss(targets, ours, theirs, weights_of_teacher, node):
    """(loss, foreground, open gates), row by row."""
    columns = [
        torch.cat([x.proposal_boxes.tensor for x in targets.regions]),
        torch.cat([x.gt_boxes.tensor for x in targets.regions]),
        torch.cat([x.gt_classes for x in targets.regions]),
        torch.cat(ours.roi_deltas),
        torch.cat(theirs.roi_deltas),
    ]
    boxes, truth, classes, x, z = (column.double().numpy() for column in columns)
    classes = classes.astype(int)
    fg = classes < K

    def of_class(values):
        if values.shape[1] == 4:
            return values[fg]
        return np.stack(
            [
                row[4 * int(c) : 4 * int(c) + 4]
                for row, c in zip(values[fg], classes[fg], strict=True)
            ]
        )

    boxes, truth, x, z = boxes[fg], truth[fg], of_class(x), of_class(z)
    box_of_student, box_of_teacher = decode(x, boxes, OURS), decode(z, boxes, weights_of_teacher)
    limits = np.array([SIZE[1], SIZE[0], SIZE[1], SIZE[0]])
    student, teacher, region = (
        iou(np.clip(b, 0, limits), truth) for b in (box_of_student, box_of_teacher, boxes)
    )
    gate = {
        "proposal": teacher > region,
        "student": teacher > student,
        "both": (teacher > region) & (teacher > student),
        "always": np.ones(len(boxes), bool),
    }[node.GATE]
    if node.LOSS == "giou":
        each = 1 - giou(box_of_student, box_of_teacher)
    else:
        gap = np.abs(x - encode(box_of_teacher, boxes, OURS))
        beta = node.SMOOTH_L1_BETA
        each = np.where(gap < beta, gap**2 / (2 * max(beta, 1e-9)), gap - beta / 2).sum(1)
    divisor = {"all": len(classes), "fg": fg.sum(), "gated": gate.sum()}[node.DIVISOR]
    return (each * gate).sum() / max(1, divisor), fg.sum(), gate.sum()


@pytest.mark.parametrize("gate", ["proposal", "student", "both", "always"])
@pytest.mark.parametrize(
    ("agnostic", "agnostic_teacher", "weights", "changes"),
    [
        (False, False, OURS, {}),
        (False, False, THEIRS, {"DIVISOR": "fg"}),
        (True, False, OURS, {"DIVISOR": "gated"}),
        (False, True, THEIRS, {"LOSS": "giou"}),
        (True, True, THEIRS, {"SMOOTH_L1_BETA": 0.5}),
    ],
)
def test_value_is_the_references(gate, agnostic, agnostic_teacher, weights, changes):
    rng, targets = make_problem()
    ours, theirs = deltas(rng, (9, 6), agnostic, 0.6), deltas(rng, (9, 6), agnostic_teacher, 0.3)
    term = make_term(weights, GATE=gate, **changes)
    with EventStorage() as storage:
        found = term(ours, theirs, targets) / term.divisor(theirs, targets)
    wanted, foreground, opened = expected_loss(targets, ours, theirs, weights, term.options)
    assert found.item() == pytest.approx(wanted, rel=1e-4)
    assert 0 < opened < foreground or gate == "always"
    logged = storage.latest()
    assert logged["roi_box/num_foreground"][0] == foreground / 2
    assert logged["roi_box/open_gates"][0] == pytest.approx(opened / foreground)


def test_gate_of_the_object_itself_is_never_open():
    """No box overlaps with an object more than the object: Eq. 5 and appended ground truth."""
    rng, targets = make_problem()
    for regions in targets.regions:
        regions.proposal_boxes = regions.gt_boxes
    ours, theirs = deltas(rng, (9, 6), False, 0.6), deltas(rng, (9, 6), False, 0.0)
    with EventStorage() as storage:
        assert make_term()(ours, theirs, targets) == 0
    assert storage.latest()["roi_box/open_gates"][0] == 0
    assert storage.latest()["roi_box/num_foreground"][0] > 0


@pytest.mark.parametrize("gate", ["proposal", "student", "both", "always"])
@pytest.mark.parametrize("loss", ["smooth_l1", "giou"])
def test_teacher_that_is_the_student_teaches_nothing(gate, loss):
    rng, targets = make_problem()
    both = deltas(rng, (9, 6), False, 0.3)
    with EventStorage():
        assert make_term(GATE=gate, LOSS=loss)(both, both, targets).item() == pytest.approx(
            0, abs=1e-4
        )


@pytest.mark.parametrize("gate", ["proposal", "student", "both", "always"])
@pytest.mark.parametrize("loss", ["smooth_l1", "giou"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_teacher_breaks_the_loss(gate, loss, value):
    """The trainer stops at such a loss; a gate that is shut would hide it."""
    rng, targets = make_problem()
    ours, theirs = (deltas(rng, (9, 6), False, 0.3) for _ in range(2))
    theirs.roi_deltas[1][0] = value
    with EventStorage():
        assert not make_term(GATE=gate, LOSS=loss)(ours, theirs, targets).isfinite()


def test_batch_without_foreground_is_a_zero_of_the_graph():
    rng, targets = make_problem()
    for regions in targets.regions:
        regions.gt_classes[:] = K
    ours, theirs = deltas(rng, (9, 6), False, 0.6), deltas(rng, (9, 6), False, 0.3)
    ours = Outputs(roi_deltas=[x.requires_grad_() for x in ours.roi_deltas])
    with EventStorage() as storage:
        loss = make_term(DIVISOR="gated")(ours, theirs, targets)
    loss.backward()
    assert loss == 0 and all(not x.grad.any() for x in ours.roi_deltas)
    assert storage.latest()["roi_box/open_gates"][0] == 0


def test_no_gradient_through_the_gate_or_to_the_teacher():
    rng, targets = make_problem()
    ours, theirs = (deltas(rng, (9, 6), False, scale) for scale in (0.6, 0.3))
    ours = Outputs(roi_deltas=[x.requires_grad_() for x in ours.roi_deltas])
    theirs = Outputs(roi_deltas=[x.requires_grad_() for x in theirs.roi_deltas])
    with EventStorage():
        make_term(GATE="both", DIVISOR="fg")(ours, theirs, targets).backward()
    gradients = torch.cat([x.grad for x in ours.roi_deltas]).abs()
    # Each delta of an open gate has the slope of |x - z|, over the mean.
    assert len(gradients[gradients > 0].unique()) == 1
    assert all(x.grad is None for x in theirs.roi_deltas)


def test_keys_without_a_say():
    for changes, idle in (({}, set()), ({"LOSS": "giou"}, {"SMOOTH_L1_BETA"})):
        node = term_options("ROI_BOX", **changes)
        assert ROIBoxTerm.idle_keys(node).keys() - Term.idle_keys(node).keys() == idle
