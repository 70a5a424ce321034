"""The tables of calibration.json: AP, curves, and the thresholds that are worth a look."""

import contextlib
import io
import logging
import math

import numpy as np

from ..evaluation.coco_evaluator import evaluate_boxes, read_truth
from ..evaluation.rates import best_position, lowest_precise, rates
from ..pseudo_labels.coco_file import to_annotations
from ..utils.compat import derive_box_results
from .curves import Counts

ALL = "all classes"
WANTED_PRECISION = 0.7
DECIMALS = 4


def average_precision(json_file: str, held_out, detections: np.ndarray) -> dict:
    """COCO's AP, AP50 and AP75 in percent, and AP_per_class {name: AP, None without objects}.

    Args:
        held_out: sad.calibration.images.HeldOut, images of the json.
        detections: of these images, as in `sad.calibration.curves.judge`.
    """
    names = [category["name"] for category in held_out.categories]
    image_ids = [image["image_id"] for image in held_out.images]
    owners = [image_ids[position] for position in detections["image"]]
    results = to_annotations(detections, owners, held_out.categories)
    if not results:
        return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0, "AP_per_class": dict.fromkeys(names)}
    truth = read_truth(json_file)
    by_id = sorted(held_out.categories, key=lambda category: category["id"])
    with contextlib.redirect_stdout(io.StringIO()):
        found = evaluate_boxes(truth, results, image_ids)
    silent = logging.Logger("silent", logging.CRITICAL)
    values = derive_box_results(found, [category["name"] for category in by_id], silent)
    values = {name: None if math.isnan(x) else round(x, DECIMALS) for name, x in values.items()}
    per_class = {name: values.get(f"AP-{name}", values["AP"]) for name in names}
    return {name: values[name] for name in ("AP", "AP50", "AP75")} | {"AP_per_class": per_class}


def curves(counts: Counts, names: list[str]) -> dict:
    """Rates at all thresholds.

    Returns:
        curve_thresholds, T values, and curves, {all classes or a class: {precision, recall, f1}}
        with T values each; None for the precision of no boxes and the recall of no objects.
    """
    return {
        "curve_thresholds": counts.thresholds.tolist(),
        "curves": {
            name: {what: [row[what] for row in rows] for what in ("precision", "recall", "f1")}
            for name, rows in (
                (name, [_row(*sums, place) for place in range(len(counts.thresholds))])
                for name, sums in _sums(counts, names)
            )
        },
    }


def points(counts: Counts, names: list[str], start: float, chosen: dict[str, float]) -> list[dict]:
    """What the boxes are worth at four thresholds, for all classes together and for each.

    Args:
        start: the threshold that labelling would choose.
        chosen: {class name: threshold}
    Returns:
        a dict for each, with name, labels, and these dicts of threshold, boxes, precision, recall
        and f1: labelling (at `start`), best_f1, precise (the lowest threshold with a precision of
        WANTED_PRECISION, None where there is none) and chosen. The threshold of `chosen` is None
        for all classes, where these have different ones.
    """
    places = np.searchsorted(counts.thresholds, list(chosen.values()))
    rows = []
    for number, (name, (right, wrong, labels)) in enumerate(_sums(counts, names), start=-1):
        curve = rates(right, wrong, labels)
        precise = lowest_precise(curve.precision, right + wrong, WANTED_PRECISION)
        wanted = {
            "labelling": int(np.searchsorted(counts.thresholds, start)),
            "best_f1": int(best_position(curve.f1)),
            "precise": precise,
        }
        row = {"name": name, "labels": labels}
        for what, place in wanted.items():
            row[what] = None if place is None else _at(counts, right, wrong, labels, place)
        if name == ALL:
            each = np.arange(len(names)), places
            sums = (x.sum(axis=1)[each].sum(keepdims=True) for x in (counts.right, counts.wrong))
            one = len(set(chosen.values())) == 1
            row["chosen"] = {"threshold": next(iter(chosen.values())) if one else None}
            row["chosen"] |= _row(*sums, labels, 0)
        else:
            row["chosen"] = _at(counts, right, wrong, labels, places[number])
        rows.append(row)
    return rows


def _sums(counts: Counts, names: list[str]):
    """(name, (right (T,), wrong (T,), labels)) of all classes together, then of each."""
    sums = counts.right.sum(1), counts.wrong.sum(1), counts.labels.sum(1)
    yield ALL, (sums[0].sum(0), sums[1].sum(0), int(sums[2].sum()))
    for name, right, wrong, labels in zip(names, *sums, strict=True):
        yield name, (right, wrong, int(labels))


def _at(counts: Counts, right, wrong, labels: int, place: int) -> dict:
    return {"threshold": float(counts.thresholds[place]), **_row(right, wrong, labels, place)}


def _row(right, wrong, labels: int, place: int) -> dict:
    boxes = int(right[place] + wrong[place])
    here = rates(right[place, None], wrong[place, None], labels)
    values = (round(float(value[0]), DECIMALS) for value in here)
    precision, recall, f1 = values
    return {
        "boxes": boxes,
        "precision": precision if boxes else None,
        "recall": recall if labels else None,
        "f1": f1,
    }
