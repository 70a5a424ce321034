"""The images of the page: which they are, and what is said of each."""

import json

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances

from sad.data.datasets import register_from_config
from sad.report.choice import NOTHING_RIGHT
from sad.report.pictures import (
    best_threshold,
    describe_pictures,
    in_order_of,
    of_instances,
    of_results,
)
from sad.utils.errors import UserError


@pytest.fixture
def records(toy):
    register_from_config(toy.cfg("student.yaml"))
    return DatasetCatalog.get("toy_labeled")


def objects(records, images, label, score=0.9):
    """Detections of all objects of a class on some images."""
    return [
        {
            "image_id": records[i]["image_id"],
            "category_id": label,
            "bbox": a["bbox"],
            "score": score,
        }
        for i in images
        for a in records[i]["annotations"]
        if a["category_id"] == label
    ]


def test_images_that_differ_come_first_then_what_either_alone_finds(records):
    found = {
        "SAD": objects(records, [0, 1, 2], 0) + objects(records, [2], 1),
        "alone": objects(records, [0, 3], 0) + objects(records, [4], 1, score=0.2),
    }
    thresholds = {"SAD": 0.5, "alone": 0.5}
    made = describe_pictures(records, found, thresholds, 2, 2, ("SAD", "alone"))
    names = [record["file_name"] for record in records]
    shown = [names.index(picture["file_name"]) for picture in made["images"]]
    assert shown == [2, 1, 3]  # two errors less; one less; one more
    assert [(x["gained"], x["lost"]) for x in made["images"]] == [(2, 0), (1, 0), (0, 1)]
    assert made["agreement"] == {"both": 1, "first": 3, "second": 1, "neither": 7}
    assert made["images"][0]["runs"][0]["right"] == [True, True]
    assert made["images"][0]["runs"][1]["missed"] == [0, 1]
    assert made["from"] == 6 and made["number"] == 2
    assert json.loads(json.dumps(made)) == made
    first = records[2]["annotations"][0]
    x, y, w, h = first["bbox"]
    assert made["images"][0]["labels"][0] == {"box": [x, y, x + w, y + h], "class": 0}
    alone = describe_pictures(records, found, thresholds, 2, 2, None)
    assert alone["agreement"] is None and len(alone["images"]) == 2


def test_best_threshold_is_that_of_the_best_f1(records):
    found = objects(records, range(6), 0, score=0.7)
    found += [x | {"bbox": [0, 0, 2, 2], "score": 0.33} for x in found]
    assert best_threshold(records, found, 2) == pytest.approx(0.52, abs=0.01)
    assert best_threshold(records, [], 2) == NOTHING_RIGHT
    assert best_threshold(records, found[len(found) // 2 :], 2) == NOTHING_RIGHT  # all wrong


def test_both_sources_of_detections_become_one_form(records):
    box = {"image_id": 10, "category_id": 5, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}
    (of_json,) = of_results([box], "toy_labeled")
    instances = Instances(
        (48, 64),
        pred_boxes=Boxes(torch.tensor([[1.0, 2, 4, 6]])),
        scores=torch.tensor([0.5]),
        pred_classes=torch.tensor([1]),
    )
    assert of_json == of_instances([instances], records[:1])[0] == box | {"category_id": 1}


def test_classes_are_numbered_as_those_of_the_test_set():
    def found(names):
        some = Instances((9, 9), pred_classes=torch.tensor([0, 2, 2, 1]))
        none = Instances((9, 9), pred_classes=torch.zeros(0, dtype=torch.int64))
        known = in_order_of(["cat", "dog", "hen"], [some, none], names, "SAD")
        return [x.pred_classes.tolist() for x in known]

    assert found(["hen", "cat", "dog"]) == [[2, 1, 1, 0], []]
    assert found(["cat", "dog", "hen"]) == found(None) == [[0, 2, 2, 1], []]
    with pytest.raises(UserError, match="SAD"):
        found(["cat", "dog", "cow"])
