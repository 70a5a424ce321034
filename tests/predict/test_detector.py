"""Detectors from files: where the yaml is found, what is told of them, what is wrong."""

import shutil

import numpy as np
import pytest
import torch

from exported_files import tame_teacher, write_onnx, write_weights
from sad import Predictor
from sad.checkpoint import safe_load as weights_file
from sad.predict.detector import open_detector
from sad.utils.errors import UserError


def test_what_is_told_of_a_checkpoint(toy):
    for name, threshold in (("teacher", 0.5), ("rcnn_teacher", 0.5)):
        detector = open_detector(toy.path(f"{name}.pth"), toy.path(f"{name}.yaml"))
        assert detector.class_names == ["light", "dark"] and detector.threshold is None
        assert (detector.min_size, detector.max_size) == (64, 96)
        assert (detector.score_threshold, detector.nms_threshold) == (0.001, threshold)
    opts = ["MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.3]
    changed = open_detector(toy.path("rcnn_teacher.pth"), toy.path("rcnn_teacher.yaml"), opts)
    assert changed.nms_threshold == 0.3


@pytest.mark.slow
def test_class_names_are_those_of_the_weights_or_numbers(run, tmp_path):
    content = weights_file.read_weights(str(run / "model_final.pth"))
    shutil.copy(run / "config.yaml", tmp_path)
    for names, expected in ((["pale", "black"], ["pale", "black"]), (None, ["class 0", "class 1"])):
        content.pop("class_names", None)
        torch.save({**content, **({"class_names": names} if names else {})}, tmp_path / "w.pth")
        assert open_detector(str(tmp_path / "w.pth")).class_names == expected


@pytest.mark.parametrize(
    ("suffix", "image_format"),
    [
        pytest.param("onnx", "BGR", marks=pytest.mark.slow),
        pytest.param("onnx", "RGB", marks=pytest.mark.slow),
        ("safetensors", "RGB"),
    ],
)
def test_an_exported_file_finds_what_its_checkpoint_finds(toy, tmp_path, suffix, image_format):
    opts = ["INPUT.FORMAT", image_format, "MODEL.PIXEL_MEAN", [90.0, 110.0, 130.0],
            "MODEL.RETINANET.NMS_THRESH_TEST", 0.4]  # fmt: skip
    model, cfg = tame_teacher(toy, opts=opts)
    torch.save({"model": model.state_dict()}, tmp_path / "tame.pth")
    write = {"onnx": write_onnx, "safetensors": write_weights}[suffix]
    path = write(model, cfg, tmp_path / f"tame.{suffix}", threshold=0.3)
    exported = Predictor(path)
    plain = Predictor(tmp_path / "tame.pth", toy.path("teacher.yaml"), opts)
    assert exported.threshold == 0.3 and plain.threshold is None
    assert exported.class_names == ["light", "dark"] and exported.detector.nms_threshold == 0.4
    images = [toy.path(f"labeled/{number:06d}.png") for number in range(1, 7)]
    for one, other in zip(exported(images), plain(images), strict=True):
        best = other.scores > 0.86  # of the many of nearly equal scores the last ones may differ
        assert best.sum() > 10
        np.testing.assert_allclose(one.scores[: best.sum()], other.scores[best], atol=1e-4)
        apart = np.abs(one.boxes[None] - other.boxes[best][:, None]).max(axis=-1)
        apart += 100 * (one.labels[None] != other.labels[best][:, None])
        assert (apart.min(axis=1) < 0.02).all()
    with pytest.raises(UserError, match="brings its own config"):
        Predictor(path, toy.path("teacher.yaml"))
    with pytest.raises(UserError, match="brings its own config"):
        Predictor(path, opts=["INPUT.MIN_SIZE_TEST", 32])


@pytest.mark.parametrize(
    ("weights", "config", "parts"),
    [
        ("", "", ("no weights are given",)),
        ("absent", "", ("absent do not exist", "name the folder")),
        ("empty", "", ("empty holds no model_final.pth",)),
        ("no_config/model_final.pth", "", ("no config.yaml lies beside", "--config-file")),
        ("no_config", "", ("no config.yaml lies beside", "--config-file")),
        ("empty", "student.yaml", ("empty holds no model_final.pth",)),
        ("w.pth", "student.yaml", ("w.pth do not exist",)),
        ("w.pth", "absent.yaml", ("absent.yaml does not exist",)),
        ("teacher.pth", "student.yaml", ("student.yaml", "teacher.pth", "another shape")),
    ],
)
def test_wrong_files(toy, tmp_path, weights, config, parts):
    (tmp_path / "empty").mkdir()
    (tmp_path / "no_config").mkdir()
    shutil.copy(toy.path("teacher.pth"), tmp_path / "no_config" / "model_final.pth")
    path = toy.path(weights) if weights.endswith("r.pth") else weights and str(tmp_path / weights)
    with pytest.raises(UserError) as error:
        open_detector(path, config and toy.path(config))
    assert all(part in str(error.value) for part in parts), error.value
