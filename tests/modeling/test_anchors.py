"""The best possible recall of the anchors, and whether the advice where it is small is right."""

import json
import re
import shlex

import numpy as np
import pytest

from anchor_problem import images_with, network, objects
from sad.engine.trainer import SADTrainer
from sad.modeling import anchor_advice, anchors
from sad.modeling.anchors import check_anchors
from sad.modeling.build import build_detector


def test_no_boxes_no_line(log):
    assert check_anchors(*network(), images_with([(0, 0, 9, 9)], iscrowd=1)) is None
    assert log == []


def lines(caplog) -> list:
    return [record for record in caplog.records if record.name == "sad.modeling.anchors"]


def test_anchors_that_fit_are_no_warning(caplog):
    caplog.set_level("INFO", "sad.modeling.anchors")
    images = objects([(side, side) for side in np.geomspace(110, 400, 200)])
    assert check_anchors(*network(), images) > 0.95
    assert [record.levelname for record in lines(caplog)] == ["INFO"]


SQUARES = [(side, side) for side in np.geomspace(16, 900, 300)]
HARD = {
    "of 3 pixels": [(16, 16)] * 200,
    "larger than every anchor": [(side, side) for side in np.geomspace(700, 950, 200)],
    "of all sizes": SQUARES,
    "long ones": [(side, side / 6) for side in np.geomspace(500, 1200, 200)],
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=pytest.mark.slow) if x == "of 3 pixels" else x for x in HARD],
)
def test_what_is_advised_fits(name, caplog):
    cfg, model = network()
    images = objects(HARD[name])
    recall = check_anchors(cfg, model, images)
    assert recall < 0.7
    (record,) = lines(caplog)
    assert record.levelname == "WARNING" and f"{recall:.1%}" in record.message
    pairs = re.findall(r"((?:MODEL|INPUT)\.[\w.]+) ('[^']*'|\w+)[ ;]", record.message)
    options = [x for key, value in pairs for x in (key, shlex.split(value)[0])]

    caplog.clear()
    advised, its_model = network(*options)
    recall = check_anchors(advised, its_model, images)
    assert recall >= 0.9
    assert f"{recall:.1%} would" in record.message
    sizes = advised.MODEL.ANCHOR_GENERATOR.SIZES
    assert [len(level) for level in sizes] == [3, 3, 3]
    assert advised.INPUT.MIN_SIZE_TRAIN[0] == advised.INPUT.MIN_SIZE_TEST
    larger, long = advised.INPUT.MAX_SIZE_TRAIN > 256, "ASPECT_RATIOS" in record.message
    assert (larger, long) == {
        "of 3 pixels": (True, False),
        "larger than every anchor": (False, False),
        "of all sizes": (True, False),
        "long ones": (False, True),
    }[name]


@pytest.mark.parametrize(("name", "both"), [("SAD.yaml", True), ("TAR.yaml", False)])
def test_only_dense_detectors_share_the_teacher_s_anchors(name, both, toy, caplog):
    cfg = toy.cfg(name, "MODEL.DEVICE", "meta", checked=False)
    check_anchors(cfg, build_detector(cfg).student, objects([(800, 100)] * 50))
    assert ("train the teacher anew" in caplog.text) == both and "would have one" in caplog.text


def test_where_nothing_is_enough_the_best_is_named(monkeypatch, caplog):
    cfg, model = network()
    images = objects([(16, 16)] * 100)
    monkeypatch.setattr(anchor_advice, "GROWTH", [1])
    for module in (anchors, anchor_advice):  # no box will do
        monkeypatch.setattr(module, "IOU", 1.01)
    assert check_anchors(cfg, model, images) == 0
    assert "SIZES" not in caplog.text


def test_crops_are_not_reckoned_with_and_a_scaled_teacher_is_named(caplog):
    images = objects(HARD["larger than every anchor"])
    check_anchors(*network(), images)
    assert "crops" not in caplog.text
    caplog.clear()
    opts = ("INPUT.CROP.ENABLED", True, "SAD.TEACHER.INPUT_SCALE", 2.0)
    check_anchors(*network(*opts), images)
    assert "without crops" in caplog.text and "2 times" in caplog.text


@pytest.mark.parametrize(("sizes", "level"), [([[16, 24]], "info"), ([[100, 200]], "warning")])
def test_a_run_says_it_at_its_start(toy, tmp_path, sizes, level, log):
    anchor_sizes = ("MODEL.ANCHOR_GENERATOR.SIZES", sizes)
    SADTrainer(toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path), *anchor_sizes))
    (line,) = [line for line in log if line.startswith("Anchors: ")]
    assert "(12 at" in line and ("would have" in line) == (level == "warning")


@pytest.mark.parametrize(
    ("sizes", "level"),
    [([[18], [26], [34], [34]], "info"), ([[100], [200], [300], [400]], "warning")],
)
def test_an_rpns_anchors_are_looked_at(toy, tmp_path, sizes, level, log):
    options = ("MODEL.ANCHOR_GENERATOR.SIZES", sizes, "OUTPUT_DIR", str(tmp_path))
    SADTrainer(toy.cfg("rcnn_student.yaml", *options))
    (line,) = [line for line in log if line.startswith("Anchors: ")]
    assert "(12 at" in line and ("would have" in line) == (level == "warning")
    if level == "warning":
        (advised,) = re.findall(r"MODEL\.ANCHOR_GENERATOR\.SIZES '([^']*)'", line)
        assert [len(one) for one in json.loads(advised)] == [1, 1, 1, 1]
