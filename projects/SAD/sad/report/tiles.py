"""Images with what is labelled on them, or with what a run finds."""

import math

from ..data.images import read_image
from ..utils.drawing import INK, draw_box, show_image

# Boxes also differ in their lines.
TRUTH, RIGHT, WRONG, MISSED = "#FFFFFF", "#56B4E9", "#D55E00", "#F0E442"
DASHED, DOTTED = (0, (4, 1.5)), ":"


def label_size(boxes) -> float:
    """Points; where objects crowd, small labels cover less of them."""
    return 9 if len(boxes) <= 8 else 6


def show_picture(axes, picture: dict) -> None:
    """
    Args:
        picture: an entry of "images", see `sad.report.pictures.describe_pictures`.
    """
    show_image(axes, read_image(picture["file_name"], "RGB", math.inf))


def draw_truth(axes, picture: dict, class_names: list[str]) -> str:
    """The labelled boxes; returns what there is, in words."""
    show_picture(axes, picture)
    size = label_size(picture["labels"])
    for label in picture["labels"]:
        draw_box(axes, label["box"], TRUTH, "-", class_names[label["class"]], INK, size)
    return f"{len(picture['labels'])} objects"


def draw_detections(axes, picture: dict, run: int, class_names: list[str]) -> str:
    """What a run finds, by its number; returns how right it is, in words."""
    show_picture(axes, picture)
    found = picture["runs"][run]
    for position in found["missed"]:
        draw_box(axes, picture["labels"][position]["box"], MISSED, DOTTED)
    size = label_size(found["boxes"])
    for box, label, score, right in zip(
        found["boxes"], found["classes"], found["scores"], found["right"], strict=True
    ):
        color, line, ink = (RIGHT, "-", INK) if right else (WRONG, DASHED, "white")
        draw_box(axes, box, color, line, f"{class_names[label]}  {score:.2f}", ink, size)
    hits = sum(found["right"])
    wrong = len(found["right"]) - hits
    return f"{hits} of {hits + len(found['missed'])} found, {wrong} wrong"
