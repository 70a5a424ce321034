"""A figure as SVG inside a page: its texts stay texts, and its colours follow light and dark."""

import io
import re
from html import escape

import matplotlib
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ..utils.drawing import INK, LINE, PALE, RUN_COLORS

# Of each colour the variable of the page that takes its place, and what that is in the dark.
# Colours of runs keep their hue; those too dark to be seen on black are lighter there.
DARK_RUNS = ("#B4B4B4", "#F0B030", "#4FA3DD", "#DE93BD", "#2BBE92", "#7CC8F2", "#F2874A")
COLORS = {
    to_hex(color): (f"--run{number}", to_hex(dark))
    for number, (color, dark) in enumerate(zip(RUN_COLORS, DARK_RUNS, strict=True))
}
VARIABLES = {color: name for color, (name, _) in COLORS.items()} | {
    "#000000": "--ink",
    to_hex(INK): "--ink",
    to_hex(PALE): "--pale",
    to_hex(LINE): "--line",
}
COLOR = re.compile("#[0-9a-f]{6}")


def as_svg(figure: Figure, title: str) -> str:
    """
    Args:
        title: what a screen reader says.
    """
    file = io.StringIO()
    # The same figure gives the same text: ids of a fixed salt, and no date.
    settings = {"svg.fonttype": "none", "svg.hashsalt": title}
    with matplotlib.rc_context(settings):
        nobody = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nobody)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # figure_1 and so on, in every figure
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # which is for the whole page
    text = re.sub('style="[^"]*"', lambda style: COLOR.sub(_variable, style[0]), text)
    label = escape(title or "plot")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _variable(color: re.Match) -> str:
    name = VARIABLES.get(color[0])
    return f"var({name})" if name else color[0]
