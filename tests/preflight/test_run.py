"""Checks before a run: what they read, what they leave alone, and what they let through."""

import logging
import os
import shutil

import pytest
import torch
from detectron2.data import DatasetCatalog

from exported_files import tame_teacher, write_onnx, write_weights
from sad.engine.trainer import SADTrainer
from sad.preflight import run as preflight
from sad.preflight.run import check_evaluation, check_training
from sad.utils.errors import UserError


def train(cfg, resume=False, check_teacher=False):
    check_training(cfg, resume, check_teacher)


@pytest.fixture
def read(monkeypatch):
    """Names of the data sets whose annotations are read."""
    names = []
    get = DatasetCatalog.get
    monkeypatch.setattr(
        DatasetCatalog, "get", lambda name: names.append(name) or get(name), raising=False
    )
    return names


def test_a_good_run_passes_and_leaves_nothing(toy, tmp_path, log):
    before = torch.get_rng_state()
    train(toy.cfg("SAD.yaml", "OUTPUT_DIR", str(tmp_path / "run")), check_teacher=True)
    assert not list(tmp_path.iterdir())
    assert torch.equal(torch.get_rng_state(), before)
    assert log == [] and logging.root.manager.disable == logging.NOTSET


def test_a_mistake_leaves_logging_on(toy):
    with pytest.raises(UserError):
        train(toy.cfg("SAD.yaml", "SAD.TEACHER.WEIGHTS", "absent.pth"))
    assert logging.root.manager.disable == logging.NOTSET


def test_large_annotations_are_read_by_the_training_alone(toy, monkeypatch, read):
    cfg = toy.cfg("SAD.yaml")
    names = ["toy_labeled", "toy_pseudo_labels", "toy_labeled"]
    size = os.path.getsize(toy.path("annotations/labeled.json"))
    size += os.path.getsize(toy.path("annotations/pseudo_labels.json"))
    monkeypatch.setattr(preflight, "SMALL", size)
    train(cfg)
    assert read == names
    read.clear()
    monkeypatch.setattr(preflight, "SMALL", size - 1)
    train(cfg)
    check_evaluation(
        toy.cfg("teacher.yaml", "MODEL.WEIGHTS", toy.path("teacher.pth")), resume=False
    )
    assert read == ["toy_labeled"]  # of the evaluation, which is smaller


@pytest.mark.parametrize("file", ["last_checkpoint", "model_0000009.pth", "model_final.pth"])
def test_a_folder_with_a_run_is_for_resuming_and_evaluating(toy, tmp_path, file):
    (tmp_path / file).write_text("model_0000009.pth")
    if file == "model_final.pth":  # which beginning anew would write over
        with pytest.raises(UserError, match=r"holds model_final.pth, but no last_checkpoint"):
            train(toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path)), resume=True)
    else:
        train(toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path)), resume=True)
    with pytest.raises(UserError, match=rf"holds a run \({file}\)"):
        train(toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path)))
    own = shutil.copy(toy.path("teacher.pth"), tmp_path / "model_0000004.pth")
    opts = ("teacher.yaml", "OUTPUT_DIR", str(tmp_path), "MODEL.WEIGHTS")
    check_evaluation(toy.cfg(*opts, str(own)), resume=False)
    with pytest.raises(UserError, match="holds a run .* another OUTPUT_DIR"):
        check_evaluation(toy.cfg(*opts, toy.path("teacher.pth")), resume=False)


@pytest.mark.slow
def test_an_exported_file_is_evaluated_on_the_images_that_it_wants(toy, tmp_path):
    path = write_onnx(*tame_teacher(toy), tmp_path / "x.onnx")
    evaluate = ("teacher.yaml", "MODEL.WEIGHTS", path)
    check_evaluation(toy.cfg(*evaluate), resume=False)
    for key, value, wanted in (
        ("INPUT.FORMAT", "RGB", "BGR"),
        ("INPUT.MIN_SIZE_TEST", 32, "64"),
        ("INPUT.MAX_SIZE_TEST", 200, "96"),
    ):
        with pytest.raises(UserError, match=rf"{key} is {value}, .*x\.onnx wants {wanted}"):
            check_evaluation(toy.cfg(*evaluate, key, value), resume=False)


def test_an_exported_file_that_cannot_be_run_is_named_first(toy, tmp_path):
    path = write_onnx(*tame_teacher(toy), tmp_path / "x.onnx", nms=False)
    with pytest.raises(UserError, match="no non-maximum suppression"):
        check_evaluation(toy.cfg("teacher.yaml", "MODEL.WEIGHTS", path), resume=False)


def test_weights_with_a_card_are_evaluated_on_the_pixels_of_their_training(toy, tmp_path):
    path = write_weights(*tame_teacher(toy), tmp_path / "x.safetensors")
    check_evaluation(toy.cfg("teacher.yaml", "MODEL.WEIGHTS", path), resume=False)
    opts = ("MODEL.WEIGHTS", path, "INPUT.FORMAT", "RGB")
    with pytest.raises(UserError, match="INPUT.FORMAT is RGB"):
        check_evaluation(toy.cfg("teacher.yaml", *opts), resume=False)
    opts = ("SAD.TEACHER.WEIGHTS", path, "SAD.TEACHER.CLASS_NAMES", ["light", "dark"])
    opts += ("OUTPUT_DIR", str(tmp_path / "run"))
    check_training(toy.cfg("SAD.yaml", *opts), False, False)
    other = tmp_path / "teacher.yaml"
    other.write_text(f"_BASE_: {toy.path('teacher.yaml')}\nMODEL: {{PIXEL_STD: [9, 9, 9]}}\n")
    with pytest.raises(UserError, match="MODEL.PIXEL_STD"):
        check_training(
            toy.cfg("SAD.yaml", *opts, "SAD.TEACHER.CONFIG_FILE", str(other)), False, False
        )


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_of_a_run_that_died_before_its_first_checkpoint_is_free(toy, tmp_path, resume):
    for name in ("config.yaml", "log.txt", "metrics.json"):
        (tmp_path / name).write_text('{"iteration": 19}')
    train(toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path)), resume=resume)


def test_starting_weights_of_which_nothing_fits(toy, tmp_path):
    torch.save({"layer1.0.conv1.weight": torch.zeros(3, 3)}, tmp_path / "resnet.pth")
    cfg = toy.cfg("student.yaml", "MODEL.WEIGHTS", str(tmp_path / "resnet.pth"))
    with pytest.raises(
        UserError, match=r"MODEL\.WEIGHTS .*resnet\.pth.* 0 of the 36 .*convert_weig"
    ):
        train(cfg)


def test_another_experiment_is_refused_before_the_runs_files_change(toy, tmp_path):
    opts = ("OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", 2)
    cfg = toy.cfg("student.yaml", *opts)
    trainer = SADTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    train(cfg, resume=True)
    with pytest.raises(UserError, match="SOLVER.WEIGHT_DECAY 0.0001 before, 0.5 now"):
        train(toy.cfg("student.yaml", *opts, "SOLVER.WEIGHT_DECAY", 0.5), resume=True)
    (tmp_path / "model_final.pth").write_bytes(b"broken")  # is the trainer's to deal with
    train(toy.cfg("student.yaml", *opts, "SOLVER.WEIGHT_DECAY", 0.5), resume=True)


def test_starting_weights_do_not_count_once_there_is_a_checkpoint(toy, tmp_path):
    cfg = toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path), "MODEL.WEIGHTS", "absent.pth")
    with pytest.raises(UserError, match=r"MODEL\.WEIGHTS absent\.pth"):
        train(cfg, resume=True)
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    train(cfg, resume=True)
