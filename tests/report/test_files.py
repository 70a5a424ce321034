"""The files of the report, from the content of report.json alone."""

import json

import pytest
from PIL import Image

from report_made import picture, report
from sad.report.files import page_sections, write_files

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


@pytest.fixture(scope="module")
def written(toy, tmp_path_factory):
    """(content, folder): names are anybody's, and a json's keeping is enough."""
    content = report([picture(toy.root / "labeled" / "000001.png", gained=1)])
    content["runs"][2]["name"] = content["title"] = HOSTILE
    content["classes"] = {HOSTILE: 1, "dark": 2}
    content = json.loads(json.dumps(content))
    folder = tmp_path_factory.mktemp("written")
    write_files(str(folder), content, {})
    return content, folder


def test_files_are_made_of_the_json(written):
    content, folder = written
    assert json.loads((folder / "report.json").read_text()) == content
    html, text = ((folder / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert html.count("<svg ") == 3 + 3 + 1 + 4 + 3 + 2 and html.count("<img ") == 5
    assert "| SOLVER.MAX_ITER" in text and "objects found by" in text
    with Image.open(folder / "report.png") as page:
        assert page.width == 1600


def test_names_are_texts_no_markup_and_no_formula(written):
    html = (written[1] / "report.html").read_text()
    assert "<b>" not in html and "\\frac{1}" in html and html.count("<script>") == 1
