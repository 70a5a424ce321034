"""The page on a teacher, from a report that is known."""

from html.parser import HTMLParser

import pytest

from judged_teacher import judged
from sad.calibration.page import draw_curves, render_page


@pytest.fixture(scope="module")
def report(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return judged(toy, folder, unlabeled=toy.path("unlabeled"), num_images=2)


def test_page_says_what_the_report_says(report):
    report["teacher"]["class_names"] = ["light", "dark"]
    page = render_page(report, [])
    HTMLParser().feed(page)
    for line in report["advice"]["lines"]:
        assert line["text"].partition(",")[0].partition("'")[0] in page
    assert f"{report['teacher']['AP']:.1f} AP" in page


def test_curves_have_a_line_for_each_class(report):
    figure = draw_curves(report)
    assert len(figure.axes) >= 1 and figure.axes[0].lines
