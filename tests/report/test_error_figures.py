"""Plots of errors hold the numbers of report.json."""

import numpy as np
from matplotlib.patches import Rectangle

from report_made import details, report
from sad.evaluation.error_kinds import KINDS
from sad.report.error_figures import KIND_NAMES, costs, draw_matrix, matrices, most_confused


def test_every_kind_has_a_name_and_a_bar():
    assert [*KIND_NAMES] == [*KINDS, "missed"]
    content = report()
    content["runs"][0]["details"] = None
    (axes,) = costs(content).image.axes
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert np.isnan(heights[0]).all()
    wanted = content["runs"][1]["details"]["costs"]
    assert heights[1] == [wanted[kind] for kind in KIND_NAMES]


def cells(axes) -> dict:
    """{(row, column): (count, shade)}"""
    counts = {tuple(map(round, x.get_position()[::-1])): x.get_text() for x in axes.texts}
    shades = {
        (round(x.get_y() + 0.5), round(x.get_x() + 0.5)): x.get_alpha()
        for x in axes.patches
        if isinstance(x, Rectangle)
    }
    assert counts.keys() == shades.keys()
    return {place: (int(counts[place]), shades[place]) for place in counts}


def test_cells_and_their_shades():
    matrix = np.array([[6, 1, 1], [0, 3, 3], [2, 0, 0]])
    (axes,) = draw_matrix(matrix, matrix.sum(axis=1), ["a", "b"]).axes
    assert cells(axes) == {
        (0, 0): (6, 0.75), (0, 1): (1, 0.125), (0, 2): (1, 0.125),
        (1, 1): (3, 0.5), (1, 2): (3, 0.5),
        (2, 0): (2, 0),
    }  # fmt: skip
    assert [x.get_text() for x in axes.get_xticklabels()] == ["a", "b", "no detection"]
    assert [x.get_text() for x in axes.get_yticklabels()] == ["a", "b", "no object left"]


def test_a_matrix_for_each_run_with_details():
    content = report()
    content["runs"][0]["details"] = None
    captions = [picture.caption for picture in matrices(content)]
    assert captions == [f"{name}, score from 0.4" for name in ("alone", "longer", "SAD")]


def test_of_many_classes_those_that_are_confused():
    content = report(names=("one",))
    content["classes"] = {f"class {n}": 1 for n in range(30)}
    found = details(classes=30)
    matrix = np.diag(np.full(31, 50))
    matrix[25, 3] = matrix[7, 25] = 9
    matrix[30, :30] = 40  # on nothing: not a confusion
    content["runs"][0]["details"] = found | {"confusion": matrix.tolist()}
    assert {3, 7, 25} < set(most_confused([matrix])) and len(most_confused([matrix])) == 20
    (axes,) = matrices(content)[0].image.axes
    names = [x.get_text() for x in axes.get_yticklabels()]
    assert len(names) == 21 and "class 25" in names
    shade = cells(axes)[names.index("class 25"), names.index("class 3")][1]
    assert shade == 9 / 59


def test_nothing_at_all():
    matrix = np.zeros((2, 2), int)
    (axes,) = draw_matrix(matrix, matrix.sum(axis=1), ["a"]).axes
    assert not axes.texts
