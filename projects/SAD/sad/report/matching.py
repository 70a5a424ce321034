"""What each model finds on an image, and which images show how the models differ."""

import numpy as np
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.structures import BoxMode, Instances

from ..evaluation.matching import match_boxes


def match(detections: Instances, record: dict) -> dict:
    """Which detections are right, as COCO's evaluation sees it at IoU 0.5.

    Args:
        detections: those above the score threshold.
        record: the image's dict, with annotations.
    Returns:
        boxes (M, 4), classes, scores and correct (M,) of the detections by falling score, without
        those on crowds; missed (P,): positions in the record's annotations of objects not found
    """
    detections = detections[detections.scores.argsort(descending=True, stable=True)]
    found = instances_to_coco_json(detections, img_id=0)
    labels = [
        {
            "image_id": 0,
            "category_id": annotation["category_id"],
            "bbox": BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYWH_ABS),
            "iscrowd": annotation.get("iscrowd", 0),
        }
        for annotation in record["annotations"]
    ]
    classes = {box["category_id"] for box in (*labels, *found)}
    categories = [{"id": number} for number in classes]
    correct, wrong, missed = match_boxes(labels, found, [0], categories)
    counted = correct | wrong
    return {
        "boxes": detections.pred_boxes.tensor.numpy()[counted],
        "classes": detections.pred_classes.numpy()[counted],
        "scores": detections.scores.numpy()[counted],
        "correct": correct[counted],
        "missed": np.flatnonzero(missed),
    }


def choose(matches: list[list[dict]], number: int) -> list[int]:
    """Positions of the images on which the runs' numbers of errors (wrong + missed) differ most.

    Args:
        matches: for each image the result of `match` for each run.
    """

    def spread(position):
        errors = [sum(~m["correct"]) + len(m["missed"]) for m in matches[position]]
        return max(errors) - min(errors)

    return sorted(range(len(matches)), key=spread, reverse=True)[:number]
