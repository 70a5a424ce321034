"""The files of the report, from the content of report.json alone."""

import json

import pytest
from PIL import Image

from report_made import picture, report
from sad.report.files import page_sections, write_files
from sad.report.seen_figures import GAINED

HOSTILE = '<b>$\\frac{1}$</b> & "a"'


@pytest.fixture
def content(toy):
    return report([picture(toy.root / "labeled" / "000001.png", gained=1)])


def test_sections_in_their_order(content):
    assert [section.title for section in page_sections(content, {})] == [
        "What was gained",
        "What to use",
        "Results",
        "What goes wrong",
        "What the models see",
        "Training",
        "The teacher",
        "What was run",
    ]


def test_what_is_not_known_has_no_section(content):
    less = content | {"gain": None, "notes": [], "pseudo_labels": None}
    for run in less["runs"]:
        run["details"] = None
    less["pictures"]["agreement"] = None
    titles = [section.title for section in page_sections(less, {})]
    assert titles == ["Results", "What the models see", "Training", "What was run"]


def test_files_are_written_from_the_json(content, tmp_path):
    content = json.loads(json.dumps(content))  # what a json keeps is enough
    write_files(str(tmp_path), content, {})
    assert json.loads((tmp_path / "report.json").read_text()) == content
    html, text = ((tmp_path / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert html.count("<svg ") == 2 + 1 + 3 + 1 + 4 + 3 + 2 and html.count("<img ") == 5
    assert "| SOLVER.MAX_ITER" in text and "objects found by" in text
    with Image.open(tmp_path / "report.png") as page:
        assert page.width == 1600
    assert GAINED in html and html.count("<script>") == 1


def test_names_are_anybodys(content, tmp_path):
    """They are texts: no markup, and no formula that cannot be read."""
    content["runs"][2]["name"] = content["title"] = HOSTILE
    content["classes"] = {HOSTILE: 1, "dark": 2}
    write_files(str(tmp_path), content, {})
    html = (tmp_path / "report.html").read_text()
    assert "<b>" not in html and "\\frac{1}" in html
