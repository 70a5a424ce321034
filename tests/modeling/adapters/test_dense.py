"""What a distiller asks of a dense detector, here of RetinaNet, is what the model computes."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from sad.data.loader import build_mixed_loader
from sad.modeling.adapters.retinanet import RetinaNetAdapter
from sad.utils.errors import UserError

ADAPTER = RetinaNetAdapter()
BATCH = ("SAD.LOADER.MIX", "union", "SOLVER.IMS_PER_BATCH", 4)


@pytest.fixture
def model(toy):
    torch.manual_seed(0)
    return build_model(toy.cfg("student.yaml")).train()


@pytest.fixture(scope="module")
def batch(toy):
    return next(iter(build_mixed_loader(toy.cfg("SAD.yaml", *BATCH))))


def flagged(batch, hard: str) -> list[dict]:
    return [{**item, "hard_targets": flag == "1"} for item, flag in zip(batch, hard, strict=True)]


def test_outputs_are_those_of_the_head(model, batch):
    model.eval()
    pixels = model.preprocess_image(batch).tensor
    features = model.backbone(pixels)
    levels = [features[name] for name in model.head_in_features]
    logits, deltas = model.head(levels)
    whole = ADAPTER.outputs(model, pixels)
    for found, expected, size in ((whole.logits, logits, 2), (whole.deltas, deltas, 4)):
        for ours, theirs in zip(found, expected, strict=True):
            n, _, h, w = theirs.shape
            theirs = theirs.view(n, -1, size, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, size)
            assert torch.equal(ours, theirs)
    assert all(map(torch.equal, whole.features, levels)) and whole.centerness is None
    for kind, other in (("logits", "deltas"), ("deltas", "logits")):
        some = ADAPTER.outputs(model, pixels, {kind})
        assert getattr(some, other) is None
        assert all(map(torch.equal, getattr(some, kind), getattr(whole, kind)))


@pytest.mark.parametrize("need", [{"centerness"}, {"logits", "boxes"}, "float32"])
def test_what_it_does_not_emit_is_not_asked_for(model, batch, need):
    with pytest.raises(ValueError, match="is asked for"):
        ADAPTER.outputs(model, model.preprocess_image(batch).tensor, need)


@pytest.mark.parametrize("shape", [(64, 96), (32, 32), (128, 64)])
def test_anchors_need_no_feature_maps(model, shape):
    model.eval()  # a map of one cell has no batch statistics
    features = model.backbone(torch.zeros(1, 3, *shape))
    expected = model.anchor_generator([features[name] for name in model.head_in_features])
    found = ADAPTER.anchors(model, shape)
    assert all(torch.equal(a.tensor, b.tensor) for a, b in zip(found, expected, strict=True))


def test_targets_are_of_images_with_hard_ones_alone(model, batch):
    shape = tuple(model.preprocess_image(batch).tensor.shape[-2:])
    targets = ADAPTER.targets(model, shape, flagged(batch, "0101"))
    labels, boxes = model.label_anchors(targets.anchors, [batch[i]["instances"] for i in (1, 3)])
    assert targets.hard == [1, 3]
    assert torch.equal(targets.labels[[1, 3]], torch.stack(labels))
    assert (targets.labels[[0, 2]] == model.num_classes).all()
    assert all(map(torch.equal, targets.boxes, boxes)) and len(targets.boxes) == 2
    assert targets.foreground.sum() == sum(((x >= 0) & (x < 2)).sum() for x in labels) > 0


def losses(model, batch, hard: str, normalizer: float = 1.0) -> dict:
    batch = flagged(batch, hard)
    pixels = model.preprocess_image(batch).tensor
    targets = ADAPTER.targets(model, pixels.shape[-2:], batch)
    outputs = ADAPTER.outputs(model, pixels)
    foreground = int(targets.foreground.sum())
    with EventStorage():
        return ADAPTER.detection_losses(model, outputs, targets, foreground, normalizer)


def test_losses_of_a_batch_are_the_sum_over_its_images(model, batch):
    model.eval()  # each image by itself has other batch statistics
    one, other, both = (losses(model, batch, hard) for hard in ("1000", "0001", "1001"))
    for name, loss in both.items():
        assert loss.item() == pytest.approx((one[name] + other[name]).item(), rel=1e-5)


def test_without_hard_targets_every_parameter_gets_a_gradient_of_zero(model, batch):
    found = losses(model, batch, "0000")
    sum(found.values()).backward()
    assert [loss.item() for loss in found.values()] == [0, 0]
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_deltas_are_compared_where_they_are_needed(toy, model):
    other = build_model(
        toy.cfg("teacher.yaml", "MODEL.RETINANET.BBOX_REG_WEIGHTS", (10.0, 10.0, 5.0, 5.0))
    )
    ADAPTER.check_pair(model, other, 1.0, {"logits"})
    with pytest.raises(UserError, match="box deltas"):
        ADAPTER.check_pair(model, other, 1.0, {"logits", "deltas"})


def test_a_scaled_teacher_has_anchors_and_strides_of_its_own_size(toy, model):
    teacher = build_model(toy.cfg("teacher.yaml"))
    ADAPTER.check_pair(model, teacher, 1.0, set())
    with pytest.raises(UserError, match=r"strides.*INPUT_SCALE 2.*\[8, 16, 32\].*\[16, 32, 64\]"):
        ADAPTER.check_pair(model, teacher, 2.0, set())
