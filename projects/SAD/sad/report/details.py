"""What the detections that a run has left on the test set tell beyond its AP."""

import contextlib
import io
from typing import NamedTuple

from detectron2.data import MetadataCatalog

from ..evaluation.coco_evaluator import evaluate_boxes, read_truth
from ..evaluation.confusion import confusion_matrix
from ..evaluation.error_costs import error_costs
from ..evaluation.error_kinds import KINDS, count_errors, find_errors
from ..evaluation.precision_recall import precision_by_recall
from ..evaluation.rates import by_threshold
from ..utils.errors import UserError
from .choice import shown_from
from .runs import Run

DECIMALS = 4


class TestSet(NamedTuple):
    """The labels of a test set, as COCO's evaluation takes them."""

    truth: object  # pycocotools.coco.COCO
    labels: list[dict]
    images: list
    categories: list[dict]  # in the order of the model's classes


def read_test_set(name: str) -> TestSet:
    """
    Args:
        name: of a registered set that has been read.
    Raises:
        UserError: it has no json, or none with boxes.
    """
    metadata = MetadataCatalog.get(name)
    if not metadata.get("json_file"):
        raise UserError(f"{name} is registered in Python, without a json")
    truth = read_truth(metadata.json_file)
    place_of = metadata.thing_dataset_id_to_contiguous_id
    categories = sorted(truth.dataset["categories"], key=lambda x: place_of[x["id"]])
    labels = truth.dataset.get("annotations", [])
    if all(label["iscrowd"] for label in labels):
        raise UserError(f"{metadata.json_file} has no boxes")
    return TestSet(truth, labels, list(truth.imgs), categories)


def describe_detections(
    run: Run, found: list[dict], test_set: TestSet, threshold: float | None
) -> dict:
    """The entry "details" of a run in report.json.

    Args:
        found: its detections, see `read_results`.
        threshold: score from which a detection counts in the matrix and in the numbers of errors;
            see `shown_from` where it is None.
    Returns:
        "precision_recall": see `precision_by_recall`; "by_threshold": {"thresholds", "precision",
        "recall", "f1"} of all classes together, lists; "threshold": of the matrix, and "precision",
        "recall" and "f1" at it; "confusion": see `confusion_matrix`; "errors": see `count_errors`;
        "costs": see `error_costs`, of all detections.
    Raises:
        UserError: the detections are of other weights than the run's figures.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = evaluate_boxes(test_set.truth, [dict(x) for x in found]) if found else None
    ap = 100 * evaluation.stats[0] if found else 0.0
    run.check_same_ap(ap)
    truth, labels, images, categories = test_set
    errors = find_errors(labels, found, images, categories)
    scores = [box["score"] for box in found]
    objects = sum(not label["iscrowd"] for label in labels)
    counted = (scores, errors.right, errors.kind >= 0, objects)
    thresholds, rates = by_threshold(*counted)
    if threshold is None:
        threshold = shown_from(*counted)
    kept = [box for box in found if box["score"] >= threshold]
    counts = count_errors(find_errors(labels, kept, images, categories))
    said = counts["right"] + sum(counts[kind] for kind in KINDS)
    return {
        "precision_recall": precision_by_recall(evaluation),
        "by_threshold": {
            "thresholds": thresholds.round(2).tolist(),
            **{name: values.round(DECIMALS).tolist() for name, values in rates._asdict().items()},
        },
        "threshold": threshold,
        "precision": counts["right"] / said if said else None,
        "recall": counts["right"] / objects,
        "f1": 2 * counts["right"] / (said + objects),
        "confusion": confusion_matrix(labels, kept, images, categories).tolist(),
        "errors": counts,
        "costs": error_costs(labels, found, errors, categories),
    }
