"""Tables of calibration.json."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sad.calibration.curves import count_boxes, judge
from sad.calibration.summary import ALL, average_precision, curves, points
from sad.pseudo_labels.coco_file import to_annotations
from sad.pseudo_labels.detections import scores

NAMES = ["dog", "cat"]


def write(case, tmp_path) -> str:
    labels = [
        {**label, "id": number, "area": label["bbox"][2] * label["bbox"][3]}
        for number, label in enumerate(case.held_out.labels, start=1)
    ]
    images = [{**image, "id": image["image_id"]} for image in case.held_out.images]
    content = {"images": images, "categories": case.held_out.categories, "annotations": labels}
    (tmp_path / "val.json").write_text(json.dumps(content))
    return str(tmp_path / "val.json")


def test_average_precision_is_pycocotools(case, tmp_path, capsys):
    path = write(case, tmp_path)
    found = average_precision(path, case.held_out, case.found)
    ids = [image["image_id"] for image in case.held_out.images]
    truth = COCO(path)
    owners = [ids[i] for i in case.found["image"]]
    boxes = to_annotations(case.found, owners, case.held_out.categories)
    evaluation = COCOeval(truth, truth.loadRes(boxes), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    expected = (100 * evaluation.stats[:3]).tolist()
    assert [found[name] for name in ("AP", "AP50", "AP75")] == pytest.approx(expected, abs=1e-3)
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # classes by id: cat, dog
    of_class = [100 * precision[:, :, k].mean() for k in (1, 0)]
    assert list(found["AP_per_class"]) == NAMES
    assert list(found["AP_per_class"].values()) == pytest.approx(of_class, abs=1e-3)


def test_average_precision_of_some_images_of_one_class_and_of_nothing(case, tmp_path):
    labels = [label for label in case.held_out.labels if label["category_id"] == 7]
    case.held_out = case.held_out._replace(labels=labels)
    path = write(case, tmp_path)
    found = average_precision(path, case.held_out, case.found)
    assert found["AP_per_class"]["cat"] is None and found["AP"] == found["AP_per_class"]["dog"]
    some = case.held_out.only(case.held_out.images[:10])
    part = average_precision(path, some, case.found[case.found["image"] < 10])
    assert part["AP"] != found["AP"]
    nothing = average_precision(path, case.held_out, case.found[:0])
    assert nothing == {"AP": 0, "AP50": 0, "AP75": 0, "AP_per_class": {"dog": None, "cat": None}}


def test_points_and_curves(case):
    right, wrong = judge(case.held_out, case.found)
    counts = count_boxes(case.held_out, case.found, right, wrong, 0.02, [0.333333])
    chosen = {"dog": 0.333333, "cat": 0.5}
    rows = points(counts, NAMES, 0.333333, chosen)
    assert [row["name"] for row in rows] == [ALL, *NAMES]
    assert rows[0]["labels"] == rows[1]["labels"] + rows[2]["labels"]
    kept = scores(case.found) >= np.array(list(chosen.values()))[case.found["category"]]
    expected = right[kept].sum() / (right | wrong)[kept].sum()
    assert rows[0]["chosen"]["precision"] == pytest.approx(expected, abs=1e-4)
    assert rows[0]["chosen"]["boxes"] == (right | wrong)[kept].sum()
    assert rows[0]["chosen"]["threshold"] is None
    assert [row["chosen"]["threshold"] for row in rows[1:]] == [0.333333, 0.5]
    tables = curves(counts, NAMES)
    place = tables["curve_thresholds"].index(0.333333)
    for row in rows:
        curve = tables["curves"][row["name"]]
        assert row["labelling"]["precision"] == curve["precision"][place]
        assert row["best_f1"]["f1"] == max(curve["f1"])
        if row["precise"]:
            assert row["precise"]["precision"] >= 0.7
    same = points(counts, NAMES, 0.333333, dict.fromkeys(NAMES, 0.333333))
    assert same[0]["chosen"] == same[0]["labelling"]


def test_nothing_is_nan(case):
    """A class without labels, and thresholds that no box reaches."""
    labels = [label for label in case.held_out.labels if label["category_id"] == 7]
    held_out = case.held_out._replace(labels=labels)
    found = case.found[scores(case.found) < 0.5]
    counts = count_boxes(held_out, found, *judge(held_out, found), 0.02)
    rows = points(counts, NAMES, 0.5, dict.fromkeys(NAMES, 0.5))
    assert json.dumps([rows, curves(counts, NAMES)], allow_nan=False)
    assert rows[0]["labelling"]["precision"] is None and rows[0]["labelling"]["recall"] == 0
    assert rows[2]["labels"] == 0 and rows[2]["best_f1"]["recall"] is None
