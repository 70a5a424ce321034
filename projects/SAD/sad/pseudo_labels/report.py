"""What to look at before training on hard targets: report.json, histogram.png, preview.png."""

import logging
import math
import os

import matplotlib
import numpy as np
from detectron2.structures import BoxMode
from detectron2.utils.visualizer import Visualizer
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from tabulate import tabulate

from ..data.categories import in_order
from ..data.coco_json import CocoJson
from ..data.images import read_image
from ..utils.files import atomic_write
from . import targets as pseudo_labels

logger = logging.getLogger(__name__)

NUM_BINS = 50
MEASURED_IMAGES = 5000  # at most, drawn by lot, where there are labels to measure by
PREVIEW_COLUMNS, PREVIEW_IMAGES, TILE, CAPTION = 4, 16, 400, 24  # TILE and CAPTION in pixels


def write_report(
    job,
    hard_targets: np.ndarray,
    threshold: float,
    unreadable: dict[int, str],
    *,
    truncated: list[int],
    score_counts: np.ndarray,
    image_counts: np.ndarray,
    floor: float,
    cap: int,
) -> dict:
    """Write and log the report on `job.output`, into <output without suffix>_report/.

    Args:
        job: sad.pseudo_labels.job.LabelingJob
        hard_targets: (M,) array of DETECTION, those at or above the threshold
        unreadable: {position in job.images: reason}
        truncated: positions of images that lack their last bytes, and were read
        score_counts: (SCORE_UNITS + 1,) number of detections, kept or not, with each score
        image_counts: (len(job.images),) and on each image
        floor: score below which the teacher reports nothing
        cap: most detections the teacher reports for an image
    Returns:
        the content of report.json
    """
    folder = os.path.splitext(job.output)[0] + "_report"
    os.makedirs(folder, exist_ok=True)
    report = summarize(
        job, hard_targets, threshold, unreadable, truncated, score_counts, image_counts, floor, cap
    )
    pseudo_labels.write_json(report, os.path.join(folder, "report.json"), indent=2)
    with atomic_write(os.path.join(folder, "histogram.png"), "wb") as file:
        draw_histogram(report).savefig(file, format="png", dpi=120)
    images = _sample(np.unique(hard_targets["image"]), PREVIEW_IMAGES)
    with atomic_write(os.path.join(folder, "preview.png"), "wb") as file:
        draw_preview(_excerpt(job, hard_targets, images), job.image_root).save(file, format="PNG")
    _log(report)
    logger.info(f"wrote {folder}/: report.json, histogram.png and preview.png, look at the last")
    return report


def _sample(positions: np.ndarray, size: int) -> np.ndarray:
    """As many drawn by lot (seed 0), in order."""
    return np.sort(np.random.default_rng(0).permutation(positions)[:size])


def _excerpt(job, hard_targets: np.ndarray, positions: np.ndarray) -> dict:
    """The hard targets' COCO json, of the images at these positions alone."""
    images = list(job.images.entries(positions))
    some = hard_targets[np.isin(hard_targets["image"], positions)]
    image_ids = [images[i]["id"] for i in np.searchsorted(positions, some["image"])]
    annotations = pseudo_labels.to_annotations(some, image_ids, job.categories)
    return {"images": images, "categories": job.categories, "annotations": annotations}


