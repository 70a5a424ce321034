"""Plots of the training: curves of each run, ratios of losses, and the teacher's boxes by score."""

import numpy as np
from matplotlib.ticker import NullFormatter

from ..utils.drawing import INK, PALE
from .html import Picture
from .plots import add_legend, draw_curves, new_plot, run_color, running_mean, style_axes, watched

LINES = ("-", "--", ":", "-.")  # of the terms of one run


def curves(report: dict) -> list[Picture]:
    names = [run["name"] for run in report["runs"]]
    pictures = []
    for of_runs, title, style in watched(report["runs"]):
        figure, axes = new_plot()
        draw_curves(axes, of_runs, **style)
        add_legend(axes, names)
        pictures.append(Picture(figure, title))
    return pictures


def ratios(report: dict) -> list[Picture]:
    """How large each distillation term is beside the detection losses; none where none is."""
    teaching = [(n, run) for n, run in enumerate(report["runs"]) if run["curves"]["ratios"]]
    if not teaching:
        return []
    figure, axes = new_plot()
    for number, run in teaching:
        terms = zip(run["curves"]["ratios"].items(), LINES * 9, strict=False)
        for (term, (iterations, values)), line in terms:
            color, label = run_color(number), f"{run['name']}: {term}"
            axes.plot(iterations, values, color=color, alpha=0.25, linewidth=1)
            smooth = running_mean(values)
            axes.plot(iterations, smooth, line, color=color, lw=2.2, label=label)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("iterations")
    style_axes(axes)
    figure.legend(loc="outside lower center", frameon=False, fontsize=10, labelcolor=INK)
    return [Picture(figure, "Each distillation loss over the sum of the detection losses")]


def pseudo_labels(report: dict) -> list[Picture]:
    """Precision and recall of the teacher's boxes by threshold, and its scores."""
    found, teacher = report["pseudo_labels"], _teacher(report)
    labels, held_out = found["labels"], found["held_out"]
    marks = _thresholds(labels["threshold"]) if labels else []
    figure, axes = new_plot()
    sources = [(held_out, "held-out images", "-")] if held_out else []
    if teacher and teacher["details"]:
        sources.append(
            (teacher["details"]["by_threshold"], "test images", "--" if held_out else "-")
        )
    for rates, where, line in sources:
        for what, color in (("precision", run_color(2)), ("recall", run_color(1))):
            values = [np.nan if value is None else value for value in rates[what]]
            axes.plot(
                rates["thresholds"], values, line, color=color, lw=2, label=f"{what}, {where}"
            )
    for number, mark in enumerate(marks):
        label = None if number else "threshold of the pseudo-labels"
        axes.axvline(mark, color=PALE, linewidth=1.2, linestyle=":", label=label)
    axes.set(xlabel="score threshold", xlim=(0, 1), ylim=(0, 1.02))
    style_axes(axes)
    figure.legend(loc="outside lower center", frameon=False, fontsize=10, labelcolor=INK)
    pictures = [Picture(figure, "The teacher's boxes at IoU 0.5")] if sources else []
    return [*pictures, _scores(labels, marks)] if labels else pictures


def _scores(labels: dict, marks: list[float]) -> Picture:
    figure, axes = new_plot()
    histogram = labels["score_histogram"]
    axes.stairs(histogram["counts"], histogram["edges"], fill=True, color=run_color(2))
    for mark in marks:
        axes.axvline(mark, color=PALE, linewidth=1.2, linestyle=":")
    axes.set(yscale="log", xlabel="score", ylabel="boxes on unlabelled images", xlim=(0, 1))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    style_axes(axes)
    return Picture(figure, "Scores of the teacher's boxes; those right of the dotted line are kept")


def _thresholds(threshold: float | dict) -> list[float]:
    return sorted(set(threshold.values())) if isinstance(threshold, dict) else [threshold]


def _teacher(report: dict) -> dict | None:
    name = (report["gain"] or {}).get("teacher")
    return next((run for run in report["runs"] if run["name"] == name), None)
