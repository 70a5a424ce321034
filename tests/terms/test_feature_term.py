"""The feature term, and that its layers train without entering the student's checkpoint."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.utils.events import EventStorage

from sad.data.loader import build_mixed_loader
from sad.modeling.teacher import build_teacher

FEATURES = ("SAD.DISTILL.TERMS", "('feature',)")


def build(toy, *opts):
    cfg = toy.cfg("SAD.yaml", *FEATURES, *opts)
    model = build_model(cfg).train()
    model.attach_teacher(build_teacher(cfg)[0])
    return model, cfg


def test_mean_over_levels_of_the_mean_squared_difference_of_soft_images(toy):
    model, cfg = build(toy, "SAD.LOADER.MIX", "union", "SAD.DISTILL.FEATURE.WEIGHT", 3.0)
    batch = next(iter(build_mixed_loader(cfg)))
    batch[0]["soft_targets"] = False
    features = []
    model.student.backbone.register_forward_hook(lambda *args: features.append(args[-1]))
    with EventStorage():
        loss = model(batch)["loss_distill_feature"]
        (prepared,) = model.prepare([batch])
    assert prepared.teacher.logits is None  # the head is not computed
    expected = 0
    for name, layer, theirs in zip(
        model.student.head_in_features,
        model.terms["feature"].layers,
        prepared.teacher.features,
        strict=True,
    ):
        kernel, bias = layer.weight[..., 0, 0], layer.bias[:, None, None]
        ours = torch.einsum("nchw,dc->ndhw", features[0][name][1:], kernel) + bias
        expected = expected + ((ours - theirs) ** 2).mean()
    torch.testing.assert_close(loss, 3.0 * expected / 3)
    for sample in batch:
        sample["soft_targets"] = False
    with EventStorage():
        losses = model(batch)
    assert losses["loss_distill_feature"] == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_equal_widths_need_no_layer(toy):
    model = build_model(toy.cfg("SAD.yaml", *FEATURES))
    twin = build_model(toy.cfg("student.yaml")).requires_grad_(False).eval()
    model.attach_teacher(twin)
    assert list(model.terms.parameters()) == []


def test_layers_train_and_stay_out_of_the_students_state(toy):
    model, cfg = build(toy)
    plain = build_model(toy.cfg("student.yaml"))
    assert list(model.state_dict()) == list(plain.state_dict())
    before = {key: value.clone() for key, value in model.terms.state_dict().items()}
    assert len(before) == 6  # weight and bias on three levels: 8 channels here, 16 there
    optimizer = build_optimizer(cfg, model)
    with EventStorage():
        sum(model(next(iter(build_mixed_loader(cfg)))).values()).backward()
    optimizer.step()
    after = model.terms.state_dict()
    assert all(not torch.equal(before[key], after[key]) for key in before)
    # Either state loads by itself, and says so where a key is missing.
    student, layers = model.state_dict(), model.terms.state_dict()
    assert model.load_state_dict(student, strict=True).missing_keys == []
    assert model.terms.load_state_dict(layers).missing_keys == []
    del student["head.cls_score.bias"], layers["feature.layers.0.bias"]
    assert model.load_state_dict(student, strict=False).missing_keys == ["head.cls_score.bias"]
    with pytest.raises(RuntimeError, match="layers.0.bias"):
        model.terms.load_state_dict(layers)


def test_in_autocast_the_loss_is_float32(toy):
    model, cfg = build(toy, "SAD.TEACHER.PRECISION", "bfloat16")
    batch = next(iter(build_mixed_loader(cfg)))
    with EventStorage():
        exact = model(batch)["loss_distill_feature"].item()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(batch)["loss_distill_feature"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact, rel=0.05)
    loss.backward()
