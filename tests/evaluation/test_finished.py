"""What is left of the last detections: whose they are, and from which score to believe them."""

import json
import shutil

import pytest
import torch

from sad.evaluation.bootstrap import read_results
from sad.evaluation.coco_evaluator import read_truth
from sad.evaluation.finished import best_point_in, record_evaluation, recorded_threshold
from sad.evaluation.operating_point import best_f1
from sad.evaluation.weights_record import detections_folder, record_weights
from sad.predict.detector import open_detector
from toy import run_train_net

NAME = "toy_labeled"


@pytest.fixture(scope="module")
def evaluated(toy, tmp_path_factory):
    """The folder of an evaluation, and the weights in it."""
    output = tmp_path_factory.mktemp("evaluated")
    weights = shutil.copy(toy.path("teacher.pth"), output / "model_final.pth")
    with pytest.MonkeyPatch.context() as monkeypatch:
        arguments = ["--eval-only", "MODEL.WEIGHTS", weights, "OUTPUT_DIR", output]
        run_train_net(monkeypatch, "--config-file", toy.path("teacher.yaml"), *arguments)
    return output, str(weights)


def test_the_threshold_is_that_of_the_best_f1(toy, evaluated):
    output, weights = evaluated
    folder = detections_folder(str(output), NAME)
    truth = read_truth(toy.cfg("teacher.yaml").DATASETS.REGISTER[NAME].JSON)
    wanted = best_f1(truth, read_results(f"{folder}/coco_instances_results.json", truth))
    assert best_point_in(folder, NAME) == wanted
    assert recorded_threshold(weights, ["absent", NAME]) == wanted.threshold
    assert recorded_threshold(weights, []) is None
    assert open_detector(weights, toy.path("teacher.yaml")).threshold == wanted.threshold


def test_a_set_without_a_threshold_is_passed_over(evaluated, tmp_path):
    output, _ = evaluated
    folder = shutil.copytree(output, tmp_path / "run")
    weights = str(folder / "model_final.pth")
    wanted = recorded_threshold(weights, [NAME])
    for threshold in (None, float("inf"), 1.5, "0.5"):
        record_weights(detections_folder(str(folder), "other"), weights, threshold)
        assert recorded_threshold(weights, ["other", NAME]) == wanted


def test_what_cannot_be_read_ends_no_training(evaluated, tmp_path, caplog):
    output, _ = evaluated
    folder = shutil.copytree(output, tmp_path / "run")
    weights = str(folder / "model_final.pth")
    (folder / "inference" / NAME / "coco_instances_results.json").write_text("{")
    record_evaluation(str(folder), [NAME], weights)
    assert recorded_threshold(weights, [NAME]) is None and "no best threshold" in caplog.text


def test_of_other_weights_nothing_is_known(evaluated, tmp_path):
    output, weights = evaluated
    folder = shutil.copytree(output, tmp_path / "run")
    other = folder / "model_final.pth"
    torch.save({"model": {}}, other)
    assert recorded_threshold(str(other), [NAME]) is None
    assert recorded_threshold(str(tmp_path / "model_final.pth"), [NAME]) is None  # nor elsewhere


@pytest.mark.parametrize("results", ["[]", None])
def test_without_detections_or_labels_there_is_no_threshold(evaluated, tmp_path, results):
    output, _ = evaluated
    folder = shutil.copytree(output, tmp_path / "run")
    file = folder / "inference" / NAME / "coco_instances_results.json"
    file.write_text(results) if results else file.unlink()
    weights = str(folder / "model_final.pth")
    record_evaluation(str(folder), [NAME], weights)
    assert recorded_threshold(weights, [NAME]) is None
    assert json.loads((file.parent / "weights.json").read_text())["file"] == weights
