"""Precision and recall of pseudo-labels."""

import numpy as np

from sad.pseudo_labels.coco_file import to_annotations
from sad.pseudo_labels.detections import DETECTION
from sad.pseudo_labels.quality import precision_recall

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
IMAGES = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 80} for i in (10, 11, 12)]


def detections(*rows):
    return np.array(
        [(image, box, category, round(score * 1e6)) for image, box, category, score in rows],
        DETECTION,
    )


def annotation(image_id, category_id, box, **more):
    return {"image_id": image_id, "category_id": category_id, "bbox": box, **more}


def test_precision_and_recall_by_hand():
    labels = [
        annotation(10, 3, [0, 0, 10, 10], id=0),  # id 0: COCOeval alone would miss the match
        annotation(10, 3, [50, 0, 10, 10], id=1),
        annotation(11, 7, [0, 0, 10, 10], id=2),
        annotation(11, 7, [0, 0, 40, 40], id=3, iscrowd=1),
    ]
    found = detections(
        (0, (0, 0, 10, 8), 0, 0.9),  # IoU 0.8: correct
        (0, (0, 0, 10, 10), 0, 0.8),  # the same object again: wrong
        (0, (50, 0, 54, 10), 0, 0.7),  # IoU 0.4: wrong
        (1, (0, 0, 10, 10), 0, 0.6),  # the dog, called a cat: wrong
        (1, (20, 20, 30, 30), 1, 0.5),  # in the crowd of dogs: does not count
        (2, (0, 0, 10, 10), 1, 0.4),  # in an image without labels: wrong
    )
    targets = to_annotations(found, [IMAGES[row["image"]]["id"] for row in found], CATEGORIES)
    result = precision_recall(labels, targets, [10, 11, 12], CATEGORIES)
    cat = {"correct": 1, "pseudo_labels": 4, "labels": 2, "precision": 0.25, "recall": 0.5}
    dog = {"correct": 0, "pseudo_labels": 1, "labels": 1, "precision": 0.0, "recall": 0.0}
    assert result["per_class"] == {"cat": cat, "dog": dog}
    assert result["overall"] == {
        "correct": 1,
        "pseudo_labels": 5,
        "labels": 3,
        "precision": 0.2,
        "recall": 1 / 3,
    }


def test_precision_and_recall_look_at_the_given_images_only():
    labels = [annotation(10, 3, [0, 0, 10, 10]), annotation(11, 3, [0, 0, 10, 10])]
    result = precision_recall(labels, [], [10], CATEGORIES)
    assert result["overall"] == {
        "correct": 0,
        "pseudo_labels": 0,
        "labels": 1,
        "precision": None,
        "recall": 0.0,
    }
    assert result["per_class"]["dog"]["recall"] is None
