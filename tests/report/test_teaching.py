"""What the folders of runs tell of the teaching."""

import json
import math
from types import SimpleNamespace

import pytest

from sad.report.runs import Run
from sad.report.teaching import curves_of, describe_pseudo_labels
from sad.utils.files import sha256

LABELS_KEY = "DATASETS.REGISTER.toy_pseudo_labels.JSON"
LABELS = {"threshold": 0.4, "instances": 12, "images_kept": 5, "warnings": []}
LABELS |= {"score_histogram": {"edges": [0, 1], "counts": [12]}}
MEASURED = {"overall": {"precision": 0.5, "recall": 0.25, "labels": 8}, "per_class": {}}


@pytest.fixture
def distilled(toy, tmp_path):
    """A run whose pseudo-labels lie in a folder of the test's."""
    path = str(tmp_path / "labels.json")
    return SimpleNamespace(cfg=toy.cfg("SAD.yaml", LABELS_KEY, path, checked=False))


def write_report(tmp_path, content):
    (tmp_path / "labels_report").mkdir(exist_ok=True)
    (tmp_path / "labels_report" / "report.json").write_text(content)


def write_calibration(folder, digest):
    (folder / "calibration").mkdir(exist_ok=True)
    content = {
        "teacher": {"weights_sha256": digest},
        "held_out": {"images": 7},
        "curve_thresholds": [0.5],
        "curves": {"all classes": {"precision": [0.75], "recall": [0.5], "f1": [0.6]}},
    }
    (folder / "calibration" / "calibration.json").write_text(json.dumps(content))


def test_the_label_report_beside_the_json(distilled, tmp_path):
    content = LABELS | {"precision_recall_at_iou_0.5": MEASURED}
    write_report(tmp_path, json.dumps(content))
    found = describe_pseudo_labels([distilled], None)
    assert found["labels"]["measured"] == MEASURED["overall"] and found["held_out"] is None
    assert found["labels"]["threshold"] == 0.4 and "warnings" not in found["labels"]
    write_report(tmp_path, json.dumps(content | {"precision_recall_at_iou_0.5": None}))
    assert describe_pseudo_labels([distilled], None)["labels"]["measured"] is None


def test_paths_begin_where_those_of_data_sets_do(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_report(tmp_path, json.dumps(LABELS | {"precision_recall_at_iou_0.5": None}))
    cfg = toy.cfg("SAD.yaml", LABELS_KEY, "labels.json", checked=False)
    found = describe_pseudo_labels([SimpleNamespace(cfg=cfg)], None)
    assert found["labels"]["instances"] == 12


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"threshold": 1}'])
def test_a_report_of_another_form_is_left_out(distilled, tmp_path, content):
    assert describe_pseudo_labels([distilled], None) == {"labels": None, "held_out": None}
    write_report(tmp_path, content)
    assert describe_pseudo_labels([distilled], None)["labels"] is None


def test_without_pseudo_labels_there_is_nothing(toy):
    assert describe_pseudo_labels([SimpleNamespace(cfg=toy.cfg("student.yaml"))], None) is None


def test_the_calibration_of_this_teacher_and_no_other(distilled, student):
    teacher = Run("teacher", str(student))
    write_calibration(student.parent, "of another")
    assert describe_pseudo_labels([distilled], teacher)["held_out"] is None
    write_calibration(student.parent, sha256(str(student / "model_final.pth")))
    found = describe_pseudo_labels([distilled], teacher)["held_out"]
    assert found == {"images": 7, "thresholds": [0.5], "precision": [0.75], "recall": [0.5]}


def test_ratios_are_those_of_metrics_json(student):
    lines = [
        {"iteration": 19, "distill_class_to_detection": 2.5, "total_loss": 3.0},
        {"iteration": 39, "distill_class_to_detection": 1.5, "distill_box_to_detection": 0.5},
        {"iteration": 30, "bbox/AP": math.nan},
        {"iteration": 40, "bbox/AP": 1.0},
    ]
    (student / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    curves = curves_of(Run("student", str(student)))
    assert curves["ratios"] == {"box": [[40], [0.5]], "class": [[20, 40], [2.5, 1.5]]}
    assert curves["AP"] == [[31, 40], [0.0, 1.0]] and curves["total_loss"] == [[20], [3.0]]
    assert curves["class_loss"] == [[], []]
