"""Curves and bars of the runs, each in its colour, on axes of one look."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ..utils.drawing import DPI, INK, LINE, PALE, RUN_COLORS

SIZE, WIDE = (4.5, 3.2), (10.8, 3.2)  # inches


def run_color(number: int) -> str:
    return RUN_COLORS[number % len(RUN_COLORS)]


def new_plot(size=SIZE) -> tuple[Figure, object]:
    """(figure, its axes), to be part of a page."""
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    return figure, figure.subplots()


def add_legend(axes, names: Sequence[str], **style) -> None:
    """Which colour is which run's, below the axes."""
    handles = [Patch(color=run_color(number), label=name) for number, name in enumerate(names)]
    columns = 2 if len(names) in (2, 4) else min(3, len(names))
    columns = 1 if max(map(len, names)) > 28 else columns
    style = {"loc": "outside lower center", "ncols": columns, "frameon": False} | style
    axes.figure.legend(handles=handles, fontsize=10, labelcolor=INK, **style)


def style_axes(axes, title: str = "", grid: str = "y") -> None:
    if title:
        axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.grid(axis=grid, color=LINE, linewidth=0.8)
    axes.tick_params(colors=PALE, which="both", left=False)
    axes.tick_params(axis="x", labelcolor=INK)
    axes.xaxis.label.set_color(PALE)
    axes.yaxis.label.set_color(PALE)
    axes.set_axisbelow(True)


def draw_bars(axes, groups: Sequence[str], values: Sequence[Sequence[float]], fmt="") -> None:
    """Of each group a bar for each run.

    Args:
        values: for each run those of the groups; NaN leaves one out.
        fmt: of the numbers on the bars; "" for none.
    """
    width = 0.8 / len(values)
    for number, of_run in enumerate(values):
        places = np.arange(len(groups)) + (number - (len(values) - 1) / 2) * width
        bars = axes.bar(places, of_run, 0.92 * width, color=run_color(number))
        if fmt:
            size = 10 if len(values) <= 3 else 7.5
            labels = ["" if np.isnan(value) else fmt.format(value) for value in of_run]
            axes.bar_label(bars, labels, padding=2, fontsize=size, color=INK)
    axes.set_xticks(range(len(groups)), groups, fontsize=12)
    axes.tick_params(axis="x", length=0)
    if fmt:
        axes.set_ylim(top=1.1 * axes.get_ylim()[1])


def draw_accuracy(axes, runs: list[dict]) -> None:
    """Groups of bars: AP, AP50 and AP75 of each run."""
    metrics = ("AP", "AP50", "AP75")
    draw_bars(axes, metrics, [[run[metric] for metric in metrics] for run in runs], "{:.1f}")
    style_axes(axes, "Average precision (%)")


def watched(runs: list[dict]) -> list[tuple]:
    """(curve of each run, title, keywords of `draw_curves`) of what is worth to be watched.

    Args:
        runs: of report.json, with "curves".
    """

    def of(name: str) -> list:
        return [run["curves"][name] for run in runs]

    log = {"log": True}
    first = of("total_loss"), "Total loss (log scale)", log
    if all(len(iterations) != 1 for iterations, _ in of("AP")):  # not only at the end
        first = of("AP"), "AP while training", {"marker": "o"}
    return [first, (of("class_loss"), "Classification loss (log scale)", log)]


def draw_curves(axes, curves, title: str = "", log: bool = False, marker: str = "") -> None:
    """
    Args:
        curves: (iterations, values) of each run; of one that was trained elsewhere both are empty.
    """
    for number, (iterations, values) in enumerate(curves):
        color = run_color(number)
        if not values:
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


def running_mean(values: list[float]) -> np.ndarray:
    """Mean of the tenth of the curve around each value, of less at the ends."""
    kernel = np.ones(len(values) // 20 * 2 + 1)
    weights = np.convolve(np.ones(len(values)), kernel, "same")
    return np.convolve(values, kernel, "same") / weights
