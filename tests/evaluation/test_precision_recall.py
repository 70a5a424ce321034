"""Curves of precision and recall, against pycocotools' own array."""

from copy import deepcopy

import numpy as np

from detections_made import made
from sad.evaluation.coco_evaluator import evaluate_boxes
from sad.evaluation.precision_recall import precision_by_recall
from sad.study.benchmarks.evaluation import by_pycocotools, index


def test_curves_are_the_mean_of_pycocotools_over_classes_with_objects():
    content, found = made()
    expected = by_pycocotools(index(deepcopy(content)), deepcopy(found))
    precision = expected.eval["precision"]  # (IoU, recall, class, area, most detections)
    assert (precision[:, :, -1] == -1).all()  # the class without objects
    curves = precision_by_recall(evaluate_boxes(index(content), deepcopy(found)))
    for iou, place in (("0.5", 0), ("0.75", 5)):
        wanted = precision[place, :, :-1, 0, -1].mean(axis=1)
        np.testing.assert_allclose(curves["precision"][iou], wanted, atol=1e-4)
    assert abs(np.mean(curves["precision"]["0.5"]) - expected.stats[1]) < 1e-4  # AP50
    assert curves["recall"] == expected.params.recThrs.round(2).tolist()


def test_without_detections_precision_is_0():
    curves = precision_by_recall(None)
    assert len(curves["recall"]) == 101 and set(curves["precision"]["0.5"]) == {0.0}
