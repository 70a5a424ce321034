"""Labels and detections of a few images: right, wrong in every way, and on crowds."""

import numpy as np

from sad.study.benchmarks.evaluation import make_set

IMAGES = 12


def made(seed=0, num_classes=4):
    """(content of a COCO json, detections); the last class has no objects, image 3 no detection."""
    rng = np.random.default_rng(seed)
    content, detections = make_set(IMAGES, num_classes=num_classes, seed=seed)
    labels = [x for x in content["annotations"] if x["category_id"] != num_classes]
    for number, label in enumerate(labels, start=1):
        label.update(id=number, iscrowd=int(number % 9 == 0))
    content["annotations"] = labels
    found = [x for x in detections if x["image_id"] != 3]
    for label in labels:
        if rng.random() < 0.8:  # about where the object is, of a class of its own or another
            x, y, w, h = label["bbox"]
            moved = rng.normal(0, rng.choice([0.02, 0.25]), 4) * [w, h, w, h]
            box = (np.array([x, y, w, h]) + moved).clip(1).tolist()
            other = int(rng.integers(1, num_classes + 1))
            category = label["category_id"] if rng.random() < 0.7 else other
            found.append({"image_id": label["image_id"], "category_id": category, "bbox": box})
    for box, score in zip(found, rng.permutation(len(found)), strict=True):
        box["score"] = float(score + 1) / (len(found) + 1)
    return content, found


def parts(content) -> tuple:
    """(labels, ids of the images, categories)"""
    images = [image["id"] for image in content["images"]]
    return content["annotations"], images, content["categories"]
