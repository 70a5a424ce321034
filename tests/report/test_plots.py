"""Bars and curves of the runs."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from report_made import report
from sad.report.plots import (
    add_legend,
    draw_accuracy,
    draw_bars,
    draw_curves,
    new_plot,
    run_color,
    running_mean,
    watched,
)

RUNS = [
    {"curves": {"AP": [[5, 10], [1.0, 2.0]], "total_loss": [[1, 2], [3.0, 2.0]]}},
    {"curves": {"AP": [[5, 10, 15], [0.0, 3.0, 4.0]], "total_loss": [[1, 2], [2.0, 1.0]]}},
]
for made in RUNS:
    made["curves"]["class_loss"] = [[1, 2], [1.0, 0.5]]


def test_running_mean_at_the_ends():
    assert running_mean([2.0, 4.0]) == pytest.approx([2, 4])  # too few to smooth
    curve = np.arange(20.0)
    smooth = running_mean(curve + 3 * (np.arange(20) % 3 == 0))  # a spike in each window of 3
    assert smooth[1:-1] == pytest.approx(curve[1:-1] + 1)
    assert smooth[[0, -1]] == pytest.approx([(3 + 1) / 2, (18 + 3 + 19) / 2])


def test_the_loss_is_watched_where_ap_was_found_at_the_end_alone():
    assert [title for _, title, _ in watched(RUNS)] == [
        "AP while training",
        "Classification loss (log scale)",
    ]
    once = [RUNS[0] | {"curves": RUNS[0]["curves"] | {"AP": [[10], [2.0]]}}, RUNS[1]]
    assert watched(once)[0][1] == "Total loss (log scale)"


def test_curves_of_each_run_in_its_colour():
    _, axes = new_plot()
    curves, _, style = watched(RUNS)[0]
    draw_curves(axes, [*curves, ([], [])], "title", **style)
    assert [line.get_ydata().tolist() for line in axes.lines] == [[1, 2], [0, 3, 4]]
    assert [to_hex(line.get_color()) for line in axes.lines] == [
        to_hex(run_color(number)) for number in range(2)
    ]


def test_a_legend_names_each_run_once_with_its_colour():
    figure, axes = new_plot()
    names = ["teacher", "student", "a name that is as long as this one", "d"]
    add_legend(axes, names)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    colors = [to_hex(patch.get_facecolor()) for patch in legend.get_patches()]
    assert colors == [to_hex(run_color(number)) for number in range(4)]


def test_bars_have_their_values_and_what_is_not_there_has_none():
    _, axes = new_plot()
    draw_bars(axes, ["a", "b"], [[1.0, np.nan], [3.0, 4.0]], "{:.1f}")
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    np.testing.assert_array_equal(heights, [[1, np.nan], [3, 4]])
    assert [text.get_text() for text in axes.texts] == ["1.0", "", "3.0", "4.0"]


def test_accuracy_has_three_bars_for_each_run():
    _, axes = new_plot()
    draw_accuracy(axes, report()["runs"])
    assert [len(bars) for bars in axes.containers] == [3] * 4
