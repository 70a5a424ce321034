"""Plots of how good and how fast the runs are."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from .html import Picture
from .plots import SIZE, WIDE, add_legend, draw_bars, new_plot, run_color, style_axes

MOST_CLASSES = 40  # in one plot; tables have all
SIZES = {"small": "under 32²", "medium": "32² to 96²", "large": "over 96² pixels"}


def results_plots(report: dict) -> list[Picture]:
    """Speed against accuracy, and AP by the objects' size."""
    return [speed(report), sizes(report)]


def speed(report: dict) -> Picture:
    figure, axes = new_plot()
    for number, run in enumerate(report["runs"]):
        style = {"s": 110, "color": run_color(number), "zorder": 3}
        axes.scatter(run["ms"], run["AP"], **style)
    axes.set(xlabel="ms per image", ylabel="AP (%)")
    axes.set_xlim(left=0, right=1.15 * axes.get_xlim()[1])
    low, high = axes.get_ylim()
    axes.set_ylim(max(0, low - 0.2 * (high - low)), high + 0.2 * (high - low))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    style_axes(axes)
    add_legend(axes, _names(report))
    return Picture(figure, "Speed against accuracy (best: up and left)")


def sizes(report: dict) -> Picture:
    figure, axes = new_plot()
    present = [
        size for size in SIZES if any(r["AP_by_size"][size] is not None for r in _runs(report))
    ]
    groups = [f"{size}\n{SIZES[size]}" for size in present]
    values = [[_number(run["AP_by_size"][size]) for size in present] for run in _runs(report)]
    draw_bars(axes, groups, values, "{:.0f}")
    axes.tick_params(axis="x", labelsize=10)
    style_axes(axes)
    add_legend(axes, _names(report))
    return Picture(figure, "AP by the objects' area in the image")


def classes(report: dict) -> Picture:
    names = list(report["classes"])[:MOST_CLASSES]
    wide = len(names) > 6
    figure, axes = new_plot(WIDE if wide else SIZE)
    values = [[_number(run["class_AP"].get(name)) for name in names] for run in _runs(report)]
    draw_bars(axes, [name[:18] for name in names], values)
    if max(map(len, names)) * len(names) > (100 if wide else 45):
        axes.tick_params(axis="x", labelrotation=90)
    axes.tick_params(axis="x", labelsize=10)
    style_axes(axes)
    add_legend(axes, _names(report))
    return Picture(figure, "AP of each class", wide)


def precision_recall(report: dict) -> list[Picture]:
    """At two IoUs, and F1 by score threshold; of the runs that have details."""
    pictures = []
    for iou in ("0.5", "0.75"):
        figure, axes = new_plot()
        for number, details in _detailed(report):
            curve = details["precision_recall"]
            axes.plot(curve["recall"], curve["precision"][iou], color=run_color(number), lw=2)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        style_axes(axes)
        add_legend(axes, _names(report))
        caption = f"Precision and recall at IoU {iou} (mean of the classes)"
        pictures.append(Picture(figure, caption))
    figure, axes = new_plot()
    for number, details in _detailed(report):
        rates, color = details["by_threshold"], run_color(number)
        axes.plot(rates["thresholds"], rates["f1"], color=color, lw=2)
        axes.scatter(details["threshold"], details["f1"], 45, color=color, zorder=3)
    axes.set(xlabel="score threshold", ylabel="F1", xlim=(0, 1), ylim=(0, 1.02))
    style_axes(axes)
    add_legend(axes, _names(report))
    caption = "F1 by score threshold (dots: this page's thresholds)"
    return [*pictures, Picture(figure, caption)]


def _detailed(report: dict):
    return [(n, run["details"]) for n, run in enumerate(report["runs"]) if run["details"]]


def _runs(report: dict) -> list[dict]:
    return report["runs"]


def _names(report: dict) -> list[str]:
    return [run["name"] for run in report["runs"]]


def _number(value: float | None) -> float:
    return np.nan if value is None else value
