"""Detectors from files: where the yaml is found, what is told of them, what is wrong."""

import shutil

import pytest
import torch

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


def test_class_names_are_those_of_the_weights_or_numbers(run, tmp_path):
    content = weights_file.read_weights(str(run / "model_final.pth"))
    shutil.copy(run / "config.yaml", tmp_path)
    for names, expected in ((["pale", "black"], ["pale", "black"]), (None, ["class 0", "class 1"])):
        content.pop("class_names", None)
        torch.save({**content, **({"class_names": names} if names else {})}, tmp_path / "w.pth")
        assert open_detector(str(tmp_path / "w.pth")).class_names == expected


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
