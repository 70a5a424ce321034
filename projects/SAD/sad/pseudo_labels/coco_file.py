"""Pseudo-labels as a COCO json."""

import json

import numpy as np

from ..utils.files import atomic_write
from .detections import scores

BOX_DECIMALS = 2
ITEMS_AT_ONCE = 8192  # of a json that are Python objects at a time


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


def write_pseudo_labels(
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

    def annotations(some):
        ids = [image_ids[number] for number in image_of[some]]
        return to_annotations(detections[some], ids, categories, some.start + 1)

    with atomic_write(path) as file:
        file.write(f'{{"info": {encode(info)}, "images": [')
        write_items(len(positions), entries)
        file.write(f'], "categories": {encode(categories)}, "annotations": [')
        write_items(len(detections), annotations)
        file.write("]}")


def excerpt(job, pseudo_labels: np.ndarray, positions: np.ndarray, size: int) -> dict:
    """The json's content, of as many of the images at these positions, drawn by lot (seed 0)."""
    positions = np.sort(np.random.default_rng(0).permutation(positions)[:size])
    images = list(job.images.entries(positions))
    some = pseudo_labels[np.isin(pseudo_labels["image"], positions)]
    image_ids = [images[i]["id"] for i in np.searchsorted(positions, some["image"])]
    annotations = to_annotations(some, image_ids, job.categories)
    return {"images": images, "categories": job.categories, "annotations": annotations}
