"""A sheet of scenes with their boxes."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..utils.drawing import class_colors, contact_sheet, draw_box, show_image

ROWS, COLUMNS = 4, 6


def draw_preview(folder: Path, coco: dict) -> Figure:
    """The first scenes of a split as they lie on disk, with their boxes and labels."""
    names = {category["id"]: category["name"] for category in coco["categories"]}
    color_of = dict(zip(names, class_colors(len(names)), strict=True))
    entries = coco["images"][: ROWS * COLUMNS]
    figure, places = contact_sheet(len(entries), COLUMNS)
    axes_of = dict(zip((entry["id"] for entry in entries), places, strict=True))
    for entry in entries:
        with Image.open(folder / entry["file_name"]) as image:
            show_image(axes_of[entry["id"]], np.asarray(image))
    for annotation in coco["annotations"]:
        if axes := axes_of.get(annotation["image_id"]):
            x, y, width, height = annotation["bbox"]
            number = annotation["category_id"]
            draw_box(axes, (x, y, x + width, y + height), color_of[number], label=names[number])
    return figure
