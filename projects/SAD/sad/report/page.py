"""The page of the report: one picture with scores, training curves and detections side by side.

All positions and sizes are in inches from the page's upper left corner, at DPI pixels per inch.
"""

import math
import textwrap

import numpy as np
from detectron2.structures import BoxMode
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ..data.images import read_image
from ..utils.drawing import DPI, INK, MAX_TILE, PALE, RUN_COLORS, draw_box, show_image

WIDTH, MARGIN = 16.0, 0.5
HEADER, CHARTS, KEY, CAPTION, FOOTER = 2.0, 3.9, 1.45, 0.38, 0.95
GAP = 0.25  # between tiles
# Boxes also differ in their lines.
TRUTH, CORRECT, WRONG, MISSED = "#FFFFFF", "#56B4E9", "#D55E00", "#F0E442"


class Page(Figure):
    """A figure that axes and text are put on by inches from the upper left corner."""

    def __init__(self, height: float):
        super().__init__(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
        self.height = height

    def axes_at(self, x, y, width, height):
        return self.add_axes(
            [x / WIDTH, 1 - (y + height) / self.height, width / WIDTH, height / self.height]
        )

    def text_at(self, x, y, text, **style):
        style = {"va": "top", "color": INK, "fontsize": 11} | style
        return self.text(x / WIDTH, 1 - y / self.height, text, **style)

    def square_at(self, x, y, size, **style):
        corner = (x / WIDTH, 1 - (y + size) / self.height)
        self.add_artist(Rectangle(corner, size / WIDTH, size / self.height, **style))


def draw_page(report: dict, curves: dict, pictures: list, class_names: list[str]) -> Page:
    """Draw the page.

    Args:
        report: content of report.json, see `sad.report.report.write_report`.
        curves: entry of metrics.json -> for each run (iterations, values).
        pictures: (dict of the image, result of `sad.report.matching.match` for each run).
        class_names: by class.
    """
    columns = 1 + len(report["runs"])
    tile_width = min(MAX_TILE, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    shape = np.median([record["height"] / record["width"] for record, _ in pictures])
    tile_height = tile_width * min(shape, 1.5)
    top_of_tiles = HEADER + CHARTS + KEY
    row = tile_height + CAPTION
    page = Page(top_of_tiles + len(pictures) * row + FOOTER)

    draw_header(page, report)
    step = (WIDTH - 2 * MARGIN + 0.4) / 3
    places = [
        page.axes_at(MARGIN + 0.35 + i * step, HEADER + 0.4, step - 0.75, CHARTS - 1.1)
        for i in range(3)
    ]
    draw_accuracy(places[0], report["runs"])
    for axes, (of_runs, title, style) in zip(places[1:], watched(curves), strict=True):
        draw_curves(axes, of_runs, title, **style)

    draw_key(page, HEADER + CHARTS, report["pictures"]["score_threshold"])
    names = ["Ground truth"] + [run["name"] for run in report["runs"]]
    for column, name in enumerate(names):
        color = RUN_COLORS[(column - 1) % len(RUN_COLORS)] if column else INK
        left = MARGIN + column * (tile_width + GAP)
        page.text_at(left, top_of_tiles - 0.4, name, fontsize=14, fontweight="bold", color=color)
        for number, (record, matches) in enumerate(pictures):
            top = top_of_tiles + number * row
            axes = page.axes_at(left, top, tile_width, tile_height)
            caption = (
                draw_detections(axes, record, matches[column - 1], class_names)
                if column
                else draw_truth(axes, record, class_names)
            )
            page.text_at(left, top + tile_height + 0.06, caption, fontsize=10.5, color=PALE)
    page.text_at(MARGIN, page.height - FOOTER + 0.15, footer(report), fontsize=10, color=PALE)
    return page


def draw_header(page: Page, report: dict) -> None:
    """Title, test set, and for each run its colour, name and cost."""
    page.text_at(MARGIN, 0.35, report["title"], fontsize=23, fontweight="bold")
    page.text_at(
        MARGIN,
        0.85,
        f"tested on {report['test_images']:,} images of {report['test_set']}",
        fontsize=13,
        color=PALE,
    )
    step = (WIDTH - 2 * MARGIN) / max(3, len(report["runs"]))
    for number, run in enumerate(report["runs"]):
        x = MARGIN + number * step
        page.square_at(x, 1.33, 0.36, color=RUN_COLORS[number % len(RUN_COLORS)])
        page.text_at(x + 0.5, 1.28, run["name"], fontsize=14, fontweight="bold")
        cost = (
            f"{run['parameters']:.2f} M parameters · {run['gflops']:.3g} GFLOPs · "
            f"{run['ms']:.1f} ms per image"
        )
        page.text_at(x + 0.5, 1.55, cost, fontsize=10.5, color=PALE)


def draw_accuracy(axes, runs: list[dict]) -> None:
    """Groups of bars: AP, AP50 and AP75 of each run."""
    metrics = ("AP", "AP50", "AP75")
    width = 0.8 / len(runs)
    for number, run in enumerate(runs):
        x = np.arange(len(metrics)) + (number - (len(runs) - 1) / 2) * width
        bars = axes.bar(
            x,
            [run[metric] for metric in metrics],
            0.92 * width,
            color=RUN_COLORS[number % len(RUN_COLORS)],
        )
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=10 if len(runs) <= 4 else 7)
    axes.set_xticks(range(len(metrics)), metrics, fontsize=12)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(top=1.1 * axes.get_ylim()[1])
    style_axes(axes, "Average precision (%)")


def watched(curves: dict) -> list[tuple]:
    """(curve of each run, title, keywords of `draw_curves`) of what is worth to be watched."""
    log = {"log": True}
    first = curves["total_loss"], "Total loss (log scale)", log
    if all(len(iterations) != 1 for iterations, _ in curves["bbox/AP"]):  # not only at the end
        first = curves["bbox/AP"], "AP while training", {"marker": "o"}
    return [first, (curves["loss_cls"], "Classification loss (log scale)", log)]


def draw_curves(axes, curves, title: str, log: bool = False, marker: str = "") -> None:
    for number, (iterations, values) in enumerate(curves):
        color = RUN_COLORS[number % len(RUN_COLORS)]
        if not values:  # trained elsewhere, and evaluated alone
            continue
        if log:
            axes.plot(iterations, values, color=color, alpha=0.3, linewidth=1)
            values = running_mean(values)
        axes.plot(iterations, values, color=color, linewidth=2.2, marker=marker, markersize=6)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel("iterations", color=PALE)
    style_axes(axes, title)


def style_axes(axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#BBBBBB")
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    axes.tick_params(colors=PALE, which="both", left=False)
    axes.tick_params(axis="x", labelcolor=INK)
    axes.set_axisbelow(True)


def running_mean(values: list[float]) -> np.ndarray:
    """Mean of the tenth of the curve around each value, of less at the ends."""
    kernel = np.ones(len(values) // 20 * 2 + 1)
    weights = np.convolve(np.ones(len(values)), kernel, "same")
    return np.convolve(values, kernel, "same") / weights


def draw_key(page: Page, y: float, threshold: float) -> None:
    """Heading of the pictures and what the boxes mean."""
    page.text_at(MARGIN, y, "What the models see", fontsize=16, fontweight="bold")
    x, y = MARGIN, y + 0.45
    for color, line, text, width in (
        (CORRECT, "-", "right class, IoU at least 0.5", 3.1),
        (WRONG, (0, (4, 1.5)), "wrong", 1.3),
        (MISSED, ":", "missed", 1.4),
    ):
        page.square_at(x, y, 0.24, facecolor="#555555", edgecolor=color, lw=2.5, linestyle=line)
        page.text_at(x + 0.36, y + 0.02, text)
        x += width
    page.text_at(x, y + 0.02, f"detections with a score of {threshold:g} or more", color=PALE)


def draw_truth(axes, record: dict, class_names: list[str]) -> str:
    show_image(axes, read_image(record["file_name"], "RGB", math.inf))
    for annotation in record["annotations"]:
        name = class_names[annotation["category_id"]]
        size = label_size(record["annotations"])
        draw_box(axes, annotation_box(annotation), TRUTH, "-", name, INK, size)
    return f"{len(record['annotations'])} objects"


def draw_detections(axes, record: dict, match: dict, class_names: list[str]) -> str:
    show_image(axes, read_image(record["file_name"], "RGB", math.inf))
    for position in match["missed"]:
        draw_box(axes, annotation_box(record["annotations"][position]), MISSED, ":")
    for box, label, score, correct in zip(
        match["boxes"], match["classes"], match["scores"], match["correct"], strict=True
    ):
        color, line = (CORRECT, "-") if correct else (WRONG, (0, (4, 1.5)))
        ink = INK if correct else "white"
        name = f"{class_names[label]}  {score:.2f}"
        draw_box(axes, box, color, line, name, ink, label_size(match["boxes"]))
    found, wrong = int(match["correct"].sum()), int((~match["correct"]).sum())
    return f"{found} of {found + len(match['missed'])} found, {wrong} wrong"


def annotation_box(annotation: dict) -> list[float]:
    return BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)


def label_size(boxes) -> float:
    """Points; where objects crowd, small labels cover less of them."""
    return 9 if len(boxes) <= 8 else 6


def footer(report: dict) -> str:
    """How the pictures were chosen and the numbers measured."""
    pictures = report["pictures"]
    text = (
        f"Images: of {report['timed_images']} drawn by lot (seed {pictures['seed']}), those on "
        "which the models' numbers of wrong and missed objects differ most. "
        f"GFLOPs: 1e9 multiply-adds for one image, as fvcore counts them. {timing(report)} "
        f"Made by: {report['command']}"
    )
    return textwrap.fill(text, 175)


def timing(report: dict) -> str:
    machine = report["machine"]
    return (
        f"Time: median of {report['timed_images']} images, one at a time, models in turn, on "
        f"{machine['device']} ({machine['cpu']}, {machine['cores']} cores, "
        f"torch threads: {machine['torch_threads']}, torch {machine['torch']})."
    )
