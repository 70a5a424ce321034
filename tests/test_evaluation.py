"""Evaluation with annotations ends in AP, without them in a file for COCO's server."""

import json

import pytest
from detectron2.data import build_detection_test_loader
from detectron2.evaluation import inference_on_dataset

from sad.evaluation import BoxEvaluator, submission_name
from sad.teacher import load_retinanet


@pytest.mark.parametrize(
    ("json_file", "expected"),
    [
        (
            "coco/annotations/image_info_test-dev2017.json",
            "detections_test-dev2017_SAD_results.json",
        ),
        ("image_info_test2017.json", "detections_test2017_SAD_results.json"),
        ("cells.json", "detections_cells_SAD_results.json"),
    ],
)
def test_name_in_the_servers_form(json_file, expected):
    assert submission_name(json_file, "SAD") == expected


@pytest.fixture
def evaluate(toy, tmp_path):
    """A function that evaluates the toy teacher on a set: (results, run directory)."""

    def run(dataset_name):
        toy.cfg("SAD.yaml")  # registers the sets
        model, cfg = load_retinanet(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")
        loader = build_detection_test_loader(cfg, dataset_name, num_workers=0)
        evaluator = BoxEvaluator(dataset_name, str(tmp_path), "random")
        return inference_on_dataset(model, loader, evaluator)

    return run


def test_with_annotations(evaluate, tmp_path):
    results = evaluate("toy_labeled")
    assert 0 <= results["bbox"]["AP"] <= 100
    assert {path.name for path in tmp_path.glob("*.json")} == {"coco_instances_results.json"}


def test_without_annotations(evaluate, tmp_path, toy, log):
    assert evaluate("toy_unlabeled") == {}
    submission = tmp_path / "detections_image_info_random_results.json"
    assert list(tmp_path.glob("*.json")) == [submission]
    detections = json.loads(submission.read_text())
    images = {image["id"] for image in toy.json("image_info.json")["images"]}
    assert {item["image_id"] for item in detections} == images
    assert {item["category_id"] for item in detections} <= {2, 5}
    assert sum(f"zip {submission}" in message for message in log) == 1
