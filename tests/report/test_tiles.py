"""Images with boxes on them."""

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from report_made import picture
from sad.report.tiles import draw_detections, draw_truth


@pytest.fixture
def axes():
    return Figure().subplots()


@pytest.fixture
def shown(toy):
    return picture(toy.root / "labeled" / "000001.png", runs=2)


def rectangles(axes) -> list:
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [[x.get_x(), x.get_y(), x.get_width(), x.get_height()] for x in found]


def test_labels_are_where_they_are(axes, shown):
    assert draw_truth(axes, shown, ["light", "dark"]) == "2 objects"
    assert rectangles(axes) == [[4, 4, 26, 26], [20, 9, 20, 31]]
    assert [text.get_text() for text in axes.texts] == ["light", "dark"]


def test_detections_and_what_they_miss(axes, shown):
    shown["runs"][1] = shown["runs"][1] | {"missed": [0], "right": [True]}
    assert draw_detections(axes, shown, 1, ["light", "dark"]) == "1 of 2 found, 0 wrong"
    assert rectangles(axes) == [[4, 4, 26, 26], [1, 2, 19, 28]]
    assert [text.get_text() for text in axes.texts] == ["dark  0.50"]


def test_right_wrong_and_missed_look_unlike(shown):
    looks = set()
    for right in (True, False):
        axes = Figure().subplots()
        shown["runs"][0] = shown["runs"][0] | {"right": [right]}
        draw_detections(axes, shown, 0, ["light", "dark"])
        looks |= {(x.get_edgecolor(), str(x.get_linestyle())) for x in axes.patches}
    assert len(looks) == 3
