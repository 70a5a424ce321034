"""How sure a difference of two models' AP is: a paired bootstrap over the test images.

Detections are matched with the labels once. A resample draws the images anew, with replacement, so
it is each image's number of copies, and COCO's AP of it follows from weighted counts.

In the comments below: B resamples, I images, T IoU thresholds, K classes, D detections of a class
and P of them that are right.
"""

import contextlib
import io
import json
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..data.coco_items import short
from ..utils.errors import UserError, reason
from .coco_evaluator import read_truth

AT_ONCE = 50  # resamples whose counts are held in memory
CONFIDENCE = 95  # percent
KEYS = {"image_id", "category_id", "bbox", "score"}


@dataclass(frozen=True)
class ClassMatches:
    """One model's detections of one class, by falling score, and the objects to be found."""

    objects: np.ndarray  # (I,) number in each image, crowds not counted
    image: np.ndarray  # (D,) position of its image
    right: np.ndarray  # (T, D) bool
    ignored: np.ndarray  # (T, D) bool, on crowds


def match_detections(truth: COCO, results: list[dict]) -> list[ClassMatches]:
    """Match a model's detections with the labels as COCO's evaluation does.

    Args:
        truth: the annotations, their ids from 1, see `read_truth`.
        results: detections as in COCO's results, on images of the truth; there may be none.
    Returns:
        the matches of each class, by category id.
    """
    # Not Detectron2's or hotcoco's evaluation: pycocotools' alone tells what matched.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(results) if results else COCO(), "bbox")
        params = evaluation.params
        params.areaRng, params.maxDets = params.areaRng[:1], params.maxDets[-1:]  # "all", 100
        evaluation.evaluate()
    images = len(params.imgIds)
    of_class = [
        evaluation.evalImgs[start : start + images]
        for start in range(0, len(evaluation.evalImgs), images)
    ]
    return [_by_score(found, len(params.iouThrs)) for found in of_class]


def _by_score(found: list[dict | None], thresholds: int) -> ClassMatches:
    """Of pycocotools' matches of one class in each image."""
    objects = np.zeros(len(found), np.int32)
    images, scores = [np.zeros(0, int)], [np.zeros(0)]
    matched, ignored = [np.zeros((thresholds, 0), bool)], [np.zeros((thresholds, 0), bool)]
    for position, result in enumerate(found):
        if result is None:
            continue
        objects[position] = np.count_nonzero(result["gtIgnore"] == 0)
        images.append(np.full(len(result["dtIds"]), position))
        scores.append(np.array(result["dtScores"], float))
        matched.append(result["dtMatches"] > 0)
        ignored.append(result["dtIgnore"])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    ignored = np.concatenate(ignored, axis=1)[:, order].astype(bool)
    right = np.concatenate(matched, axis=1)[:, order] & ~ignored
    return ClassMatches(objects, np.concatenate(images)[order], right, ignored)


def weighted_ap(matches: list[ClassMatches], copies: np.ndarray) -> np.ndarray:
    """COCO's AP of sets in which each test image occurs so many times.

    It is pycocotools' number for a json that lists the copies one after the other. Where an image
    has two detections of one class with one score, copies of the first count before the second's.

    Args:
        copies: (B, I) whole numbers of at least 0.
    Returns:
        (B, T, K) AP from 0 to 1 by IoU threshold and class; NaN where the set has none of a class.
    """
    copies = np.asarray(copies, np.int32)
    parts = [
        np.stack([_class_ap(of_class, copies[start : start + AT_ONCE]) for of_class in matches], -1)
        for start in range(0, len(copies), AT_ONCE)
    ]
    return np.concatenate(parts)


