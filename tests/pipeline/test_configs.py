"""The yamls of an experiment: each is a config that training takes."""

import os

import pytest

from sad.calibration.advice import SETTINGS
from sad.config.load import get_sad_cfg
from sad.pipeline.configs import (
    data_settings,
    write_base,
    write_distilled,
    write_given_teacher,
    write_long,
    write_network,
)
from sad.pipeline.detectors import FASTER_RCNN, RETINANET
from sad.pipeline.facts import Machine
from sad.pipeline.networks import find_network
from sad.pipeline.paths import Paths
from sad.pipeline.settings import base_settings
from sad.preflight.values import check_config
from sad.utils.errors import UserError
from square_facts import facts
from toy import REPOSITORY

ROOTS = {"train": "/images/a", "val": "/images/b", "test": "/images/c"}


def written(folder, val_is_test=False, detector=RETINANET) -> Paths:
    paths, network = Paths(str(folder)), find_network("tiny", detector)
    machine = Machine(0, 2, 10**10)
    settings = base_settings(facts(), machine, [network], flips=(True, "they may"))
    write_base(paths, [*settings, *data_settings(paths, ROOTS, val_is_test)])
    for name in ("teacher", "student"):
        write_network(paths, name, network, 16, 500, "so long")
    teacher = paths.config("teacher"), paths.weights("teacher")
    write_distilled(paths, *teacher, "/images/d", detector.architecture)
    write_long(paths, 700, detector.method)
    return paths


def names(cfg) -> tuple[list, ...]:
    sets = cfg.DATASETS
    return tuple(map(list, (sets.TRAIN, sets.UNLABELED, sets.TEST, sets.VAL)))


def test_each_yaml_is_a_config(tmp_path):
    paths = written(tmp_path)
    for name in ("teacher", "student", "SAD", "student_long"):
        cfg = get_sad_cfg(paths.config(name))
        check_config(cfg)
        assert cfg.OUTPUT_DIR == paths.run(name)
        assert cfg.SOLVER.BASE_LR == 0.2  # that of a batch of 8, twice
        assert cfg.SOLVER.MAX_ITER == (700 if name == "student_long" else 500)
        assert names(cfg) == (["train"], [], ["val", "test"], ["val"]) or name == "SAD"
        assert cfg.DATASETS.REGISTER.test.IMAGES == "/images/c"
        assert os.path.dirname(cfg.DATASETS.REGISTER.val.JSON) == str(tmp_path / "data")
    cfg = get_sad_cfg(paths.config("SAD"))
    assert cfg.SAD.TEACHER.WEIGHTS == str(tmp_path / "runs" / "teacher" / "model_final.pth")
    assert names(cfg) == (["train"], ["pseudo_labels"], ["val", "test"], ["val"])
    assert cfg.DATASETS.REGISTER.pseudo_labels.IMAGES == "/images/d"


@pytest.mark.parametrize("detector", [RETINANET, FASTER_RCNN])
@pytest.mark.parametrize("advised", filter(None, SETTINGS.values()))
def test_each_advice_on_targets_can_be_followed(detector, advised, tmp_path):
    paths = written(tmp_path, detector=detector)
    opts = [x for pair in advised.items() for x in pair]
    cfg = get_sad_cfg(paths.config(detector.method), opts)
    if detector is FASTER_RCNN and advised == SETTINGS["soft targets"]:
        with pytest.raises(UserError, match="add 'hard'"):  # and it is never advised
            check_config(cfg)
    else:
        check_config(cfg)


def test_tar(tmp_path):
    paths = written(tmp_path, detector=FASTER_RCNN)
    cfg = get_sad_cfg(paths.config("TAR"))
    check_config(cfg)
    assert not os.path.exists(paths.config("SAD"))
    assert cfg.SAD.STUDENT.META_ARCHITECTURE == "GeneralizedRCNN"
    assert tuple(cfg.SAD.DISTILL.TERMS) == ("feature", "roi_class", "roi_box")
    assert cfg.SAD.DISTILL.FEATURE.MASK == "gaussian"
    assert {cfg.SAD.DISTILL[x].DECAY_TO for x in ("FEATURE", "ROI_CLASS", "ROI_BOX")} == {0.0}
    assert names(cfg) == (["train"], ["pseudo_labels"], ["val", "test"], ["val"])
    assert cfg.OUTPUT_DIR == paths.run("TAR")


def test_without_a_validation_set_and_without_unlabelled_images(tmp_path):
    paths = written(tmp_path, val_is_test=True)
    write_distilled(paths, "t.yaml", "t.pth", None, "FCOS")
    cfg = get_sad_cfg(paths.config("SAD"))
    check_config(cfg)
    assert names(cfg) == (["train"], [], ["test"], [])
    assert cfg.SAD.STUDENT.META_ARCHITECTURE == "FCOS"


def test_a_teacher_that_is_there_already(tmp_path):
    paths = Paths(str(tmp_path))
    config = str(REPOSITORY / "configs" / "digits" / "teacher.yaml")
    write_given_teacher(paths, config, "/t.pth", data_settings(paths, ROOTS, False))
    cfg = get_sad_cfg(paths.config("teacher"))
    assert cfg.MODEL.WEIGHTS == "/t.pth" and cfg.MODEL.FPN.OUT_CHANNELS == 64
    assert names(cfg)[2:] == (["val", "test"], ["val"])


def test_a_given_teachers_own_validation_set_is_not_taken_over(tmp_path):
    """Where there is none of this experiment."""
    written(tmp_path / "earlier")
    paths = Paths(str(tmp_path / "now"))
    of_data = data_settings(paths, ROOTS, val_is_test=True)
    config = str(tmp_path / "earlier" / "configs" / "teacher.yaml")
    write_given_teacher(paths, config, "/t.pth", of_data)
    assert names(get_sad_cfg(paths.config("teacher")))[2:] == (["test"], [])
