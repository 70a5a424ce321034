"""The pictures of report.html: training curves, and images with what each model finds on them."""

import os
from collections.abc import Callable

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..utils.drawing import DPI, MAX_TILE, RUN_COLORS
from .html import Paragraph, Picture, Pictures, Section
from .page import draw_curves, draw_detections, draw_truth, watched

CURVE = 5.2, 3.2  # inches


def training(names: list[str], curves: dict) -> Section:
    """Curves of each run.

    Args:
        names: of the runs.
        curves: see `sad.report.page.draw_page`.
    """
    handles = [
        Patch(color=RUN_COLORS[number % len(RUN_COLORS)], label=name)
        for number, name in enumerate(names)
    ]
    pictures = []
    for of_runs, title, style in watched(curves):
        figure = Figure(figsize=CURVE, dpi=DPI, facecolor="white", layout="constrained")
        axes = figure.subplots()
        draw_curves(axes, of_runs, "", **style)
        axes.legend(handles=handles, frameon=False, fontsize=9)
        pictures.append(Picture(figure, title))
    return Section("Training", [Pictures(pictures)])


def seen(report: dict, pictures: list, class_names: list[str]) -> Section:
    """The images on which the models differ most, one beside the other.

    Args:
        report, pictures, class_names: see `sad.report.page.draw_page`.
    """
    threshold = report["pictures"]["score_threshold"]
    parts = [
        Paragraph(
            f"Of {report['timed_images']} test images drawn by lot, those on which the models' "
            "numbers of wrong and missed objects differ most. Boxes: white labelled, blue right "
            "(class, and IoU at least 0.5), orange wrong, yellow missed; detections with a score "
            f"of {threshold:g} or more."
        )
    ]
    for record, matches in pictures:
        name = os.path.basename(record["file_name"])
        tiles = [_tile(record, f"{name}: labelled", draw_truth, record, class_names)]
        tiles += [
            _tile(record, run["name"], draw_detections, record, of_run, class_names)
            for run, of_run in zip(report["runs"], matches, strict=True)
        ]
        parts.append(Pictures(tiles))
    return Section("What the models see", parts)


def _tile(record: dict, title: str, draw: Callable, *arguments) -> Picture:
    """An image as one of the page's functions draws it, which returns the rest of the caption."""
    shape = record["height"] / record["width"]
    size = (MAX_TILE, MAX_TILE * shape) if shape <= 1 else (MAX_TILE / shape, MAX_TILE)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    caption = draw(figure.add_axes([0, 0, 1, 1]), *arguments)
    return Picture(figure, f"{title}, {caption}")
