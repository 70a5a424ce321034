"""Figures as parts of a page."""

import xml.etree.ElementTree as ET

from matplotlib.figure import Figure

from sad.report.svg import COLORS, as_svg
from sad.utils.drawing import INK, PALE, RUN_COLORS

HOSTILE = "<script>alert('1')</script> & \"quoted\" #e69f00"


def figure(label="a curve") -> Figure:
    made = Figure(figsize=(3, 2))
    axes = made.subplots()
    for color in (*RUN_COLORS, INK, PALE, "#123456"):
        axes.plot([1, 2], color=color)
    axes.set_title(label, color=INK, parse_math=False)
    return made


def test_colours_of_runs_and_of_ink_are_the_pages():
    text = as_svg(figure(), "plot")
    for color, (name, dark) in COLORS.items():
        assert f"var({name})" in text and color not in text and dark not in text
    assert "var(--ink)" in text and "var(--pale)" in text and "#123456" in text
    assert len({dark for _, dark in COLORS.values()}) == len(RUN_COLORS)


def test_texts_are_texts_and_escaped():
    root = ET.fromstring(as_svg(figure(HOSTILE), HOSTILE))
    texts = [x.text for x in root.iter("{http://www.w3.org/2000/svg}text")]
    assert HOSTILE in texts and root.get("aria-label") == HOSTILE and root.get("role") == "img"
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_one_figure_is_one_text_and_two_share_no_id():
    first, again, other = as_svg(figure(), "a"), as_svg(figure(), "a"), as_svg(figure(), "b")
    assert first == again
    ids = [{x.get("id") for x in ET.fromstring(t).iter() if x.get("id")} for t in (first, other)]
    assert ids[0] and not ids[0] & ids[1]
    assert "<?xml" not in first and "<style" not in first and "<metadata" not in first
