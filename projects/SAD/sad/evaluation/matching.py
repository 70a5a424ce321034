"""Which boxes are right and which objects are found: COCO's matching at IoU 0.5, box by box."""

import contextlib
import io
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

MATCH_IOU = 0.5


def match_boxes(
    labels: list[dict], found: list[dict], image_ids: list, categories: list[dict]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match detections with labelled objects, as COCO's evaluation does.

    By falling score, each goes to the best free object of its class. Boxes on crowds count neither
    way, nor do images and classes that are not given.

    Args:
        labels: P boxes by people, with image_id, category_id, bbox and perhaps iscrowd.
        found: M detections, likewise, with score.
        image_ids: the images to look at.
        categories: COCO categories.
    Returns:
        correct, wrong: (M,) bool, of each detection.
        missed: (P,) bool, of each labelled object.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth, prediction = (_index(boxes, image_ids, categories) for boxes in (labels, found))
        evaluation = COCOeval(truth, prediction, "bbox")
        evaluation.params.iouThrs = np.array([MATCH_IOU])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluation.params.maxDets = [max(1, len(found))]
        evaluation.evaluate()
    correct, wrong = np.zeros((2, len(found)), bool)
    missed = np.zeros(len(labels), bool)
    for result in filter(None, evaluation.evalImgs):  # one image and class
        matched, counted = result["dtMatches"][0] > 0, result["dtIgnore"][0] == 0
        positions = np.array(result["dtIds"], int) - 1
        correct[positions], wrong[positions] = matched & counted, ~matched & counted
        alone = (result["gtMatches"][0] == 0) & (result["gtIgnore"] == 0)
        missed[np.array(result["gtIds"], int) - 1] = alone
    return correct, wrong, missed


def overlaps(
    labels: list[dict], found: list[dict]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The IoUs of all detections with all labelled boxes, image by image.

    Args:
        labels, found: see `match_boxes`.
    Yields:
        positions (p,) in labels and (m,) in found of what is on an image, and IoUs (m, p); an
        image without either is left out.
    """
    on_image = defaultdict(lambda: ([], []))
    for kind, boxes in enumerate((labels, found)):
        for position, box in enumerate(boxes):
            on_image[box["image_id"]][kind].append(position)
    for objects, boxes in on_image.values():
        if objects and boxes:
            sides = (
                np.array([all_[i]["bbox"] for i in some], float)
                for all_, some in ((found, boxes), (labels, objects))
            )
            ious = mask.iou(*sides, [0] * len(objects))
            yield np.array(objects), np.array(boxes), ious


def _index(boxes: list[dict], image_ids: list, categories: list[dict]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image_id} for image_id in image_ids],
        "categories": categories,
        "annotations": [  # numbered from 1: COCOeval takes a match to id 0 for no match
            {"iscrowd": 0, **box, "id": number, "area": box["bbox"][2] * box["bbox"][3]}
            for number, box in enumerate(boxes, start=1)
        ],
    }
    coco.createIndex()
    return coco
