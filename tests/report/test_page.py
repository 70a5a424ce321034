"""The page as a picture: no text lies on another, however many runs and however slow they are."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from report_made import NAMES, picture, report
from sad.report.page import draw_page

LONG = ("a teacher with a long name", "the student alone, as long", "c", "d", "e", "f")


def texts(figure) -> list:
    """(text, its extent) of all texts, those of the axes too."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    found = [text for text in figure.texts]
    found += [x for axes in figure.axes for x in (axes.title, axes._left_title)]
    return [(x.get_text(), x.get_window_extent(renderer)) for x in found if x.get_text()]


@pytest.mark.parametrize("names", [("alone",), NAMES, LONG])
def test_no_text_on_another_or_beyond_the_edge(toy, names):
    shown = [picture(toy.root / "labeled" / f"00000{n}.png", runs=len(names)) for n in (1, 2)]
    content = report(shown, names)
    page = draw_page(content)
    width, height = page.get_size_inches() * page.dpi
    found = texts(page)
    assert {*names} <= {text for text, _ in found}
    for number, (text, extent) in enumerate(found):
        assert 0 <= extent.x0 and extent.x1 <= width and 0 <= extent.y0 <= extent.y1 <= height, text
        for other, its_extent in found[:number]:
            assert not extent.overlaps(its_extent), (text, other)
    sizes = [text.get_fontsize() for text in page.texts]
    assert min(sizes) > 6


@pytest.mark.parametrize("share", [0.35, 0.7, 0.9])
def test_a_text_that_is_too_wide_is_made_to_fit(toy, share):
    page = draw_page(report([picture(toy.root / "labeled" / "000001.png")]))
    renderer = FigureCanvasAgg(page).get_renderer()
    text = ", ".join(f"student alone, as long {number}" for number in range(4))
    inches = page.text_at(0, 0, text).get_window_extent(renderer).width / page.dpi
    fitted = page.text_at(0, 0, text, share * inches)
    assert 0.9 < fitted.get_window_extent(renderer).width / page.dpi / (share * inches) <= 1


def test_pictures_and_their_number(toy):
    shown = [picture(toy.root / "labeled" / f"00000{n}.png") for n in (1, 2, 3)]
    page = draw_page(report(shown))
    images = [axes for axes in page.axes if axes.images]
    assert len(images) == 2 * 5  # the first two, labelled and by four runs
    assert len(page.axes) - len(images) == 3
    assert np.isfinite(page.get_size_inches()).all()
