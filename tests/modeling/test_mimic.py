"""Feature mimic, and that its adapters train without entering the student's checkpoint."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.utils.events import EventStorage

from sad.data.loader import build_mixed_loader
from sad.modeling.mimic import FeatureMimic
from sad.modeling.teacher import build_teacher

FEATURES = ("SAD.DISTILL.LOSS", "feature_l2")


def build(toy, *opts):
    cfg = toy.cfg("SAD.yaml", *FEATURES, *opts)
    model = build_model(cfg).train()
    model.attach_teacher(build_teacher(cfg)[0])
    return model, cfg


def test_mean_over_levels_of_the_mean_squared_difference():
    torch.manual_seed(0)
    mimic = FeatureMimic([4, 6], [4, 8])
    assert [name for name, _ in mimic.named_parameters()] == [
        "adapters.1.weight",
        "adapters.1.bias",
    ]
    student = [torch.randn(2, 4, 5, 3), torch.randn(2, 6, 3, 2)]
    teacher = [torch.randn(2, 4, 5, 3), torch.randn(2, 8, 3, 2)]
    adapter = mimic.adapters[1]
    adapted = torch.einsum("nchw,dc->ndhw", student[1], adapter.weight[..., 0, 0])
    adapted = adapted + adapter.bias[:, None, None]
    expected = ((student[0] - teacher[0]) ** 2).mean() + ((adapted - teacher[1]) ** 2).mean()
    torch.testing.assert_close(mimic(student, teacher), expected / 2)


def test_only_images_with_soft_targets_count(toy):
    model, cfg = build(toy, "SAD.LOADER.MIX", "union", "SAD.DISTILL.WEIGHT", 3.0)
    batch = next(iter(build_mixed_loader(cfg)))
    batch[0]["soft_targets"] = False
    features = []
    model.backbone.register_forward_hook(lambda *args: features.append(args[-1]))
    with EventStorage():
        loss = model(batch)["loss_distill"]
    (prepared,) = model.prepare([batch])
    student = [features[0][name][1:] for name in model.head_in_features]
    expected = 3.0 * model.mimic(student, prepared.teacher_features)
    torch.testing.assert_close(loss, expected)
    for sample in batch:
        sample["soft_targets"] = False
    with EventStorage():
        losses = model(batch)
    assert losses["loss_distill"] == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_adapters_train_and_stay_out_of_the_students_state(toy):
    model, cfg = build(toy)
    plain = build_model(toy.cfg("student.yaml"))
    assert list(model.state_dict()) == list(plain.state_dict())
    names = [name for name, _ in model.named_parameters() if name.startswith("mimic.")]
    assert len(names) == 6  # weight and bias on three levels: 8 channels here, 16 there
    before = model.mimic.state_dict()
    assert len(before) == 6
    before = {key: value.clone() for key, value in before.items()}
    optimizer = build_optimizer(cfg, model)
    with EventStorage():
        sum(model(next(iter(build_mixed_loader(cfg)))).values()).backward()
    optimizer.step()
    after = model.mimic.state_dict()
    assert all(not torch.equal(before[key], after[key]) for key in before)
    # Either state loads by itself, and says so where a key is missing.
    student, adapters = model.state_dict(), model.mimic.state_dict()
    assert model.load_state_dict(student, strict=True).missing_keys == []
    assert model.mimic.load_state_dict(adapters).missing_keys == []
    del student["head.cls_score.bias"], adapters["adapters.0.bias"]
    assert model.load_state_dict(student, strict=False).missing_keys == ["head.cls_score.bias"]
    with pytest.raises(RuntimeError, match="adapters.0.bias"):
        model.mimic.load_state_dict(adapters)


def test_in_autocast_the_loss_is_float32(toy):
    model, cfg = build(toy, "SAD.TEACHER.PRECISION", "bfloat16")
    batch = next(iter(build_mixed_loader(cfg)))
    with EventStorage():
        exact = model(batch)["loss_distill"].item()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(batch)["loss_distill"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact, rel=0.05)
    loss.backward()
