"""Plots of results hold the numbers of report.json."""

import numpy as np
import pytest

from report_made import report
from sad.report.result_figures import classes, precision_recall, results_plots


def legends(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_speed_and_accuracy():
    content = report()
    (axes,) = results_plots(content)[0].image.axes
    points = [tuple(x.get_offsets()[0]) for x in axes.collections]
    assert points == [(run["ms"], run["AP"]) for run in content["runs"]]
    assert all(x0 < x < x1 for (x0, x1) in [axes.get_xlim()] for x, _ in points)
    assert all(y0 < y < y1 for (y0, y1) in [axes.get_ylim()] for _, y in points)


def test_sizes_that_no_run_has_are_left_out():
    figure = results_plots(report())[1].image
    (axes,) = figure.axes
    assert [len(bars) for bars in axes.containers] == [2] * 4  # small and medium
    assert [bar.get_height() for bar in axes.containers[0]] == [30, 50]
    assert legends(figure) == ["teacher", "alone", "longer", "SAD"]


def test_classes_without_objects_have_no_bar():
    picture = classes(report())
    (axes,) = picture.image.axes
    heights = [bar.get_height() for bar in axes.containers[0]]
    assert heights[0] == 51.04 and np.isnan(heights[1]) and not picture.wide
    many = report() | {"classes": {f"class {n}": 1 for n in range(90)}}
    assert len(classes(many).image.axes[0].containers[0]) == 40 and classes(many).wide


def test_curves_of_runs_with_details():
    content = report()
    content["runs"][1]["details"] = None
    half, strict, f1 = (picture.image.axes[0] for picture in precision_recall(content))
    wanted = content["runs"][3]["details"]
    for axes, iou in ((half, "0.5"), (strict, "0.75")):
        assert len(axes.lines) == 3
        line = axes.lines[-1]
        assert line.get_ydata() == pytest.approx(wanted["precision_recall"]["precision"][iou])
    assert f1.lines[-1].get_ydata() == pytest.approx(wanted["by_threshold"]["f1"])
    dot = f1.collections[-1].get_offsets()[0].tolist()
    assert dot == pytest.approx([wanted["threshold"], wanted["f1"]])
