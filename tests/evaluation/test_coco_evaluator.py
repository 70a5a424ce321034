"""Evaluation with annotations ends in AP, the same by any library, else in a file for COCO."""

import json
import multiprocessing
import os
import re
import signal
import sys
import time
from copy import deepcopy
from importlib import reload
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.evaluation import COCOEvaluator, inference_on_dataset
from detectron2.structures import Boxes, Instances
from pycocotools.cocoeval import COCOeval

from sad.data.datasets import ClassOrder, read_sets, register_from_config
from sad.evaluation import coco_evaluator as evaluation
from sad.evaluation.coco_evaluator import BoxEvaluator, evaluate_boxes, submission_name
from sad.evaluation.loader import build_test_loader
from sad.modeling.build import load_detector
from sad.study.benchmarks.evaluation import by_pycocotools, index, make_set
from sad.utils.errors import UserError


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
        model, cfg = load_detector(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")
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


def test_a_set_that_is_registered_in_python(evaluate, toy):
    """Its classes have no ids of a json; the AP is that of Detectron2's evaluator."""
    toy.cfg("SAD.yaml")
    images, name = DatasetCatalog.get("toy_labeled"), "python_labeled"
    DatasetCatalog.register(name, lambda: images)
    MetadataCatalog.get(name).set(thing_classes=["light", "dark"])
    try:
        assert evaluate(name)["bbox"] == pytest.approx(evaluate("toy_labeled")["bbox"], nan_ok=True)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_another_number_of_classes_is_found_before_the_first_image(toy):
    cfg = toy.cfg("SAD.yaml", "MODEL.RETINANET.NUM_CLASSES", 3)
    with pytest.raises(UserError, match="NUM_CLASSES is 3, it must be 2: data set toy_labeled"):
        build_test_loader(cfg, "toy_labeled")


def ignores(process, number: int) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    ignored = int(re.search(r"^SigIgn:\s+(\w+)", status, re.M)[1], 16)
    return bool(ignored & 1 << (number - 1))


def test_readers_outlive_a_schedulers_signal(toy):
    """Which goes to every process of the job: the evaluation itself says when it ends."""
    cfg = toy.cfg("SAD.yaml", "DATALOADER.NUM_WORKERS", 2)
    loader, seen = build_test_loader(cfg, "toy_labeled"), 0
    for batch in loader:
        seen += len(batch)
        if seen == 1:
            readers = multiprocessing.active_children()
            assert len(readers) >= 2
            started = time.monotonic()
            while not all(ignores(reader, signal.SIGTERM) for reader in readers):
                assert time.monotonic() - started < 60  # the first may be ready before the second
                time.sleep(0.01)
            for reader in readers:
                os.kill(reader.pid, signal.SIGTERM)
    assert seen == len(DatasetCatalog.get("toy_labeled")) > 3


def crowds(labels, detections):
    for label in labels[::3]:
        label["iscrowd"] = 1


def ties(labels, detections):
    for detection in detections:
        detection["score"] = round(detection["score"], 1)


def no_labels(labels, detections):
    labels.clear()


def some_images_without_labels(labels, detections):
    labels[:] = [label for label in labels if label["image_id"] % 2]


def some_images_without_detections(labels, detections):
    detections[:] = [detection for detection in detections if detection["image_id"] > 10]


def small_boxes_alone(labels, detections):
    for item in labels + detections:
        item["bbox"][2:] = [side / 20 for side in item["bbox"][2:]]
    for label in labels:
        label["area"] /= 400


def areas_at_the_ranges_limits(labels, detections):
    for number, label in enumerate(labels):
        label["area"] = (32**2, 96**2)[number % 2]


def boxes_of_no_area(labels, detections):
    for item in labels[::4] + detections[::4]:
        item["bbox"][2] = 0.0


def labels_numbered_from_0(labels, detections):
    """Of which pycocotools never finds the first: it must say so itself."""
    for label in labels:
        label["id"] -= 1


def labels_of_one_id(labels, detections):
    """Of which pycocotools keeps the last in its index."""
    for label in labels[::3]:
        label["id"] = labels[1]["id"]


def ids_that_are_texts(labels, detections):
    """Which hotcoco does not take."""
    for item in labels + detections:
        item["image_id"] = str(item["image_id"])


CASES = [
    crowds,
    ties,
    no_labels,
    some_images_without_labels,
    some_images_without_detections,
    small_boxes_alone,
    areas_at_the_ranges_limits,
    boxes_of_no_area,
    labels_numbered_from_0,
    labels_of_one_id,
    ids_that_are_texts,
]


LEFT_TO_PYCOCOTOOLS = (labels_numbered_from_0, labels_of_one_id, ids_that_are_texts)


@pytest.mark.parametrize("change", CASES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("image_ids", [None, [3, 4, 11]])
def test_numbers_are_pycocotools(change, image_ids):
    content, detections = make_set(20, num_classes=5)
    change(content["annotations"], detections)
    if change is ids_that_are_texts:
        image_ids = image_ids and list(map(str, image_ids))
        for image in content["images"]:
            image["id"] = str(image["id"])
    slow = by_pycocotools(index(deepcopy(content)), deepcopy(detections), image_ids)
    fast = evaluate_boxes(index(content), detections, image_ids)
    assert isinstance(fast, COCOeval) == (change in LEFT_TO_PYCOCOTOOLS)
    if change is not no_labels:
        assert slow.stats[0] > 0
    np.testing.assert_allclose(fast.stats, slow.stats, rtol=0, atol=1e-9)
    for key in ("precision", "recall", "scores"):
        np.testing.assert_allclose(fast.eval[key], slow.eval[key], rtol=0, atol=1e-9)


@pytest.fixture
def without_hotcoco(monkeypatch):
    monkeypatch.setitem(sys.modules, "hotcoco", None)  # an import of it fails
    yield reload(evaluation)
    monkeypatch.undo()
    reload(evaluation)


def test_pycocotools_where_hotcoco_is_not_installed(without_hotcoco):
    content, detections = make_set(20, num_classes=5)
    found = without_hotcoco.evaluate_boxes(index(content), detections)
    assert isinstance(found, COCOeval)
    expected = by_pycocotools(index(content), detections)
    assert np.array_equal(found.stats, expected.stats)
    assert np.array_equal(found.eval["precision"], expected.eval["precision"])


def test_without_any_detection(toy, tmp_path):
    cfg = toy.cfg("SAD.yaml")
    loader = build_detection_test_loader(cfg, "toy_labeled", num_workers=0)
    evaluator = BoxEvaluator("toy_labeled", str(tmp_path), "none")
    evaluator.reset()
    for batch in loader:
        none = Instances((64, 64), pred_boxes=Boxes(torch.zeros(0, 4)))
        none.scores, none.pred_classes = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
        evaluator.process(batch, [{"instances": none}])
    assert np.isnan(list(evaluator.evaluate()["bbox"].values())).all()


def test_results_are_those_of_detectron2s_evaluator(evaluate, tmp_path, toy):
    """Including each class's AP, which is computed from the precision array."""
    results = evaluate("toy_labeled")["bbox"]
    saved = json.loads((tmp_path / "coco_instances_results.json").read_text())
    detectron2 = COCOEvaluator("toy_labeled", tasks=("bbox",), output_dir=str(tmp_path / "d2"))
    detectron2.reset()
    detectron2._predictions = torch.load(tmp_path / "instances_predictions.pth")
    expected = detectron2.evaluate()["bbox"]
    assert saved == json.loads((tmp_path / "d2" / "coco_instances_results.json").read_text())
    assert {"AP", "AP50", "AP-light", "AP-dark"} <= results.keys()
    assert results == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_aps_of_classes_bear_their_names_in_whatever_order_the_model_has_them(toy, tmp_path):
    cfg = toy.cfg("SAD.yaml")
    register_from_config(cfg, ClassOrder(["dark", "light"], "the weights"))
    evaluator = BoxEvaluator("toy_labeled", str(tmp_path), "light alone")
    evaluator.reset()
    for image in read_sets(["toy_labeled"]):
        x, y, w, h = image["annotations"][0]["bbox"]  # the light rectangle
        assert image["annotations"][0]["category_id"] == 1
        found = Instances((64, 64), pred_boxes=Boxes(torch.tensor([[x, y, x + w, y + h]])))
        found.scores, found.pred_classes = torch.ones(1), torch.ones(1, dtype=torch.int64)
        evaluator.process([image], [{"instances": found}])
    results = evaluator.evaluate()["bbox"]
    register_from_config(cfg)
    assert (results["AP-light"], results["AP-dark"]) == pytest.approx((100, 0))


def test_in_a_child_of_a_process_that_has_evaluated():
    """hotcoco's threads are not in it: it would wait for them for ever."""
    content, detections = make_set(4)
    truth = index(content)
    expected = evaluate_boxes(truth, detections).stats
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(evaluate_boxes_of, (truth, detections)).get(timeout=60)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def evaluate_boxes_of(truth, detections):
    return evaluate_boxes(truth, detections).stats
