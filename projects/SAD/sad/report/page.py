"""The page of the report as one picture: scores, training curves and detections side by side.

All positions and sizes are in inches from the page's upper left corner, at DPI pixels per inch.
"""

import math
import textwrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..utils.drawing import DPI, INK, MAX_TILE, PALE
from .plots import draw_accuracy, draw_curves, run_color, watched
from .tiles import DASHED, DOTTED, MISSED, RIGHT, WRONG, draw_detections, draw_truth
from .wording import shown_detections, timing

WIDTH, MARGIN = 16.0, 0.5
HEADER, ROW_OF_RUNS, CHARTS, KEY, CAPTION, LINE = 1.2, 1.05, 3.9, 1.45, 0.38, 0.17
RUNS_IN_ROW = 4
GAP = 0.25  # between tiles


class Page(Figure):
    """A figure that axes and text are put on by inches from the upper left corner."""

    def __init__(self, height: float):
        super().__init__(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
        self.height = height
        self.renderer = FigureCanvasAgg(self).get_renderer()

    def axes_at(self, x, y, width, height):
        return self.add_axes(
            [x / WIDTH, 1 - (y + height) / self.height, width / WIDTH, height / self.height]
        )

    def text_at(self, x, y, text, width: float = math.inf, **style):
        """Smaller where it would be wider than `width`."""
        style = {"va": "top", "color": INK, "fontsize": 11} | style
        drawn = self.text(x / WIDTH, 1 - y / self.height, text, **style)
        for _ in range(3):  # hinted letters do not shrink in proportion
            needed = drawn.get_window_extent(self.renderer).width / DPI
            if needed > width:
                drawn.set_fontsize(drawn.get_fontsize() * min(width / needed, 0.99))
        return drawn

    def square_at(self, x, y, size, **style):
        corner = (x / WIDTH, 1 - (y + size) / self.height)
        self.add_artist(Rectangle(corner, size / WIDTH, size / self.height, **style))


def draw_page(report: dict) -> Page:
    """
    Args:
        report: content of report.json, see `sad.report.report.write_report`.
    """
    columns = 1 + len(report["runs"])
    tile_width = min(MAX_TILE, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    pictures = report["pictures"]["images"][: report["pictures"]["number"]]
    shape = np.median([picture["height"] / picture["width"] for picture in pictures])
    tile_height = tile_width * min(shape, 1.5)
    header = HEADER + math.ceil(len(report["runs"]) / RUNS_IN_ROW) * ROW_OF_RUNS
    top_of_tiles = header + CHARTS + KEY
    row = tile_height + CAPTION
    small = footer(report)
    end = top_of_tiles + len(pictures) * row
    page = Page(end + 0.35 + LINE * (1 + small.count("\n")))

    draw_header(page, report)
    draw_charts(page, report["runs"], header)
    draw_key(page, header + CHARTS, report)
    class_names = list(report["classes"])
    names = ["Ground truth"] + [run["name"] for run in report["runs"]]
    for column, name in enumerate(names):
        color = run_color(column - 1) if column else INK
        left = MARGIN + column * (tile_width + GAP)
        style = {"fontsize": 14, "fontweight": "bold", "color": color}
        page.text_at(left, top_of_tiles - 0.4, name, tile_width, **style)
        for number, picture in enumerate(pictures):
            top = top_of_tiles + number * row
            axes = page.axes_at(left, top, tile_width, tile_height)
            caption = (
                draw_detections(axes, picture, column - 1, class_names)
                if column
                else draw_truth(axes, picture, class_names)
            )
            style = {"fontsize": 10.5, "color": PALE}
            page.text_at(left, top + tile_height + 0.06, caption, tile_width, **style)
    page.text_at(MARGIN, end + 0.15, small, fontsize=10, color=PALE)
    return page


def draw_header(page: Page, report: dict) -> None:
    """Title, test set, and for each run its colour, name and cost."""
    width = WIDTH - 2 * MARGIN
    page.text_at(MARGIN, 0.35, report["title"], width, fontsize=23, fontweight="bold")
    text = f"tested on {report['test_images']:,} images of {report['test_set']}"
    page.text_at(MARGIN, 0.85, text, width, fontsize=13, color=PALE)
    step = width / min(max(3, len(report["runs"])), RUNS_IN_ROW)
    for number, run in enumerate(report["runs"]):
        x = MARGIN + number % RUNS_IN_ROW * step
        y = HEADER + number // RUNS_IN_ROW * ROW_OF_RUNS
        page.square_at(x, y + 0.13, 0.36, color=run_color(number))
        room = step - 0.7
        page.text_at(x + 0.5, y + 0.08, run["name"], room, fontsize=14, fontweight="bold")
        size = f"{run['parameters']:.2f} M parameters · {run['gflops']:.3g} GFLOPs"
        for line, text in enumerate((size, f"{run['ms']:.1f} ms per image")):
            place = y + 0.36 + 0.2 * line
            page.text_at(x + 0.5, place, text, room, fontsize=10.5, color=PALE)


def draw_charts(page: Page, runs: list[dict], top: float) -> None:
    step = (WIDTH - 2 * MARGIN + 0.4) / 3
    places = [
        page.axes_at(MARGIN + 0.35 + i * step, top + 0.4, step - 0.75, CHARTS - 1.1)
        for i in range(3)
    ]
    draw_accuracy(places[0], runs)
    for axes, (of_runs, title, style) in zip(places[1:], watched(runs), strict=True):
        draw_curves(axes, of_runs, title, **style)


def draw_key(page: Page, y: float, report: dict) -> None:
    """Heading of the pictures and what the boxes mean."""
    page.text_at(MARGIN, y, "What the models see", fontsize=16, fontweight="bold")
    x, y = MARGIN, y + 0.45
    for color, line, text, width in (
        (RIGHT, "-", "right class, IoU at least 0.5", 3.1),
        (WRONG, DASHED, "wrong", 1.3),
        (MISSED, DOTTED, "missed", 1.4),
    ):
        page.square_at(x, y, 0.24, facecolor="#555555", edgecolor=color, lw=2.5, linestyle=line)
        page.text_at(x + 0.36, y + 0.02, text)
        x += width
    page.text_at(x, y + 0.02, shown_detections(report), WIDTH - MARGIN - x, color=PALE)


def footer(report: dict) -> str:
    """How the pictures were chosen and the numbers measured."""
    text = (
        f"Images: of {report['pictures']['from']:,}, those on which the models' numbers of wrong "
        "and missed objects differ most. "
        f"GFLOPs: 1e9 multiply-adds for one image, as fvcore counts them. {timing(report)} "
        f"Made by: {report['command']}"
    )
    return textwrap.fill(text, 175)
