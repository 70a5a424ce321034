"""Plots of a data set's boxes and classes, and its images with boxes on them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import ListedColormap, LogNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from ..data.images import read_picture
from ..report.plots import style_axes
from ..report.tiles import label_size
from ..utils.drawing import (
    DPI,
    INK,
    MAX_TILE,
    PALE,
    RUN_COLORS,
    class_colors,
    draw_box,
    show_image,
)
from .labeled_set import LabeledSet

MOST_CLASSES = 40  # bars of one plot


def draw_image(path: str) -> Figure:
    """An image as a tile, of at most MAX_TILE inches a side."""
    return _tile(path)[0]


def draw_labels(
    labeled: LabeledSet, image: int, class_names: Sequence[str], boxes: Sequence[int] | None = None
) -> Figure:
    """An image with its boxes, each class in a colour of its own.

    Args:
        class_names: whose places give the colours.
        boxes: positions of those to draw; all of the image if not given.
    """
    figure, axes, scale = _tile(labeled.images[image]["file_name"], labeled.sizes[image])
    colors = class_colors(len(class_names))
    boxes = labeled.boxes_on(image) if boxes is None else boxes
    for position in boxes:
        name = labeled.class_names[labeled.class_of[position]]
        color, size = colors[class_names.index(name)], label_size(boxes)
        draw_box(axes, labeled.boxes[position] * scale, color, label=name, size=size)
    return figure


def _tile(path: str, size=None) -> tuple[Figure, object, np.ndarray | float]:
    """(figure, its axes, what positions in an image of this size are multiplied by)."""
    pixels, _ = read_picture(path, "RGB", least_side=round(MAX_TILE * DPI))
    height, width = pixels.shape[:2]
    inches = MAX_TILE * np.array([width, height]) / max(width, height)
    figure = Figure(figsize=inches.clip(0.2), dpi=DPI)
    axes = figure.add_axes([0, 0, 1, 1])
    show_image(axes, pixels)
    scale = 1.0 if size is None else np.tile([width / size[1], height / size[0]], 2)
    return figure, axes, scale


def plot_classes(sets: Sequence[LabeledSet], class_names: Sequence[str]) -> Figure:
    """Boxes of each class in each set, as shares of the set's boxes."""
    names = class_names[:MOST_CLASSES]
    figure = Figure(figsize=(6, 1.2 + 0.22 * len(names) * (len(sets) + 0.5)), layout="constrained")
    axes = figure.subplots()
    thick = 0.8 / len(sets)
    for number, one in enumerate(sets):
        shares = [100 * one.count_of(name) / max(1, len(one.boxes)) for name in names]
        places = np.arange(len(names)) + (number - (len(sets) - 1) / 2) * thick
        axes.barh(places, shares, 0.9 * thick, color=_color(number), label=one.name)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    style_axes(axes, "Boxes of each class (percent of the set's)")
    axes.grid(axis="y", visible=False)
    if len(sets) > 1:
        axes.legend(frameon=False)
    return figure


def plot_sides(sides: dict[str, np.ndarray], anchors: dict | None, where: str) -> Figure:
    """How large boxes are, and the sizes of the anchors of each level.

    Args:
        sides: {set: (B,) in pixels}, some of them not empty.
        anchors: of `sad.inspection.training_size.fit_anchors`.
        where: the pixels are, for the axis.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    levels = anchors["sizes"] if anchors else []
    everything = np.concatenate([*sides.values(), *levels]).clip(1)
    bins = np.geomspace(everything.min() / 1.1, everything.max() * 1.1, 40)
    for number, (name, values) in enumerate(sides.items()):
        if len(values):
            weights = np.full(len(values), 100 / len(values))
            look = {"alpha": 0.35} if number == 0 else {"histtype": "step", "linewidth": 2}
            color = _color(number)
            axes.hist(values.clip(1), bins, weights=weights, color=color, label=name, **look)
    top = axes.get_ylim()[1]
    axes.set_ylim(0, 1.2 * top)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    for level, stride in zip(levels, anchors["strides"] if anchors else [], strict=True):
        axes.vlines(level, 0, 1.04 * top, color=PALE, linewidth=1, linestyle=":")
        middle = np.exp(np.log(level).mean())
        axes.text(middle, 1.07 * top, f"stride {stride}", ha="center", fontsize=9, color=INK)
    axes.set_xlabel(f"square root of the area, pixels {where}", color=PALE)
    style_axes(axes, "Sizes of the boxes (percent of the set's)")
    axes.legend(frameon=False, loc="upper left")
    return figure


def plot_shapes(shapes: np.ndarray, anchors: dict | None, where: str) -> Figure:
    """Width against height of boxes, and those of the anchors.

    Args:
        shapes: (B, 2) width and height in pixels, B at least 1.
        anchors: of `sad.inspection.training_size.fit_anchors`.
        where: the pixels are, for the axes.
    """
    figure = Figure(figsize=(6, 4.4), layout="constrained")
    axes = figure.subplots()
    shapes = shapes.clip(1)
    bins = [np.geomspace(side.min() / 1.1, side.max() * 1.1, 40) for side in shapes.T]
    axes.hist2d(*shapes.T, bins, norm=LogNorm(), cmin=1, cmap=_density())
    if anchors:
        pairs = [
            (size / ratio**0.5, size * ratio**0.5)
            for sizes, ratios in zip(anchors["sizes"], anchors["aspect_ratios"], strict=True)
            for size in sizes
            for ratio in ratios
        ]
        axes.scatter(*zip(*pairs, strict=True), 28, RUN_COLORS[6], "+", label="anchors")
        axes.legend(frameon=False, loc="upper left")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel(f"width, pixels {where}", color=PALE)
    axes.set_ylabel("height", color=PALE)
    style_axes(axes, "Shapes of the boxes (full colour: many)")
    return figure


def _density() -> ListedColormap:
    """From nearly transparent to a full colour, so that it shows on any ground."""
    return ListedColormap([to_rgba(RUN_COLORS[2], alpha) for alpha in np.linspace(0.2, 1, 64)])


def _color(number: int) -> str:
    """Of a set; the first colour is a grey."""
    return RUN_COLORS[1 + number % (len(RUN_COLORS) - 1)]
