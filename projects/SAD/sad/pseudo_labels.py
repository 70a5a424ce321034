"""Hard targets: the teacher's detections above a calibrated score, as a COCO json (section 4.2).

The detections of all images are one structured array, one row each (`DETECTION`), grouped by image.
"""

import contextlib
import io
import json

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .errors import UserError
from .files import atomic_write

DETECTION = np.dtype(
    [
        ("image", np.int32),  # position in the list of images
        ("box", np.float32, 4),  # x0, y0, x1, y1 in pixels of the image on disk
        ("category", np.int16),  # the teacher's class, 0 ... K - 1
        ("score", np.float64),  # rounded to SCORE_DECIMALS: what is calibrated is what is written
    ]
)
SCORE_DECIMALS = 6
BOX_DECIMALS = 2


def read_coco(path: str) -> dict:
    """A COCO json with or without annotations; categories, where given, sorted by id.

    Sorted by id is the order of the classes in Detectron2's models.

    Raises:
        UserError: the file is absent, cut short, not in COCO's format, lists no image or one twice.
    """
    try:
        with open(path, encoding="utf-8") as file:
            coco = json.load(file)
    except OSError as error:
        raise UserError(f"annotation file {path} cannot be opened: {error.strerror}") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise UserError(f"{path} is no whole json ({error}); write or copy it again") from error
    try:
        for image in coco["images"]:
            image["file_name"], image["width"], image["height"]
        for annotation in coco.get("annotations", ()):
            annotation["image_id"], annotation["category_id"], annotation["bbox"]
        num_ids = len({image["id"] for image in coco["images"]})
        coco["categories"] = sorted(coco.get("categories", ()), key=lambda item: item["id"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not in COCO's format ({type(error).__name__}: {error})"
        ) from error
    if not coco["images"]:
        raise UserError(f"{path} lists no images")
    if num_ids < len(coco["images"]):
        raise UserError(f"{path} gives the same id to several images")
    return coco


def count_instances(coco: dict) -> int:
    """Annotated instances of a COCO json, without crowds and boxes of no area."""
    image_ids = {image["id"] for image in coco["images"]}
    return sum(
        annotation["image_id"] in image_ids
        and not annotation.get("iscrowd", 0)
        and has_area(annotation)
        for annotation in coco.get("annotations", ())
    )


def has_area(annotation: dict) -> bool:
    """Boxes of no area occur in published labels; the training's loader leaves them out too."""
    return annotation["bbox"][2] > 0 and annotation["bbox"][3] > 0


def calibrate_threshold(scores: np.ndarray, num_images: int, target_mean: float) -> float:
    """The score at which keeping `score >= threshold` comes nearest to `target_mean` per image.

    Equal scores stay together; of two thresholds equally near, the higher one (fewer instances).

    Args:
        scores: of all detections of all images, in any order.
        num_images: all labelled images count, also those without a detection.
        target_mean: wanted mean number of instances per image.
    Raises:
        ValueError: there is no score.
    """
    if not len(scores):
        raise ValueError("there are no scores to choose a threshold from")
    values, counts = np.unique(scores, return_counts=True)
    values, kept = values[::-1], np.cumsum(counts[::-1])
    return float(values[np.argmin(np.abs(kept - target_mean * num_images))])  # argmin: the first


def hard_target_json(
    images: list[dict], categories: list[dict], detections: np.ndarray, info: dict
) -> dict:
    """A COCO json of detections; images without any are left out.

    Args:
        images: COCO image entries; `detections["image"]` are positions in this list.
        categories: COCO categories in the teacher's class order.
        detections: (M,) array of DETECTION.
        info: goes to the json as it is.
    """
    # Corners are rounded before they are subtracted, so that no box leaves its image by rounding.
    corners = detections["box"].astype(np.float64).round(BOX_DECIMALS)
    sizes = (corners[:, 2:] - corners[:, :2]).round(BOX_DECIMALS)
    boxes = np.concatenate([corners[:, :2], sizes], axis=1).tolist()
    areas = sizes.prod(axis=1).round(2 * BOX_DECIMALS).tolist()
    annotations = [
        {
            "id": number,
            "image_id": images[position]["id"],
            "category_id": categories[category]["id"],
            "bbox": box,
            "area": area,
            "iscrowd": 0,
            "score": score,
        }
        for number, (position, category, score, box, area) in enumerate(
            zip(
                detections["image"].tolist(),
                detections["category"].tolist(),
                detections["score"].tolist(),
                boxes,
                areas,
                strict=True,
            ),
            start=1,
        )
    ]
    kept = [images[position] for position in np.unique(detections["image"])]
    return {"info": info, "images": kept, "categories": categories, "annotations": annotations}


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
        labels: annotations by people, with image_id, category_id, bbox and perhaps iscrowd.
        targets: annotations by the teacher, of the same categories.
        image_ids: the images to look at, those without any target included.
        categories: COCO categories.
    Returns:
        {"overall": counts, "per_class": {name: counts}}; counts holds correct, targets, labels,
        precision (None without targets) and recall (None without labels).
    """
    labels = [  # numbered from 1: COCOeval takes a match to id 0 for no match
        {"iscrowd": 0, **label, "id": number, "area": label["bbox"][2] * label["bbox"][3]}
        for number, label in enumerate(filter(has_area, labels), start=1)
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
