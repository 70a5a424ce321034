"""Plots of the training hold the numbers of report.json."""

import numpy as np
import pytest

from report_made import report
from sad.report.plots import running_mean
from sad.report.training_figures import curves, pseudo_labels, ratios


def test_curves_of_all_runs():
    first, second = curves(report())
    assert [picture.caption for picture in (first, second)] == [
        "AP while training",
        "Classification loss (log scale)",
    ]
    assert [line.get_ydata().tolist() for line in first.image.axes[0].lines] == [[3, 40]] * 4


def test_ratios_of_each_term_of_the_runs_that_distil():
    content = report()
    (picture,) = ratios(content)
    (axes,) = picture.image.axes
    values = content["runs"][3]["curves"]["ratios"]["class"][1]
    assert len(axes.lines) == 4
    np.testing.assert_allclose(axes.lines[0].get_ydata(), values)
    np.testing.assert_allclose(axes.lines[1].get_ydata(), running_mean(values))
    assert axes.lines[1].get_linestyle() != axes.lines[3].get_linestyle()
    texts = [text.get_text() for text in picture.image.legends[0].get_texts()]
    assert texts == ["SAD: class", "SAD: box"]
    content["runs"] = content["runs"][:3]
    assert ratios(content) == []


def test_precision_by_threshold_of_held_out_and_of_test_images():
    content = report()
    rates, scores = pseudo_labels(content)
    (axes,) = rates.image.axes
    held_out = axes.lines[0].get_ydata()
    assert held_out[:2] == pytest.approx([0.2, 0.6]) and np.isnan(held_out[2])
    teacher = content["runs"][0]["details"]["by_threshold"]
    assert axes.lines[2].get_ydata() == pytest.approx(teacher["precision"])
    assert axes.lines[-1].get_xdata()[0] == 0.4
    assert scores.image.axes[0].patches[0].get_data().values.tolist() == [100, 20]


def test_where_less_is_known_less_is_drawn():
    content = report()
    content["pseudo_labels"]["held_out"] = None
    assert len(pseudo_labels(content)[0].image.axes[0].lines) == 3
    content["runs"][0]["details"] = None
    assert len(pseudo_labels(content)) == 1  # the scores
    content["pseudo_labels"]["labels"] = None
    assert pseudo_labels(content) == []
    content = report() | {"gain": None}
    content["pseudo_labels"]["labels"]["threshold"] = {"light": 0.3, "dark": 0.6}
    rates, _ = pseudo_labels(content)
    marks = [line.get_xdata()[0] for line in rates.image.axes[0].lines[2:]]
    assert marks == [0.3, 0.6]