def _class_ap(of_class: ClassMatches, copies: np.ndarray) -> np.ndarray:
    """(B, T)"""
    thresholds = COCOeval(iouType="bbox").params.recThrs
    objects = copies @ of_class.objects  # (B,)
    seen = copies[:, of_class.image].cumsum(axis=1, dtype=np.int32)  # (B, D)
    ap = np.zeros((len(copies), len(of_class.right)))
    for t, (right, ignored) in enumerate(zip(of_class.right, of_class.ignored, strict=True)):
        # Precision is highest where a detection is right: no other place decides (B, P).
        places, left_out = np.flatnonzero(right), np.flatnonzero(ignored)
        found = copies[:, of_class.image[places]].cumsum(axis=1, dtype=np.int32)
        counted = seen[:, places]
        if len(left_out):
            on_crowds = copies[:, of_class.image[left_out]].cumsum(axis=1, dtype=np.int32)
            on_crowds = np.pad(on_crowds, ((0, 0), (1, 0)))
            counted = counted - on_crowds[:, np.searchsorted(left_out, places)]
        precision = found / (counted + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = found / np.maximum(objects, 1)[:, None]
        reached = np.searchsorted(thresholds, recall, side="right")
        steps = np.diff(reached, axis=1, prepend=0)
        ap[:, t] = (best * steps).sum(axis=1) / len(thresholds)
    ap[objects == 0] = np.nan
    return ap


def read_results(path: str, truth: COCO) -> list[dict]:
    """The detections that an evaluation has left behind.

    Args:
        path: coco_instances_results.json of a run.
    Raises:
        UserError: it is absent, broken, or of other images.
    """
    again = "evaluate the run again (train_net.py --eval-only)"
    try:
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): {again}") from error
    for box in results if type(results) is list else [results]:
        if not (type(box) is dict and KEYS <= box.keys()):
            raise UserError(f"{path} holds {short(box)}, no detection in COCO's form: {again}")
        if box["image_id"] not in truth.imgs:
            raise UserError(f"{path} is of other images, such as {short(box['image_id'])}: {again}")
    return results


def paired_bootstrap(
    json_file: str,
    detections: dict[str, str],
    pairs: list[tuple[str, str]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict:
    """Box AP and AP50 of models, and how far their differences hold beyond these test images.

    Args:
        json_file: COCO json of the test set.
        detections: name of a model -> its coco_instances_results.json.
        pairs: names (a, b), for the difference a - b.
    Returns:
        "arms": {name: {"AP", "AP50"}} in percent, as pycocotools finds them; "differences": for
        each pair {"AP", "AP50"}, each {"difference", "low", "high"} in points of AP: of the whole
        set, and the limits of the 95 % percentile interval. All models meet the same resamples; a
        class of which a resample has no object is left out of its mean.
    Raises:
        UserError: see `read_truth` and `read_results`; or the set has no boxes.
    """
    truth = read_truth(json_file)
    if all(label["iscrowd"] for label in truth.anns.values()):
        raise UserError(f"{json_file} has no boxes, so there is no AP")
    results = {name: read_results(path, truth) for name, path in detections.items()}
    draws = np.random.default_rng(seed)
    images = len(truth.imgs)
    copies = draws.multinomial(images, np.full(images, 1 / images), size=resamples)
    copies = np.concatenate([np.ones((1, images), int), copies])  # the set itself comes first
    values = {}
    for name, boxes in results.items():
        ap = 100 * weighted_ap(match_detections(truth, boxes), copies)
        ap = ap[(~np.isnan(ap)).any(axis=(1, 2))]  # resamples without any object have no AP
        values[name] = {
            "AP": np.nanmean(ap, axis=(1, 2)),
            "AP50": np.nanmean(ap[:, 0], axis=1),
        }
    return {
        "arms": {
            name: {metric: float(of_sets[0]) for metric, of_sets in of_arm.items()}
            for name, of_arm in values.items()
        },
        "differences": [
            {metric: _interval(values[a][metric] - values[b][metric]) for metric in values[a]}
            for a, b in pairs
        ],
    }


def _interval(differences: np.ndarray) -> dict[str, float]:
    """Of the whole set's difference and those of the resamples."""
    outside = (100 - CONFIDENCE) / 2
    low, high = np.percentile(differences[1:], [outside, 100 - outside])
    return {"difference": float(differences[0]), "low": float(low), "high": float(high)}
