"""Tiles, boxes and colours of the pictures."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from sad.utils.drawing import class_colors, contact_sheet, draw_box, show_image


@pytest.mark.parametrize("number", [1, 2, 80])
def test_classes_have_colours_of_their_own_that_dark_text_can_be_read_on(number):
    colors = class_colors(number)
    assert len({*colors}) == len(colors) == number
    assert all(max(to_rgb(color)) == 1 and min(to_rgb(color)) >= 0.39 for color in colors)


@pytest.mark.parametrize(("number", "rows"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_a_sheet_has_full_rows_and_shows_the_tiles_asked_for(number, rows):
    figure, places = contact_sheet(number, columns=3)
    assert len(places) == number and len(figure.axes) == 3 * rows
    assert figure.axes[:number] == places
    assert not any(axes.axison for axes in figure.axes[number:])


@pytest.mark.parametrize(("width", "height"), [(40, 30), (2000, 1000)])
def test_positions_are_those_of_the_image_however_small_it_is_shown(width, height):
    axes = Figure().subplots()
    show_image(axes, np.full((height, width, 3), 203, np.uint8))
    (shown,) = axes.images
    assert shown.get_extent() == [0, width, height, 0]
    assert max(shown.get_array().shape) <= 360
    assert (np.asarray(shown.get_array()) == 200).all()  # 203 in 5 bits


def test_a_box_and_its_label():
    axes = Figure().subplots()
    draw_box(axes, (3, 4, 13, 24), "#ff0000", label="cat")
    draw_box(axes, (0, 0, 1, 1), "#00ff00")
    first, second = axes.patches
    assert (*first.get_xy(), first.get_width(), first.get_height()) == (3, 4, 10, 20)
    assert first.get_edgecolor()[:3] == (1, 0, 0) and second.get_edgecolor()[:3] == (0, 1, 0)
    (label,) = axes.texts  # the second has none
    assert label.get_text() == "cat" and label.get_position() == (3, 4)


def test_a_name_that_is_no_formula_is_drawn_as_it_is():
    figure = Figure()
    draw_box(figure.subplots(), (0.1, 0.1, 0.9, 0.9), "#ff0000", label="$a_b_c$")
    FigureCanvasAgg(figure).draw()
