"""The box term against a reference in numpy, box by box."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from sad.data.loader import build_mixed_loader
from sad.modeling.teacher import build_teacher
from sad.terms.box_term import BoxTerm
from sad.terms.term import Outputs, Targets

BOX = ("SAD.DISTILL.TERMS", "('box',)")
BATCH = ("SAD.LOADER.MIX", "union", "SOLVER.IMS_PER_BATCH", 4)


def build(toy, *opts):
    cfg = toy.cfg("SAD.yaml", *BOX, *BATCH, *opts)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    model.attach_teacher(build_teacher(cfg)[0])
    return model


@pytest.fixture(scope="module")
def batch(toy):
    return next(iter(build_mixed_loader(toy.cfg("SAD.yaml", *BATCH))))


def flagged(batch, hard, soft):
    return [
        {**sample, "hard_targets": hard[i] == "1", "soft_targets": soft[i] == "1"}
        for i, sample in enumerate(batch)
    ]


def decode(deltas, anchors):
    """RetinaNet's parametrisation: shift of the centre in anchor sizes, log of the size's ratio."""
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + size / 2 + deltas[..., :2] * size
    size = size * np.exp(deltas[..., 2:])
    return np.concatenate([centre - size / 2, centre + size / 2], axis=-1)


def area(boxes):
    return np.prod(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None), axis=-1)


def overlap(a, b):
    """(IoU, GIoU) of pairs of boxes."""
    inner = np.concatenate(
        [np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])], axis=-1
    )
    outer = np.concatenate(
        [np.minimum(a[..., :2], b[..., :2]), np.maximum(a[..., 2:], b[..., 2:])], axis=-1
    )
    union = area(a) + area(b) - area(inner)
    iou = area(inner) / union
    return iou, iou - (area(outer) - union) / area(outer)


def expected_loss(model, batch, prepared, loss, anchors_used, beta):
    soft = [i for i, sample in enumerate(batch) if sample["soft_targets"]]
    with torch.no_grad():
        outputs = model.adapter.outputs(model.student, prepared.images.tensor)
    ours = torch.cat(outputs.deltas, 1).double().numpy()[soft]
    theirs = torch.cat(prepared.teacher.deltas, 1).double().numpy()
    z = torch.cat(prepared.teacher.logits, 1).double().numpy()
    belief = (1 / (1 + np.exp(-z))).max(axis=2)
    anchors = np.concatenate([x.tensor.double().numpy() for x in prepared.targets.anchors])
    boxes, of_teacher = decode(ours, anchors), decode(theirs, anchors)
    if loss == "giou":
        each = 1 - overlap(boxes, of_teacher)[1]
    else:
        gap = np.abs(ours - theirs)
        each = np.where(gap < beta, 0.5 * gap**2 / max(beta, 1e-9), gap - 0.5 * beta).sum(-1)
    counted = np.ones_like(belief, dtype=bool)
    if anchors_used == "better":
        labels = prepared.targets.labels.numpy()[soft]
        foreground = (labels >= 0) & (labels < 2)
        truth = np.zeros_like(boxes)
        for row, image in enumerate(soft):
            if image in prepared.targets.hard:
                place = prepared.targets.hard.index(image)
                truth[row] = prepared.targets.boxes[place].double().numpy()
        with np.errstate(all="ignore"):
            wins = overlap(of_teacher, truth)[0] > overlap(boxes, truth)[0]
        counted = foreground & wins
        assert 0 < counted.sum() < foreground.sum()
        return (belief * each)[counted].sum() / max(1, belief[foreground].sum())
    return (belief * each)[counted].sum() / max(1, belief.sum())


@pytest.mark.parametrize("anchors", ["all", "better"])
@pytest.mark.parametrize(
    ("loss", "opts"),
    [
        ("giou", ()),
        ("smooth_l1", ()),
        ("smooth_l1", ("SAD.DISTILL.BOX.SMOOTH_L1_BETA", 0.1)),
    ],
)
def test_value_is_the_references(toy, batch, loss, anchors, opts):
    keys = ("SAD.DISTILL.BOX.LOSS", loss, "SAD.DISTILL.BOX.ANCHORS", anchors, *opts)
    model = build(toy, "SAD.DISTILL.BOX.WEIGHT", 2.0, *keys)
    # A trained teacher's boxes are near the student's; random heads would lie far apart.
    torch.nn.init.normal_(model.student.head.bbox_pred.weight, std=0.05)
    images = flagged(batch, "1111", "0111")
    with EventStorage():
        found = model(images)["loss_distill_box"]
        (prepared,) = model.prepare([images])
    beta = opts[1] if opts else 0.0
    wanted = 2.0 * expected_loss(model, images, prepared, loss, anchors, beta)
    assert found.item() == pytest.approx(wanted, rel=1e-4)
    found.backward()
    assert model.student.head.bbox_pred.weight.grad.any()
    assert model.student.head.cls_score.weight.grad is None  # of this term alone


def test_a_teacher_that_is_the_student_teaches_nothing(toy, batch):
    still = ("MODEL.RESNETS.NORM", "FrozenBN", "MODEL.RETINANET.NORM", "")
    for loss in ("giou", "smooth_l1"):
        model = build_model(toy.cfg("SAD.yaml", *BOX, *still, "SAD.DISTILL.BOX.LOSS", loss)).train()
        twin = build_model(toy.cfg("student.yaml", *still)).requires_grad_(False).eval()
        twin.load_state_dict(model.state_dict())
        model.attach_teacher(twin)
        with EventStorage():
            assert model(batch)["loss_distill_box"].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("anchors", ["all", "better"])
@pytest.mark.parametrize(
    ("hard", "soft"), [("0000", "0000"), ("1111", "0000"), ("0000", "1111"), ("1100", "0011")]
)
def test_empty_and_half_empty_batches(toy, batch, hard, soft, anchors):
    model = build(toy, "SAD.DISTILL.BOX.ANCHORS", anchors)
    with EventStorage():
        losses = model(flagged(batch, hard, soft))
    learns = "1" in soft and anchors == "all"  # no image here has both
    assert (losses["loss_distill_box"].item() > 0) == learns
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("normalizers", ["local", "global"])
def test_several_terms_at_once_are_the_sum_of_each(toy, batch, normalizers):
    """One gradient, in the fused class term too."""

    def run(terms):
        opts = ("SAD.DISTILL.TERMS", terms, "SOLVER.LOSS_NORMALIZERS", normalizers)
        cfg = toy.cfg("SAD.yaml", *BATCH, *opts)
        torch.manual_seed(0)
        model = build_model(cfg).train()
        torch.manual_seed(1)  # of the feature term's layers
        model.attach_teacher(build_teacher(cfg)[0])
        with EventStorage():
            losses = model(batch)
        sum(losses.values()).backward()
        return losses, [p.grad for p in model.student.parameters()]

    plain, without = run("()")
    together, gradient = run(("class", "box", "feature"))
    total = list(without)
    for name in ("class", "box", "feature"):
        alone, own = run((name,))
        key = f"loss_distill_{name}"
        assert alone.keys() - plain.keys() == {key}
        torch.testing.assert_close(alone[key], together[key], rtol=1e-5, atol=1e-7)
        total = [a + b - c for a, b, c in zip(total, own, without, strict=True)]
    for ours, theirs in zip(gradient, total, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("anchors", ["all", "better"])
def test_divisor_of_a_teacher_in_half_precision(toy, dtype, anchors):
    """Summed in float32: three million anchors are beyond float16's 65504."""
    node = toy.cfg("SAD.yaml", "SAD.DISTILL.BOX.ANCHORS", anchors, checked=False).SAD.DISTILL.BOX
    logits = torch.full((1, 3_000_000, 1), -3.0, dtype=dtype)
    labels = torch.zeros(1, 3_000_000, dtype=torch.long)
    divisor = BoxTerm(node, 10).divisor(Outputs(logits=[logits]), Targets([], labels, [], [], 1))
    assert divisor.item() == pytest.approx(3e6 / (1 + np.exp(3)), rel=1e-4)


def test_only_what_a_term_needs_of_the_student_is_taken(toy, batch, monkeypatch):
    taken = []
    select = Outputs.select
    monkeypatch.setattr(
        Outputs, "select", lambda self, *a: taken.append(set(a[1])) or select(self, *a)
    )
    with EventStorage():
        build(toy)(flagged(batch, "1111", "0111"))
    assert taken == [{"deltas"}]
