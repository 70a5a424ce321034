"""Pictures with boxes."""

from functools import cache

import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from ..utils.drawing import INK, class_colors
from .detections import Detections

# Pixels of the longer side: smaller images are drawn at a multiple; those that stand beside each
# other are made smaller; and what every format can hold.
LEAST, BESIDE, MOST = 640, 2000, 16_000


def colors_of(*class_names: list[str]) -> dict[str, str]:
    """A colour for each class of one or more detectors, the same for a name of all."""
    names = list(dict.fromkeys(name for names in class_names for name in names))
    return dict(zip(names, class_colors(len(names)), strict=True))


def draw(image: np.ndarray, found: Detections, colors: dict[str, str]) -> Image.Image:
    """
    Args:
        image: (H, W, 3) uint8 RGB; a small one is enlarged by a whole number.
    """
    longer = max(image.shape[:2])
    scale = min(max(1, LEAST // longer), MOST / longer)
    return _drawn(Image.fromarray(image), found, colors, scale)


def draw_side_by_side(
    image: np.ndarray, of_each: list[tuple[str, Detections]], colors: dict[str, str]
) -> Image.Image:
    """What each detector finds, under its name.

    Args:
        image: as of `draw`; a large one is made smaller.
        of_each: each detector's name and what it finds.
    """
    longer = max(image.shape[:2])
    scale = min(max(1, LEAST // longer), BESIDE / longer)
    pictures = [_drawn(Image.fromarray(image), found, colors, scale) for _, found in of_each]
    width, height = pictures[0].size
    bar = 2 * _letter(width, height)
    gap = bar // 4
    sheet = Image.new("RGB", (len(pictures) * (width + gap) - gap, bar + height), "white")
    pen = ImageDraw.Draw(sheet)
    for column, ((name, _), picture) in enumerate(zip(of_each, pictures, strict=True)):
        left = column * (width + gap)
        pen.text((left + gap, bar / 2), name, INK, _font(bar // 2), anchor="lm")
        sheet.paste(picture, (left, bar))
    return sheet


def _drawn(
    picture: Image.Image, found: Detections, colors: dict[str, str], scale: float
) -> Image.Image:
    if scale != 1:
        size = [max(1, round(scale * side)) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    pen, letter = ImageDraw.Draw(picture), _letter(*picture.size)
    line = max(2, letter // 6)
    # The best last, on top of the others.
    rows = zip(found.boxes * scale, found.scores, found.names, strict=True)
    for (x0, y0, x1, y1), score, name in reversed(list(rows)):
        # A dark line around the bright one is seen on any background.
        pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=INK, width=line + 2)
        pen.rectangle((x0, y0, x1, y1), outline=colors[name], width=line)
        text = f"{name} {score:.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, _font(letter), anchor="la")
        wide, high = right - left + 6, bottom + 4
        # Above the box, or in it where it reaches the picture's upper border.
        x = min(max(0, x0), max(0, picture.width - wide))
        y = y0 - high if y0 >= high else y0
        pen.rectangle((x, y, x + wide, y + high), fill=colors[name])
        pen.text((x + 3, y + 2), text, INK, _font(letter), anchor="la")
    return picture


def _letter(width: int, height: int) -> int:
    """Size of letters on a picture, pixels."""
    return max(13, round(min(width, height) / 60))


@cache
def _font(size: int):
    return ImageFont.truetype(findfont("DejaVu Sans"), size)