def summarize(
    job,
    hard_targets,
    threshold,
    unreadable,
    truncated,
    score_counts,
    image_counts,
    floor: float,
    cap: int,
) -> dict:
    """The numbers of the report; arguments as for `write_report`."""
    num_images = len(job.images) - len(unreadable)
    num_detections = int(score_counts.sum())
    kept_counts = np.bincount(hard_targets["image"], minlength=len(job.images))
    num_kept = int((kept_counts > 0).sum())
    per_class = np.bincount(hard_targets["category"], minlength=len(job.categories)).tolist()
    # The score 1 itself belongs to the last bin.
    histogram = score_counts[:-1].reshape(NUM_BINS, -1).sum(axis=1)
    histogram[-1] += score_counts[-1]
    at_cap, cut = int((image_counts >= cap).sum()), int((kept_counts >= cap).sum())
    report = {
        "output": job.output,
        "threshold": threshold,
        "score_floor": floor,
        "calibration": job.calibration,
        "mean_instances_per_image": len(hard_targets) / num_images,
        "instances": len(hard_targets),
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
        excerpt = _excerpt(job, hard_targets, _sample(readable, MEASURED_IMAGES))
        report["precision_recall_at_iou_0.5"] = _quality(job, excerpt)
    target_mean = job.calibration["target_mean"]
    if job.calibration["threshold"] is not None:
        if threshold <= floor:
            report["warnings"].append(
                f"the threshold {threshold} is not above the teacher's score floor {floor}, below "
                "which it reports nothing: lower MODEL.RETINANET.SCORE_THRESH_TEST"
            )
    elif len(hard_targets) == num_detections < target_mean * num_images:
        report["warnings"].append(
            f"the calibrated threshold falls under the teacher's score floor {floor}: all its "
            f"{num_detections} detections are kept and still make only "
            f"{report['mean_instances_per_image']:.2f} per image instead of {target_mean:.2f}; "
            "lower MODEL.RETINANET.SCORE_THRESH_TEST or train the teacher longer"
        )
    if cut:
        report["warnings"].append(
            f"{cut} images hit the cap of {cap} detections with scores above the threshold, so "
            "hard targets are perhaps lost there: raise TEST.DETECTIONS_PER_IMAGE"
        )
    return report


def _quality(job, excerpt: dict) -> dict:
    """Precision and recall of the hard targets by people's labels; the classes' ids may differ."""
    file = CocoJson(job.labels_json, whole=False)
    sizes = {image["id"]: (image["width"], image["height"]) for image in excerpt["images"]}
    image_ids = set(sizes)
    own = in_order(file.categories, job.class_names, file.where)
    ids = ((one["id"], other["id"]) for one, other in zip(own, job.categories, strict=True))
    new_id = dict(ids)
    labels = [
        {**label, "category_id": new_id[label["category_id"]]} for label in file.labels(sizes)
    ]
    rates = pseudo_labels.precision_recall(
        labels, excerpt["annotations"], sorted(image_ids), excerpt["categories"]
    )
    return {"images": len(image_ids), **rates}


def _log(report: dict) -> None:
    target_mean = report["calibration"]["target_mean"]
    wanted = "given by hand" if target_mean is None else f"wanted {target_mean:.3f}"
    logger.info(
        f"threshold {report['threshold']:.4f}: {report['instances']} hard targets, "
        f"{report['mean_instances_per_image']:.3f} per image ({wanted})"
    )
    logger.info(
        f"images: {report['images_kept']} kept, {report['images_dropped']} dropped as they have "
        f"no hard target, {report['images_unreadable']} unreadable, {report['images_left_out']} "
        f"left out; {report['images_truncated']} lack their last bytes"
    )
    if report["images_at_cap"] > report["images_cut_by_cap"]:
        logger.info(
            f"{report['images_at_cap']} images hit the cap of {report['detection_cap']} "
            f"detections, in {report['images_cut_by_cap']} all are above the threshold"
        )
    quality = report["precision_recall_at_iou_0.5"]
    rows = [[name, count] for name, count in report["instances_per_class"].items()]
    rows.append(["all", report["instances"]])
    headers = ["class", "hard targets"]
    if quality:
        headers += ["labels", "precision", "recall"]
        for row, rates in zip(
            rows, [*quality["per_class"].values(), quality["overall"]], strict=True
        ):
            row += [rates["labels"], rates["precision"], rates["recall"]]
    logger.info("\n" + tabulate(rows, headers, floatfmt=".3f", missingval="-"))
    for warning in report["warnings"]:
        logger.warning(warning)


def draw_histogram(report: dict) -> Figure:
    """Scores of all detections with the threshold, and the number of hard targets per class."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    scores, classes = figure.subplots(1, 2)
    edges = np.array(report["score_histogram"]["edges"])
    scores.stairs(report["score_histogram"]["counts"], edges, fill=True, color="tab:blue")
    scores.axvline(
        report["threshold"], color="tab:red", label=f"threshold {report['threshold']:.3f}"
    )
    scores.axvline(
        report["score_floor"],
        color="black",
        linestyle=":",
        label=f"score floor {report['score_floor']:g}",
    )
    scores.set(yscale="log", xlabel="score", ylabel="detections", xlim=(0, 1))
    scores.set_title(
        f"{report['instances']} of {report['detections']} detections kept", fontsize="medium"
    )
    scores.legend()
    names, counts = zip(*report["instances_per_class"].items(), strict=True)
    classes.bar(range(len(names)), counts, color="tab:red")
    size = "small" if len(names) <= 20 else "xx-small"
    classes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    classes.set_ylabel("hard targets")
    classes.set_title(
        f"{report['mean_instances_per_image']:.2f} per image, {report['images_kept']} images kept, "
        f"{report['images_dropped']} dropped",
        fontsize="medium",
    )
    return figure


def draw_preview(coco: dict, image_root: str) -> Image.Image:
    """A page of images with their hard targets: box, class, score."""
    images = coco["images"]
    targets = {image["id"]: [] for image in images}
    for annotation in coco["annotations"]:
        targets[annotation["image_id"]].append(annotation)
    colors = matplotlib.colormaps["hsv"](np.linspace(0, 1, len(coco["categories"]), endpoint=False))
    style = {  # category id -> (name, colour)
        category["id"]: (category["name"], color[:3])
        for category, color in zip(coco["categories"], colors, strict=True)
    }
    tiles = [
        _draw_image(os.path.join(image_root, image["file_name"]), targets[image["id"]], style)
        for image in images
    ]
    rows = [
        range(start, min(start + PREVIEW_COLUMNS, len(tiles)))
        for start in range(0, len(tiles), PREVIEW_COLUMNS)
    ]
    heights = [CAPTION + max(tiles[number].height for number in row) for row in rows]
    page = Image.new("RGB", (len(rows[0]) * TILE, sum(heights)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    y = 0
    for row, height in zip(rows, heights, strict=True):
        for x, number in zip(range(0, page.width, TILE), row, strict=False):
            image, tile = images[number], tiles[number]
            caption = f"{image['file_name'][-40:]}: {len(targets[image['id']])}"
            pen.text((x + 4, y + 4), caption, fill="black", font=font)
            page.paste(tile, (x + (TILE - tile.width) // 2, y + CAPTION))
        y += height
    return page


def _draw_image(path: str, annotations: list[dict], style: dict) -> Image.Image:
    image = read_image(path, "RGB", math.inf)  # as large as was allowed when it was labelled
    scale = (TILE - 8) / max(image.shape[:2])
    shrink = min(scale, 1)  # first, as matplotlib takes a minute for a large image
    size = [max(1, round(shrink * side)) for side in image.shape[1::-1]]
    image = np.asarray(Image.fromarray(image).resize(size))
    boxes = shrink * np.array([annotation["bbox"] for annotation in annotations])
    visualizer = Visualizer(image, scale=scale / shrink).overlay_instances(
        boxes=BoxMode.convert(boxes, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS),
        labels=[
            f"{style[annotation['category_id']][0]} {annotation['score']:.2f}"
            for annotation in annotations
        ],
        assigned_colors=[style[annotation["category_id"]][1] for annotation in annotations],
    )
    return Image.fromarray(visualizer.get_image())
