"""What to look at before training on pseudo-labels: report.json, histogram.png, preview.png."""

import logging
import math
import os
from collections import defaultdict

import numpy as np
from detectron2.structures import BoxMode
from matplotlib.figure import Figure
from tabulate import tabulate

from ..data.images import read_image
from ..utils.drawing import class_colors, contact_sheet, draw_box, show_image
from ..utils.files import atomic_write, write_json
from .coco_file import excerpt
from .thresholds import say

logger = logging.getLogger(__name__)

PREVIEW_COLUMNS, PREVIEW_IMAGES = 4, 16


def write_report(job, pseudo_labels: np.ndarray, report: dict) -> None:
    """Write and log the report on `job.output`, into <output without suffix>_report/.

    Args:
        job: sad.pseudo_labels.job.LabelingJob
        pseudo_labels: (M,) array of DETECTION
        report: see `sad.pseudo_labels.quality.summarize`
    """
    folder = os.path.splitext(job.output)[0] + "_report"
    os.makedirs(folder, exist_ok=True)
    write_json(os.path.join(folder, "report.json"), report, indent=2)
    some = excerpt(job, pseudo_labels, np.unique(pseudo_labels["image"]), PREVIEW_IMAGES)
    preview = draw_preview(some, job.image_root)
    for name, figure in (("histogram", draw_histogram(report)), ("preview", preview)):
        with atomic_write(os.path.join(folder, f"{name}.png"), "wb") as file:
            figure.savefig(file, format="png")
    _log(report)
    logger.info(f"wrote {folder}/: report.json, histogram.png and preview.png, look at the last")


def _log(report: dict) -> None:
    target_mean = report["calibration"]["target_mean"]
    wanted = "given by hand" if target_mean is None else f"wanted {target_mean:.3f}"
    logger.info(
        f"threshold {say(report['threshold'])}: {report['instances']} pseudo-labels, "
        f"{report['mean_instances_per_image']:.3f} per image ({wanted})"
    )
    logger.info(
        f"images: {report['images_kept']} kept, {report['images_dropped']} dropped as they have "
        f"no pseudo-label, {report['images_unreadable']} unreadable, {report['images_left_out']} "
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
    headers = ["class", "pseudo-labels"]
    if isinstance(report["threshold"], dict):
        headers += ["threshold"]
        values = [report["threshold"][name] for name in report["instances_per_class"]]
        for row, value in zip(rows, [*values, None], strict=True):
            row.append(value)
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
    """Scores of all detections with the threshold, and the number of pseudo-labels per class."""
    figure = Figure(figsize=(11, 4), dpi=120, layout="constrained")
    scores, classes = figure.subplots(1, 2)
    edges = np.array(report["score_histogram"]["edges"])
    scores.stairs(report["score_histogram"]["counts"], edges, fill=True, color="tab:blue")
    threshold = report["threshold"]
    by_class = threshold if isinstance(threshold, dict) else {}
    label = f"threshold {say(threshold, 3)}"
    for value in sorted(set(by_class.values()) or [threshold]):
        scores.axvline(value, color="tab:red", label=label)
        label = None  # in the legend once
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
    names = [f"{name} from {by_class[name]:.2f}" if by_class else name for name in names]
    classes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    classes.set_ylabel("pseudo-labels")
    classes.set_title(
        f"{report['mean_instances_per_image']:.2f} per image, {report['images_kept']} images kept, "
        f"{report['images_dropped']} dropped",
        fontsize="medium",
    )
    return figure


def draw_preview(coco: dict, image_root: str) -> Figure:
    """A page of images with their pseudo-labels: box, class, score."""
    boxes = defaultdict(list)
    for annotation in coco["annotations"]:
        boxes[annotation["image_id"]].append(annotation)
    colors = class_colors(len(coco["categories"]))
    style = {  # category id -> (name, colour)
        category["id"]: (category["name"], color)
        for category, color in zip(coco["categories"], colors, strict=True)
    }
    figure, places = contact_sheet(len(coco["images"]), PREVIEW_COLUMNS)
    for axes, entry in zip(places, coco["images"], strict=True):
        found = boxes[entry["id"]]
        path = os.path.join(image_root, entry["file_name"])
        show_image(axes, read_image(path, "RGB", math.inf))  # as large as was allowed when labelled
        axes.set_title(f"{entry['file_name'][-40:]}: {len(found)}", loc="left", fontsize=10)
        for annotation in found:
            name, color = style[annotation["category_id"]]
            box = BoxMode.convert(annotation["bbox"], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
            draw_box(axes, box, color, label=f"{name} {annotation['score']:.2f}", size=7)
    return figure
