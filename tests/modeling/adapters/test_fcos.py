"""FCOS: Detectron2's own where nothing is distilled, and a student and a teacher like any other."""

import json

import pytest
import torch
from detectron2.modeling import FCOS, build_model
from detectron2.solver import build_optimizer
from detectron2.utils.events import EventStorage

from sad.modeling.adapters import adapter_of
from sad.modeling.build import load_detector
from sad.modeling.teacher import build_teacher
from sad.utils.errors import UserError
from toy import run_train_net, save_random_teacher

OF_FCOS = ("SAD.STUDENT.META_ARCHITECTURE", "FCOS")
OFF = ("SAD.DISTILL.TERMS", "()")


@pytest.fixture(scope="module")
def teacher(toy, tmp_path_factory):
    """(yaml, weights) of a random one."""
    folder = tmp_path_factory.mktemp("fcos")
    yaml, weights = folder / "teacher.yaml", folder / "teacher.pth"
    yaml.write_text(f"_BASE_: {toy.path('teacher.yaml')}\nMODEL: {{META_ARCHITECTURE: FCOS}}\n")
    save_random_teacher(toy.cfg("teacher.yaml", "MODEL.META_ARCHITECTURE", "FCOS"), weights)
    return "SAD.TEACHER.CONFIG_FILE", str(yaml), "SAD.TEACHER.WEIGHTS", str(weights)


def build(toy, teacher, *opts):
    cfg = toy.cfg("SAD.yaml", *OF_FCOS, *teacher, *opts)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    if model.terms:
        model.attach_teacher(build_teacher(cfg)[0])
    return model


@pytest.mark.slow
def test_without_terms_it_is_stock_fcos_step_for_step(toy, teacher, batches):
    torch.manual_seed(0)
    stock = build_model(toy.cfg("student.yaml", "MODEL.META_ARCHITECTURE", "FCOS")).train()
    ours = build(toy, teacher, *OFF)
    assert type(stock) is type(ours.student) is FCOS
    optimizers = [build_optimizer(toy.cfg("student.yaml"), model) for model in (stock, ours)]
    for batch in batches:
        with EventStorage():
            expected, found = stock(batch), ours(batch)
        assert found.keys() == expected.keys() and len(found) == 3
        for name, loss in expected.items():
            torch.testing.assert_close(found[name], loss, rtol=1e-6, atol=1e-6)
        for optimizer, losses in zip(optimizers, (expected, found), strict=True):
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
    assert ours.student.loss_normalizer == pytest.approx(stock.loss_normalizer)
    for key, value in stock.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hard", ["1111", "1010", "0000"])
@pytest.mark.parametrize("soft", ["1111", "0110", "0000"])
def test_mixed_batches_reach_every_parameter(toy, teacher, batches, hard, soft):
    batch = [
        {**sample, "hard_targets": hard[i] == "1", "soft_targets": soft[i] == "1"}
        for i, sample in enumerate(batches[0])
    ]
    found = []
    for fused in (True, False):
        terms = ("SAD.DISTILL.TERMS", ("class", "box"), "SAD.DISTILL.CLASS.FUSED", fused)
        model = build(toy, teacher, *terms)
        with EventStorage():
            losses = model(batch)
        sum(losses.values()).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        names = {name for name, loss in losses.items() if loss.item() > 0}
        found.append([loss.item() for loss in losses.values()])
        own = {"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr"} if "1" in hard else set()
        taught = {"loss_distill_class", "loss_distill_box"} if "1" in soft else set()
        assert names == own | taught
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_detections_of_a_batch_are_detectron2s(toy, teacher, batches):
    model, _ = load_detector(teacher[1], teacher[3], "cpu")
    batch = [{**sample, "height": 90, "width": 70} for sample in batches[0]]
    found = adapter_of(model).detect(model, batch)
    with torch.no_grad():
        expected = [output["instances"] for output in model(batch)]
    assert sum(map(len, expected)) > 20
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.scores, theirs.scores)
        assert torch.equal(ours.pred_classes, theirs.pred_classes)
        torch.testing.assert_close(
            ours.pred_boxes.tensor, theirs.pred_boxes.tensor, rtol=1e-4, atol=1e-3
        )


def test_a_retinanet_teaches_no_fcos(toy, teacher):
    with pytest.raises(UserError, match=r"RetinaNet.*FCOS"):
        cfg = toy.cfg("SAD.yaml", *OF_FCOS)
        build_model(cfg).attach_teacher(build_teacher(cfg)[0])


@pytest.mark.slow
def test_trained_labelled_distilled_and_evaluated_by_the_same_commands(
    toy, teacher, tmp_path, monkeypatch
):
    out = tmp_path / "teacher"
    run_train_net(monkeypatch, "--config-file", teacher[1], "OUTPUT_DIR", out)
    assert "bbox/AP" in (out / "metrics.json").read_text()
    run_train_net(
        monkeypatch, "--config-file", toy.path("SAD.yaml"), *OF_FCOS,
        "SAD.TEACHER.CONFIG_FILE", teacher[1], "SAD.TEACHER.WEIGHTS", out / "model_final.pth",
        "OUTPUT_DIR", tmp_path / "SAD",
    )  # fmt: skip
    line = json.loads((tmp_path / "SAD" / "metrics.json").read_text().splitlines()[0])
    assert {"loss_fcos_cls", "loss_distill_class", "distill_class_to_detection"} <= line.keys()
    # A plain FCOS, which the yaml of the student alone loads strictly.
    plain = tmp_path / "plain.yaml"
    plain.write_text(f"_BASE_: {toy.path('student.yaml')}\nMODEL: {{META_ARCHITECTURE: FCOS}}\n")
    model, _ = load_detector(str(plain), str(tmp_path / "SAD" / "model_final.pth"), "cpu")
    assert type(model) is FCOS
    run_train_net(
        monkeypatch, "--config-file", toy.path("SAD.yaml"), "--eval-only", *OF_FCOS,
        "MODEL.WEIGHTS", tmp_path / "SAD" / "model_final.pth", "OUTPUT_DIR", tmp_path / "eval",
        "SAD.TEACHER.WEIGHTS", "absent.pth",
    )  # fmt: skip
