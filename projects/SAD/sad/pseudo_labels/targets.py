"""Hard targets: the teacher's detections above a calibrated score, as a COCO json (section 4.2).

Detections are rows of a structured array (`DETECTION`), 26 bytes each.
"""

import contextlib
import io
import json

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..utils.files import atomic_write

DETECTION = np.dtype(
    [
        ("image", np.int32),  # position in the list of images
        ("box", np.float32, 4),  # x0, y0, x1, y1 in pixels of the image on disk
        ("category", np.int16),  # the teacher's class, 0 ... K - 1
        ("score", np.int32),  # in SCORE_UNITS: what is calibrated is exactly what is written
    ]
)
SCORE_UNITS = 10**6  # 1 as a score, so the json has 6 decimals
BOX_DECIMALS = 2
ITEMS_AT_ONCE = 8192  # of a json that are Python objects at a time


def scores(detections: np.ndarray) -> np.ndarray:
    """Scores between 0 and 1 of an array of DETECTION."""
    return detections["score"] / SCORE_UNITS


def calibrate_threshold(counts: np.ndarray, num_images: int, target_mean: float) -> float:
    """The score at which keeping `score >= threshold` comes nearest to `target_mean` per image.

    Equal scores stay together; of two thresholds equally near, the higher one (fewer instances).

    Args:
        counts: (SCORE_UNITS + 1,) how many detections of all images have each score.
        num_images: all labelled images count, also those without a detection.
        target_mean: wanted mean number of instances per image.
    Raises:
        ValueError: there is no detection.
    """
    values = np.flatnonzero(counts)[::-1]
    if not len(values):
        raise ValueError("there are no scores to choose a threshold from")
    kept = np.cumsum(counts[values])
    best = np.argmin(np.abs(kept - target_mean * num_images))  # the first of equals
    return float(values[best] / SCORE_UNITS)


def to_annotations(
    detections: np.ndarray, image_ids: list, categories: list[dict], first_id: int = 1
) -> list[dict]:
    """COCO annotations of detections.

    Args:
        detections: (M,) array of DETECTION.
        image_ids: (M,) the id of each one's image.
        categories: COCO categories in the teacher's class order.
        first_id: they are numbered from here.
    """
    # Corners are rounded before they are subtracted, so that no box leaves its image by rounding.
    corners = detections["box"].astype(np.float64).round(BOX_DECIMALS)
    sizes = (corners[:, 2:] - corners[:, :2]).round(BOX_DECIMALS)
    boxes = np.concatenate([corners[:, :2], sizes], axis=1).tolist()
    areas = sizes.prod(axis=1).round(2 * BOX_DECIMALS).tolist()
    classes, values = detections["category"].tolist(), scores(detections).tolist()
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": categories[category]["id"],
            "bbox": box,
            "area": area,
            "iscrowd": 0,
            "score": score,
        }
        for number, (image_id, category, score, box, area) in enumerate(
            zip(image_ids, classes, values, boxes, areas, strict=True), start=first_id
        )
    ]


def write_hard_targets(
    path: str, images, categories: list[dict], detections: np.ndarray, info: dict
) -> None:
    """Write detections as a COCO json, a few at a time; images without any are left out.

    Args:
        images: sad.pseudo_labels.image_table.ImageTable; `detections["image"]` are positions in it.
        categories: COCO categories in the teacher's class order.
        detections: (M,) array of DETECTION, by rising position.
        info: goes to the json as it is.
    """
    encode = json.JSONEncoder(allow_nan=False).encode
    positions, counts = np.unique(detections["image"], return_counts=True)
    image_of = np.repeat(np.arange(len(positions)), counts)
    image_ids = []

    def write_items(total, items_from):
        for start in range(0, total, ITEMS_AT_ONCE):
            items = items_from(slice(start, start + ITEMS_AT_ONCE))
            file.write((", " if start else "") + encode(items)[1:-1])

    def entries(some):
        items = list(images.entries(positions[some]))
        image_ids.extend(item["id"] for item in items)
        return items

    def targets(some):
        ids = [image_ids[number] for number in image_of[some]]
        return to_annotations(detections[some], ids, categories, some.start + 1)

    with atomic_write(path) as file:
        file.write(f'{{"info": {encode(info)}, "images": [')
        write_items(len(positions), entries)
        file.write(f'], "categories": {encode(categories)}, "annotations": [')
        write_items(len(detections), targets)
        file.write("]}")


def write_json(content, path: str, indent: int | None = None) -> None:
    """Write a json that appears under its name whole or not at all."""
    with atomic_write(path) as file:
        json.dump(content, file, indent=indent, allow_nan=False)


def precision_recall(
    labels: list[dict], targets: list[dict], image_ids: list[int], categories: list[dict]
) -> dict:
    """How many hard targets are right and how many labelled objects they find, at IoU 0.5.

    COCO's matching: by falling score, each to the best free label of its class. Boxes on crowds
    count neither way.

    Args:
        labels: boxes by people, with image_id, category_id, bbox and perhaps iscrowd.
        targets: annotations by the teacher, of the same categories.
        image_ids: the images to look at, those without any target included.
        categories: COCO categories.
    Returns:
        {"overall": counts, "per_class": {name: counts}}; counts holds correct, targets, labels,
        precision (None without targets) and recall (None without labels).
    """
    labels = [  # numbered from 1: COCOeval takes a match to id 0 for no match
        {"iscrowd": 0, **label, "id": number, "area": label["bbox"][2] * label["bbox"][3]}
        for number, label in enumerate(labels, start=1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth, prediction = COCO(), COCO()
        for coco, annotations in ((truth, labels), (prediction, targets)):
            images = [{"id": image_id} for image_id in image_ids]
            coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
            coco.createIndex()
        evaluation = COCOeval(truth, prediction, "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluation.params.maxDets = [max(1, len(targets))]
        evaluation.evaluate()
    counts = {category["id"]: np.zeros(3, int) for category in categories}
    for result in filter(None, evaluation.evalImgs):  # one image and class
        counted = ~result["dtIgnore"][0].astype(bool)
        correct = (result["dtMatches"][0] > 0) & counted
        num_labels = np.sum(np.logical_not(result["gtIgnore"]))
        counts[result["category_id"]] += [correct.sum(), counted.sum(), num_labels]
    return {
        "overall": _rates(sum(counts.values())),
        "per_class": {category["name"]: _rates(counts[category["id"]]) for category in categories},
    }


def _rates(counts: np.ndarray) -> dict:
    correct, targets, labels = counts.tolist()
    return {
        "correct": correct,
        "targets": targets,
        "labels": labels,
        "precision": correct / targets if targets else None,
        "recall": correct / labels if labels else None,
    }
