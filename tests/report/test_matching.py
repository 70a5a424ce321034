"""Which detections of a model are right, and the images on which models differ."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, BoxMode, Instances

from sad.report.matching import choose, match


def detections(*rows):
    """Rows of (box, class, score)."""
    boxes, classes, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return Instances(
        (100, 100),
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
        scores=torch.tensor(scores, dtype=torch.float32),
    )


def record_of(*rows):
    """Rows of (box as x, y, width, height; class; iscrowd)."""
    return {
        "annotations": [
            {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": label, "iscrowd": crowd}
            for box, label, crowd in rows
        ]
    }


def test_match_takes_each_object_once_and_minds_the_class():
    record = record_of(([0, 0, 10, 10], 0, 0), ([50, 50, 20, 20], 1, 0), ([0, 80, 10, 10], 0, 0))
    found = match(
        detections(
            ([0, 0, 10, 11], 0, 0.5),  # second on the first object: its score is lower
            ([0, 0, 10, 10], 0, 0.9),
            ([50, 50, 70, 70], 0, 0.8),  # right place, wrong class
            ([0, 80, 10, 84], 0, 0.7),  # IoU 0.4
        ),
        record,
    )
    assert found["scores"].round(1).tolist() == pytest.approx([0.9, 0.8, 0.7, 0.5])
    assert found["correct"].tolist() == [True, False, False, False]
    assert found["missed"].tolist() == [1, 2]


def test_match_leaves_out_what_lies_on_a_crowd():
    record = record_of(([0, 0, 50, 50], 0, 1), ([60, 60, 10, 10], 0, 0))
    found = match(detections(([5, 5, 20, 20], 0, 0.9), ([5, 5, 20, 20], 1, 0.8)), record)
    assert found["classes"].tolist() == [1]  # the other one is no error
    assert found["correct"].tolist() == [False]
    assert found["missed"].tolist() == [1]  # nor is the crowd an object to miss


def test_match_of_nothing():
    found = match(detections(([0, 0, 10, 10], 0, 0.9)), record_of())
    assert found["correct"].tolist() == [False] and not len(found["missed"])
    found = match(detections(), record_of(([0, 0, 10, 10], 0, 0)))
    assert not len(found["correct"]) and found["missed"].tolist() == [0]


def test_choose_prefers_images_on_which_the_runs_differ():
    def result(wrong, missed):
        return {"correct": np.array([True] + [False] * wrong), "missed": np.arange(missed)}

    good, bad, worse = result(0, 0), result(1, 1), result(2, 3)
    matches = [[bad, bad], [good, bad], [worse, good], [bad, good]]
    assert choose(matches, 3) == [2, 1, 3]  # equals stay in their order
    assert choose(matches, 9) == [2, 1, 3, 0]
