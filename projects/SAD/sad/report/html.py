"""Pages of text, tables, notes and pictures as one HTML file each, which needs no network."""

import base64
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from .svg import COLORS, as_svg

NUMBER = re.compile(r"[-+−]?[\d.,]+ ?%?")
NOTHING = "–"  # what a table shows of None
JPEG_QUALITY = 80


class Paragraph(NamedTuple):
    text: str
    kind = "paragraph"


class Code(NamedTuple):
    """What is typed into a terminal."""

    text: str
    kind = "code"


class Table(NamedTuple):
    """Columns of numbers are aligned at the right; floats have one decimal, None is a dash."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | int | float | None]]
    kind = "table"


class Note(NamedTuple):
    level: str  # "good", "info" or "warning"
    text: str
    where: Sequence[str] = ()  # names of files, say: a list that unfolds


class Notes(NamedTuple):
    notes: Sequence[Note]
    kind = "notes"


class Picture(NamedTuple):
    """Pixels and figures that show images become JPEGs, other figures drawings (SVG)."""

    image: np.ndarray | Figure  # (H, W, 3) RGB, uint8
    caption: str = ""
    wide: bool = False  # takes a whole line


class Pictures(NamedTuple):
    """Side by side as far as there is room."""

    pictures: Sequence[Picture]
    kind = "pictures"


class Folded(NamedTuple):
    """A table that unfolds."""

    title: str
    table: Table
    kind = "folded"


class Group(NamedTuple):
    """Pictures that belong together, such as those of one image."""

    title: str
    pictures: Sequence[Picture]
    tags: Sequence[str] = ()  # names of choices, see Filtered


class Filtered(NamedTuple):
    """Groups of pictures, all of them or those of one choice, which the page's address keeps."""

    choices: dict[str, str]  # {tag: what it is called}; "all" is there anyway
    groups: Sequence[Group]
    kind = "filtered"

    def number_of(self, tag: str) -> int:
        return sum(tag in group.tags for group in self.groups)


class Section(NamedTuple):
    title: str
    parts: Sequence[Paragraph | Code | Table | Notes | Pictures | Folded | Filtered]


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole HTML. All texts are escaped, so that they may be anybody's.

    Args:
        lead: what the page says, in a sentence or two.
    """
    environment = Environment(
        loader=PackageLoader("sad.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"cell": _cell, "drawing": _drawing}
    environment.globals |= {"numeric_columns": _numeric_columns, "colors": COLORS}
    page = environment.get_template("page.html")
    return page.render(title=title, lead=lead, sections=sections)


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int | np.integer) else f"{value:,.1f}"


def _numeric_columns(table: Table) -> list[bool]:
    """The first column names the row, even by a number."""
    return [
        column > 0
        and all(NUMBER.fullmatch(_cell(row[column])) or row[column] is None for row in table.rows)
        for column in range(len(table.head))
    ]


def _drawing(picture: Picture) -> Markup:
    """A figure of lines and text as part of the page, all else as a JPEG that it holds."""
    image = picture.image
    if isinstance(image, Figure) and not any(axes.images for axes in image.axes):
        return Markup(as_svg(image, picture.caption))
    file = io.BytesIO()
    if isinstance(image, Figure):
        image.savefig(file, format="jpeg", pil_kwargs={"quality": JPEG_QUALITY})
    else:
        Image.fromarray(image).save(file, format="JPEG", quality=JPEG_QUALITY)
    content = base64.b64encode(file.getvalue()).decode()
    source = f"data:image/jpeg;base64,{content}"
    return Markup('<img src="{}" alt="{}" loading="lazy">').format(source, picture.caption)
