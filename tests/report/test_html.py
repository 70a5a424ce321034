"""Pages are whole, escaped, and hold their pictures themselves."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sad.report.html import (
    Code,
    Filtered,
    Folded,
    Group,
    Note,
    Notes,
    Paragraph,
    Picture,
    Pictures,
    Section,
    Table,
    render,
)

VOID = {"meta", "img", "br", "link"}  # what a figure draws is closed by itself, as in XML
HOSTILE = "<script>alert('1')</script> & \"quoted\" Füße.jpg"


class Page(HTMLParser):
    """The elements of a page; fails where one is not closed in its turn."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_of(self, tag: str) -> list[str]:
        return [text for element, text in self.texts if element == tag and text]


def curve() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([1, 2, 3], label="a curve")
    return figure


def photograph() -> np.ndarray:
    return np.full((40, 60, 3), (200, 30, 30), np.uint8)


@pytest.fixture(scope="module")
def text() -> str:
    table = Table(["class", "boxes", "share"], [["cat", 1234, "12.5 %"], [HOSTILE, 5, None]])
    of_image = Figure(figsize=(2, 2))
    of_image.subplots().imshow(photograph())
    sections = [
        Section("First", [Paragraph(HOSTILE), Code("ls <here>"), table]),
        Section(
            "Second",
            [
                Notes([Note("warning", HOSTILE, [HOSTILE, "b.jpg"]), Note("good", "fine")]),
                Pictures([Picture(photograph(), HOSTILE), Picture(curve(), HOSTILE)]),
                Pictures([Picture(of_image)]),
                Folded(HOSTILE, table),
            ],
        ),
    ]
    return render(HOSTILE, "What it says.", sections)


def decoded(source: str) -> tuple[str, bytes]:
    kind, content = re.fullmatch(r"data:image/([a-z+]+);base64,(.+)", source).groups()
    return kind, base64.b64decode(content, validate=True)


def test_a_page_is_whole_and_texts_come_back_as_they_were(text):
    page = Page(text)
    assert page.text_of("h1") == page.text_of("title") == [HOSTILE]
    assert page.text_of("h2") == ["First", "Second"]
    assert page.text_of("code") == ["ls <here>"]
    assert HOSTILE in page.text_of("p") and HOSTILE in page.text_of("td")
    assert [x["class"] for x in page.all("li") if "class" in x] == ["warning", "good"]
    assert {HOSTILE, "b.jpg"} < set(page.text_of("li"))
    assert page.text_of("figcaption") == [HOSTILE, HOSTILE] and HOSTILE in page.text_of("summary")
    assert page.all("svg")[0]["aria-label"] == page.all("img")[0]["alt"] == HOSTILE
    assert not page.all("script")


def test_nothing_is_fetched_and_links_lead_to_sections(text):
    page = Page(text)
    assert not page.all("link") and not page.all("script")
    assert not re.search(r"url\((?!#)", text) and "@import" not in text
    links = [value for _, x in page.elements for name, value in x.items() if name.endswith("href")]
    assert links and all(link.startswith("#") for link in links)
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    targets = {"#" + attributes["id"] for attributes in page.all("h2")}
    assert {attributes["href"] for attributes in page.all("a")} == targets


def test_pictures_are_jpegs_and_figures_drawings(text):
    page = Page(text)
    (photo_kind, photo), (mixed_kind, mixed) = (decoded(x["src"]) for x in page.all("img"))
    assert photo_kind == mixed_kind == "jpeg" and len(page.all("svg")) == 1
    image = Image.open(io.BytesIO(photo))
    assert image.size == (60, 40)
    assert np.abs(np.asarray(image).mean((0, 1)) - (200, 30, 30)).max() < 5
    assert Image.open(io.BytesIO(mixed)).size == (200, 200)


def test_columns_of_numbers_are_at_the_right(text):
    page = Page(text)
    assert [x.get("class") for x in page.all("th")] == [None, "number", "number"] * 2
    cells = page.text_of("td")
    assert cells == ["cat", "1,234", "12.5 %", HOSTILE, "5", "–"] * 2  # once unfolded
    rows = [["a", 33.6, np.float64(0.04)], ["b", np.int64(2000), 1]]
    numbers = Page(render("t", "l", [Section("s", [Table(["n", "AP", "x"], rows)])]))
    assert numbers.text_of("td") == ["a", "33.6", "0.0", "b", "2,000", "1"]


def test_the_first_column_names_the_row_even_by_a_number():
    text = render("t", "l", [Section("s", [Table(["class", "AP"], [["3", 33.6]])])])
    assert [x.get("class") for x in Page(text).all("td")] == [None, "number"]


def test_groups_have_their_tags_and_choices_say_how_many():
    groups = [Group("one", [Picture(photograph())], ["a", "b"]), Group(HOSTILE, [], ["b"])]
    section = Section("s", [Filtered({"a": HOSTILE, "b": "second"}, groups)])
    page = Page(render("t", "l", [section]))
    divs = [x["data-tags"] for x in page.all("div") if "data-tags" in x]
    assert divs == ["a b", "b"] and page.text_of("h3") == ["one", HOSTILE]
    assert page.text_of("a") == ["all: 2", f"{HOSTILE}: 1", "second: 2"]
    assert [x["href"] for x in page.all("a")] == ["#show=all", "#show=a", "#show=b"]
    assert len(page.all("script")) == 1
    plain = Page(render("t", "l", [Section("s", [Filtered({}, groups)])]))
    assert not plain.all("a") and not plain.all("script") and len(plain.text_of("h3")) == 2


def test_the_same_content_is_the_same_page():
    pages = {render("t", "l", [Section("s", [Pictures([Picture(curve())])])]) for _ in range(2)}
    assert len(pages) == 1


def test_empty_parts():
    parts = [Table(["a"], []), Notes([]), Pictures([]), Paragraph("")]
    assert Page(render("t", "l", [Section("s", parts)])).all("table")
    assert Page(render("t", "l", [])).text_of("h1") == ["t"]
