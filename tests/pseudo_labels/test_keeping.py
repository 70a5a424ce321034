"""Labelling fills the folder of answers with the files that training would write itself."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from labelling import run_labelling
from sad.data.mapper import ImageMapper
from sad.data.teacher_cache import TeacherCache
from sad.modeling.ask_teacher import ask_teacher
from sad.modeling.teacher import build_teacher
from sad.pseudo_labels.job import prepare
from sad.terms import needed
from sad.utils.errors import UserError

AS_LABELED = ("INPUT.MIN_SIZE_TRAIN", "(64,)")


def job(toy, folder, *opts, **changes) -> dict:
    """Arguments of `prepare`; the opts are those of the training."""
    of_cache = ("SAD.TEACHER.CACHE.DIR", str(folder / "kept"))
    of_cache += ("SAD.TEACHER.CACHE.LEAVE_FREE_GB", "0.0")
    arguments = {
        "config_file": toy.path("teacher.yaml"),
        "weights": toy.path("teacher.pth"),
        "image_root": toy.path("unlabeled"),
        "labeled_json": toy.path("annotations/labeled.json"),
        "output": str(folder / "labels.json"),
        "keep_for": [toy.path("SAD.yaml"), *of_cache, *AS_LABELED, *map(str, opts)],
    }
    return arguments | changes


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "terms", ["('class',)", pytest.param("('class','box')", marks=pytest.mark.slow)]
)
def test_the_files_are_those_of_a_training(toy, tmp_path, terms):
    run_labelling(job(toy, tmp_path, "SAD.DISTILL.TERMS", terms))
    cfg = toy.cfg(
        "SAD.yaml",
        *("SAD.TEACHER.CACHE.DIR", str(tmp_path / "asked"), "SAD.DISTILL.TERMS", terms),
        *("SAD.TEACHER.CACHE.LEAVE_FREE_GB", 0.0, *AS_LABELED, "INPUT.RANDOM_FLIP", "none"),
    )
    cache, mapper = TeacherCache.of(cfg), ImageMapper(cfg, is_train=True)
    samples = []
    for path in sorted(Path(toy.path("unlabeled")).iterdir()):
        sample = mapper({"file_name": str(path)})
        samples.append(sample | {"kept": None, "kept_path": cache.path(sample["image"])})
    ask_teacher(
        build_teacher(cfg)[0],
        samples,
        (96, 96),
        image_format="BGR",
        need=needed(cfg.SAD.DISTILL.TERMS),
        precision="float32",
        cache=cache,
    )
    expected = contents(tmp_path / "asked")
    assert len(expected) == 6 and contents(tmp_path / "kept") == expected


def test_a_training_on_the_default_device_finds_them(toy, tmp_path, monkeypatch):
    """The config says cuda, and a machine without a GPU trains on its CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run_labelling(job(toy, tmp_path, "MODEL.DEVICE", "cuda"))
    cfg = toy.cfg("SAD.yaml", "SAD.TEACHER.CACHE.DIR", str(tmp_path / "kept"))
    assert Path(TeacherCache.of(cfg).folder).is_dir()


@pytest.mark.slow
def test_the_labels_are_the_same(toy, tmp_path):
    with_answers, _ = run_labelling(job(toy, tmp_path))
    without, _ = run_labelling(job(toy, tmp_path, output=str(tmp_path / "more.json"), keep_for=()))
    assert len(with_answers["annotations"]) == len(without["annotations"]) > 0
    for one, other in zip(with_answers["annotations"], without["annotations"], strict=True):
        assert one["image_id"] == other["image_id"] and one["category_id"] == other["category_id"]
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.02)


@pytest.mark.slow
def test_images_that_cannot_be_read_are_no_answers(toy, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(toy.path("unlabeled"), images)
    (images / "000001.png").write_bytes((images / "000001.png").read_bytes()[:200])
    run_labelling(job(toy, tmp_path, image_root=str(images)))
    assert len(contents(tmp_path / "kept")) == 5


@pytest.mark.slow
def test_what_is_kept_already_is_left(toy, tmp_path):
    run_labelling(job(toy, tmp_path))
    before = {path: os.stat(path).st_mtime_ns for path in (tmp_path / "kept").rglob("??????*")}
    run_labelling(job(toy, tmp_path, output=str(tmp_path / "more.json")))
    assert before == {path: os.stat(path).st_mtime_ns for path in before}


@pytest.mark.parametrize(
    "opts",
    [
        ("INPUT.CROP.ENABLED", True, "SAD.LOADER.VIEW_EPOCHS", 4),
        ("INPUT.MIN_SIZE_TRAIN", "(48, 64)", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "choice"),
        ("INPUT.MAX_SIZE_TRAIN", 80),
        ("INPUT.FORMAT", "RGB"),
        ("SAD.TEACHER.PRECISION", "bfloat16"),
        ("SAD.TEACHER.INPUT_SCALE", 2.0),
    ],
    ids=lambda opts: opts[0],
)
def test_other_images_are_not_kept_and_the_log_says_why(toy, tmp_path, log, opts):
    planned = prepare(**job(toy, tmp_path, *opts))
    assert planned.keep_for == () and any(line.startswith("no answers are kept") for line in log)


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("MODEL: {PIXEL_STD: [60, 60, 60]}", False),
        ("MODEL: {RETINANET: {SCORE_THRESH_TEST: 0.3}}", True),
    ],
)
def test_another_yaml_of_the_teacher_is_not_kept_for(toy, tmp_path, log, key, kept):
    path = tmp_path / "teacher.yaml"
    path.write_text(f"_BASE_: {toy.path('teacher.yaml')}\n{key}\n")
    planned = prepare(**job(toy, tmp_path, config_file=str(path)))
    assert bool(planned.keep_for) == kept
    assert any("PIXEL_STD" in line for line in log) != kept


def test_trainings_that_cannot_be_kept_for_are_refused(toy, tmp_path):
    other = tmp_path / "other.pth"
    weights = torch.load(toy.path("teacher.pth"), weights_only=True)
    weights["model"]["head.cls_score.bias"] += 1
    torch.save(weights, other)
    for opts, key in (
        (("SAD.TEACHER.CACHE.DIR", ""), "SAD.TEACHER.CACHE.DIR"),
        (("SAD.DISTILL.TERMS", "()"), "SAD.TEACHER.CACHE.DIR"),
        (("SAD.TEACHER.WEIGHTS", str(other)), "SAD.TEACHER.WEIGHTS"),
        (("SAD.TEACHER.WEIGHTS", str(tmp_path / "none.pth")), "SAD.TEACHER.WEIGHTS"),
    ):
        with pytest.raises(UserError, match=key):
            prepare(**job(toy, tmp_path, *opts))
    assert not (tmp_path / "kept").exists()
    assert not (tmp_path / "labels_labelling").exists()
