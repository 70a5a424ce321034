"""Plots of what the runs get wrong: confusion matrices, and what each kind of error costs."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..utils.drawing import DPI, INK, PALE
from .html import Picture
from .plots import WIDE, add_legend, draw_bars, new_plot, style_axes

MOST_CLASSES = 20  # of one matrix: those that are taken for others most often
CELL_COLOR = "#0072B3"  # of no run, and the same in the dark
NOTHING, BACKGROUND = "no detection", "no object left"
KIND_NAMES = {  # as TIDE lists them
    "class": "wrong class",
    "place": "badly placed",
    "both": "both",
    "duplicate": "duplicate",
    "background": "background",
    "missed": "missed",
}


def costs(report: dict) -> Picture:
    """What AP50 each kind of error costs, of the runs that have details."""
    figure, axes = new_plot(WIDE)
    none = dict.fromkeys(KIND_NAMES, np.nan)
    values = [
        [(run["details"] or {"costs": none})["costs"][kind] for kind in KIND_NAMES]
        for run in report["runs"]
    ]
    draw_bars(axes, list(KIND_NAMES.values()), values, "{:.1f}")
    style_axes(axes)
    add_legend(axes, [run["name"] for run in report["runs"]])
    return Picture(figure, "Points of AP50 that each kind of error costs", wide=True)


def matrices(report: dict) -> list[Picture]:
    """A confusion matrix for each run that has details."""
    names = list(report["classes"])
    detailed = [run for run in report["runs"] if run["details"]]
    shown = range(len(names))
    if len(names) > MOST_CLASSES:
        shown = most_confused([np.array(run["details"]["confusion"]) for run in detailed])
    pictures = []
    for run in detailed:
        matrix = np.array(run["details"]["confusion"])
        keep = [*shown, len(names)]
        figure = draw_matrix(
            matrix[np.ix_(keep, keep)], matrix.sum(axis=1)[keep], [names[i] for i in shown]
        )
        caption = f"{run['name']}, score from {run['details']['threshold']:g}"
        pictures.append(Picture(figure, caption))
    return pictures


def most_confused(matrices: list[np.ndarray]) -> list[int]:
    """The classes with the most objects and detections that another class has, in their order."""
    total = sum(matrices)[:-1, :-1]
    wrong = total.sum(axis=0) + total.sum(axis=1) - 2 * total.diagonal()
    return sorted(np.argsort(-wrong, kind="stable")[:MOST_CLASSES].tolist())


def draw_matrix(matrix: np.ndarray, objects: np.ndarray, names: list[str]) -> Figure:
    """
    Args:
        matrix: (K + 1, K + 1) of K classes, see `confusion_matrix`.
        objects: (K + 1,) what shares of a row are of: sums of the whole rows.
    """
    size = len(matrix)
    side = max(3.6, 0.36 * size + 1.4)
    figure = Figure(figsize=(side, side), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    font = 9 if size <= 12 else 7
    for row, column in np.argwhere(matrix):
        count = matrix[row, column]
        share = count / objects[row] if row < size - 1 else 0
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=CELL_COLOR, alpha=share, linewidth=0))
        style = {"color": "#fffffe" if share > 0.55 else INK, "fontsize": font}
        axes.text(column, row, f"{count}", ha="center", va="center", **style)
    ticks = range(size)
    short = [name if len(name) <= 14 else f"{name[:12]}…" for name in names]
    turn = 90 if max(map(len, short)) > 3 else 0
    axes.set_xticks(ticks, [*short, NOTHING], rotation=turn, fontsize=font)
    axes.set_yticks(ticks, [*short, BACKGROUND], fontsize=font)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
    axes.set_xlabel("detected")
    axes.set_ylabel("labelled")
    style_axes(axes, grid="both")
    axes.grid(False)
    axes.axhline(size - 1.5, color=PALE, linewidth=0.8)
    axes.axvline(size - 1.5, color=PALE, linewidth=0.8)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    return figure
