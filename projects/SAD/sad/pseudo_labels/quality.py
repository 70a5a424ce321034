"""The numbers of the report on pseudo-labels: how many, on how many images, and how right."""

import numpy as np

from ..data.categories import in_order
from ..data.coco_json import CocoJson
from ..evaluation.matching import match_boxes
from .coco_file import excerpt
from .thresholds import of_each_class

NUM_BINS = 50
MEASURED_IMAGES = 5000  # at most, drawn by lot, where there are labels to measure by


def summarize(
    job,
    pseudo_labels: np.ndarray,
    threshold: float,
    unreadable: dict[int, str],
    *,
    truncated: list[int],
    score_counts: np.ndarray,
    image_counts: np.ndarray,
    above_counts: np.ndarray,
    floor: float,
    floor_key: str,
    cap: int,
) -> dict:
    """The numbers of the report.

    Args:
        job: sad.pseudo_labels.job.LabelingJob
        pseudo_labels: (M,) array of DETECTION, those at or above the threshold
        threshold: of all classes, or {class name: threshold}
        unreadable: {position in job.images: reason}
        truncated: positions of images that lack their last bytes, and were read
        score_counts: (SCORE_UNITS + 1,) number of detections, kept or not, with each score
        image_counts: (len(job.images),) and on each image
        above_counts: (len(job.images),) those with scores above the lowest threshold
        floor, floor_key: score below which the teacher reports nothing, and the key that says it
        cap: most detections the teacher reports for an image
    Returns:
        the content of report.json
    """
    num_images = len(job.images) - len(unreadable)
    num_detections = int(score_counts.sum())
    kept_counts = np.bincount(pseudo_labels["image"], minlength=len(job.images))
    num_kept = int((kept_counts > 0).sum())
    per_class = np.bincount(pseudo_labels["category"], minlength=len(job.categories)).tolist()
    # The score 1 itself belongs to the last bin.
    histogram = score_counts[:-1].reshape(NUM_BINS, -1).sum(axis=1)
    histogram[-1] += score_counts[-1]
    at_cap, cut = int((image_counts >= cap).sum()), int((above_counts >= cap).sum())
    report = {
        "output": job.output,
        "threshold": threshold,
        "score_floor": floor,
        "calibration": job.calibration,
        "mean_instances_per_image": len(pseudo_labels) / num_images,
        "instances": len(pseudo_labels),
        "detections": num_detections,
        "images_listed": len(job.images),
        "images_kept": num_kept,
        "images_dropped": num_images - num_kept,
        "images_unreadable": len(unreadable),
        "images_truncated": len(truncated),
        "images_left_out": job.left_out,
        "detection_cap": cap,
        "images_at_cap": at_cap,
        "images_cut_by_cap": cut,
        "instances_per_class": {
            category["name"]: count
            for category, count in zip(job.categories, per_class, strict=True)
        },
        "score_histogram": {
            "edges": np.linspace(0, 1, NUM_BINS + 1).round(4).tolist(),
            "counts": histogram.tolist(),
        },
        "precision_recall_at_iou_0.5": None,
        "warnings": [],
        "unreadable": {job.path(position): reason for position, reason in unreadable.items()},
        "truncated": [job.path(position) for position in truncated],
    }
    if job.labels_json:
        readable = np.setdiff1d(np.arange(len(job.images)), list(unreadable))
        measured = excerpt(job, pseudo_labels, readable, MEASURED_IMAGES)
        report["precision_recall_at_iou_0.5"] = _quality(job, measured)
    target_mean = job.calibration["target_mean"]
    if job.calibration["threshold"] is not None:
        lowest = of_each_class(threshold, job.class_names).min()
        if lowest <= floor:
            report["warnings"].append(
                f"the threshold {lowest} is not above the teacher's score floor {floor}, below "
                f"which it reports nothing: lower {floor_key}"
            )
    elif len(pseudo_labels) == num_detections < target_mean * num_images:
        report["warnings"].append(
            f"the calibrated threshold falls under the teacher's score floor {floor}: all its "
            f"{num_detections} detections are kept and still make only "
            f"{report['mean_instances_per_image']:.2f} per image instead of {target_mean:.2f}; "
            f"lower {floor_key} or train the teacher longer"
        )
    if cut:
        report["warnings"].append(
            f"{cut} images hit the cap of {cap} detections with scores above the threshold, so "
            "pseudo-labels are perhaps lost there: raise TEST.DETECTIONS_PER_IMAGE"
        )
    return report


def _quality(job, measured: dict) -> dict:
    """Precision and recall of the pseudo-labels by people's labels; the classes' ids may differ."""
    file = CocoJson(job.labels_json, whole=False)
    sizes = {image["id"]: (image["width"], image["height"]) for image in measured["images"]}
    image_ids = set(sizes)
    own = in_order(file.categories, job.class_names, file.where)
    ids = ((one["id"], other["id"]) for one, other in zip(own, job.categories, strict=True))
    new_id = dict(ids)
    labels = [
        {**label, "category_id": new_id[label["category_id"]]} for label in file.labels(sizes)
    ]
    rates = precision_recall(
        labels, measured["annotations"], sorted(image_ids), measured["categories"]
    )
    return {"images": len(image_ids), **rates}


def precision_recall(
    labels: list[dict], pseudo_labels: list[dict], image_ids: list[int], categories: list[dict]
) -> dict:
    """How many pseudo-labels are right and how many labelled objects they find, at IoU 0.5.

    Boxes on crowds count neither way, see `match_boxes`.

    Args:
        labels: boxes by people, with image_id, category_id, bbox and perhaps iscrowd.
        pseudo_labels: annotations by the teacher, of the same categories.
        image_ids: the images to look at, those without any included.
        categories: COCO categories.
    Returns:
        {"overall": counts, "per_class": {name: counts}}; counts holds correct,
        pseudo_labels, labels, precision (None without pseudo-labels) and recall (None without
        labels).
    """
    correct, wrong, missed = match_boxes(labels, pseudo_labels, image_ids, categories)
    counts = {category["id"]: np.zeros(3, int) for category in categories}
    for box, right, counted in zip(pseudo_labels, correct, correct | wrong, strict=True):
        counts[box["category_id"]] += [right, counted, right]
    for label, alone in zip(labels, missed, strict=True):
        counts[label["category_id"]][2] += alone
    return {
        "overall": _rates(sum(counts.values())),
        "per_class": {category["name"]: _rates(counts[category["id"]]) for category in categories},
    }


def _rates(counts: np.ndarray) -> dict:
    correct, found, labels = counts.tolist()
    return {
        "correct": correct,
        "pseudo_labels": found,
        "labels": labels,
        "precision": correct / found if found else None,
        "recall": correct / labels if labels else None,
    }
