"""Where the pictures of the tables put what was measured."""

from judged import CLAIMS, ROWS, aps
from sad.study import table_pictures


def test_table_picture():
    content = {"title": "Title", "rows": ROWS, "claims": CLAIMS}
    figure = table_pictures.table_picture(content, "digits")
    lines = figure.get_supxlabel().splitlines()
    assert lines[: len(CLAIMS)] == [
        "same sign in every seed: same sign (+1.2 ± 0.4, p 0.118, Holm's 0.118)",
        "held, after Holm too: held (+1.0 ± 0.1, p 0.007, Holm's 0.014)",
        "held, after Holm too: surely (+1.0 ± 0.0, p 0.000, Holm's 0.000)",
        "fewer than three seeds: no",
        "not run here: none",
    ]
    note = lines[len(CLAIMS) :]
    assert "3 claims" in " ".join(note) and max(map(len, note)) <= 150
    here, paper = figure.axes
    dots, mean = here.lines
    assert list(dots.get_xdata()) == [40, 42, 47] and list(mean.get_xdata()) == [43, 43]
    assert [line.get_xdata()[0] for line in paper.lines] == [28.8]
    assert [text.get_text() for text in here.texts] == ["not run here"]


def test_cost_picture():
    rows = [{**ROWS[0], "paper": [35.7, 123]}, {**ROWS[1], "paper": [34.4, 90]}]
    cost = {"rows": {"first": {"parameters": 1.5, "gflops": 0.123, "ms": 6.54}}}
    content = {"title": "T", "rows": rows, "cost": cost}
    here, flops, paper = table_pictures.cost_picture(content).axes
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in here.lines] == [(6.54, 43)]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in flops.lines] == [(0.123, 43)]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in paper.lines] == [
        (123, 35.7),
        (90, 34.4),
    ]


def test_curve_picture():
    curves = {"teacher": {0.1: aps(10, 12), 1.0: {}}, "SAD": {0.1: {}, 1.0: {}}}
    content = {"title": "T", "curves": curves}
    (axes,) = table_pictures.curve_picture(content).axes
    assert list(axes.lines[0].get_xdata()) == [10] and list(axes.lines[0].get_ydata()) == [11]
