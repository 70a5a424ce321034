"""What the runs' folders tell of the teaching: pseudo-labels, their precision, ratios of losses."""

import json
import logging
import os
from collections.abc import Sequence

from ..data.datasets import data_path
from ..utils.files import sha256
from .runs import Run

logger = logging.getLogger(__name__)

RATIO = "_to_detection"  # as the trainer calls it in metrics.json


def describe_pseudo_labels(runs: Sequence[Run], teacher: Run | None) -> dict | None:
    """The entry "pseudo_labels" of report.json.

    Args:
        teacher: who wrote them, where that is known.
    Returns:
        None where no run trains on pseudo-labels; else "labels": what their report says
        ("threshold", "instances", "images_kept", "score_histogram", "measured": precision and
        recall where the images have labels), or None; "held_out": of the teacher's calibration
        ("images", "thresholds", "precision", "recall"), or None.
    """
    files = [
        data_path(run.cfg.DATASETS.REGISTER[name].JSON)
        for run in runs
        for name in run.cfg.DATASETS.UNLABELED
        if name in run.cfg.DATASETS.REGISTER
    ]
    if not files:
        return None
    return {
        "labels": next(filter(None, map(_label_report, dict.fromkeys(files))), None),
        "held_out": _calibration(teacher) if teacher else None,
    }


def _label_report(pseudo_labels: str) -> dict | None:
    """Of `sad.pseudo_labels.report`, beside the json."""
    found = _read(os.path.splitext(pseudo_labels)[0] + "_report/report.json")
    try:
        measured = found["precision_recall_at_iou_0.5"]
        return {
            **{key: found[key] for key in ("threshold", "instances", "images_kept")},
            "score_histogram": found["score_histogram"],
            "measured": measured and measured["overall"],
        }
    except (KeyError, TypeError):
        return None


def _calibration(teacher: Run) -> dict | None:
    """Of `sad calibrate` in the folder beside the teacher's, if it is of these weights."""
    folder = os.path.join(os.path.dirname(os.path.abspath(teacher.directory)), "calibration")
    found = _read(os.path.join(folder, "calibration.json"))
    try:
        if found["teacher"]["weights_sha256"] != sha256(teacher.path(teacher.weights)):
            return None
        curves = next(iter(found["curves"].values()))  # of all classes
        return {
            "images": found["held_out"]["images"],
            "thresholds": found["curve_thresholds"],
            "precision": curves["precision"],
            "recall": curves["recall"],
        }
    except (KeyError, TypeError):
        return None


def _read(path: str):
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        logger.warning(f"{path} is left out of the report: {error}")
        return None


def curves_of(run: Run) -> dict:
    """What a run's metrics.json has over the iterations: {name: [iterations, values]}, and under
    "ratios" {term: the same} of each distillation loss over the detection losses.
    """
    keys = dict.fromkeys(key for line in run.metrics for key in line if key.endswith(RATIO))
    ratios = {
        key.removesuffix(RATIO).removeprefix("distill_"): list(run.curve(key))
        for key in sorted(keys)
    }
    return {
        "AP": list(run.accuracy_curve()),
        "class_loss": list(run.curve("loss_cls", "loss_fcos_cls")),
        "total_loss": list(run.curve("total_loss")),
        "ratios": ratios,
    }
