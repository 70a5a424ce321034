"""What the pictures have in common: colours, images, boxes, sheets of tiles."""

import math

from matplotlib.colors import hsv_to_rgb, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image, ImageOps

# Okabe and Ito's palette, told apart with any colour vision.
RUN_COLORS = ("#4D4D4D", "#E69F00", "#0072B2", "#CC79A7", "#009E73", "#56B4E9", "#D55E00")
INK, PALE, LINE = "#222222", "#777777", "#E5E5E5"
DPI = 100
MAX_TILE = 3.6  # inches


def class_colors(number: int) -> list[str]:
    """Bright colours of the hue circle, dark text on which can be read."""
    return [to_hex(hsv_to_rgb((label / number, 0.6, 1))) for label in range(number)]


def contact_sheet(number: int, columns: int) -> tuple[Figure, list]:
    """A page of so many tiles, row by row: (figure, axes of each tile)."""
    rows = math.ceil(number / columns)
    size = (columns * MAX_TILE, rows * MAX_TILE)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white", layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes in places[number:]:
        axes.axis("off")
    return figure, places[:number]


def show_image(axes, pixels) -> None:
    """(H, W, 3) RGB, in 5 bits a channel and about a tile's size: a quarter of a full PNG's bytes.

    Positions on the axes are those of the image's own pixels.
    """
    image = Image.fromarray(pixels)
    extent = (0, image.width, image.height, 0)
    image.thumbnail((MAX_TILE * DPI, MAX_TILE * DPI))
    axes.imshow(ImageOps.posterize(image, 5), interpolation="nearest", extent=extent)
    axes.axis("off")


def draw_box(axes, box, color: str, line="-", label="", ink=INK, size=9.0) -> None:
    """A box (x0, y0, x1, y1) with a label on it, of `size` points, in the colour `ink`."""
    x0, y0, x1, y1 = box
    patch = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=color, lw=2, ls=line)
    patch.set_path_effects([withStroke(linewidth=3.5, foreground=INK, alpha=0.6)])
    axes.add_patch(patch)
    if label:
        style = {"facecolor": color, "edgecolor": "none", "pad": 1.5}
        text = axes.text(x0, y0, label, fontsize=size, color=ink, va="bottom", clip_on=True)
        text.set(bbox=style, parse_math=False)  # a class name is no formula
