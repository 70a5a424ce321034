"""Images with what each run finds on them, and with what the teacher is unsure of."""

import os
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from ..utils.drawing import DPI, MAX_TILE, draw_box
from .html import Group, Picture
from .tiles import TRUTH, draw_detections, draw_truth, show_picture

GAINED, LOST = "gained", "lost"  # tags of groups, see Filtered
HEAT = "inferno"


def groups(report: dict) -> list[Group]:
    """A group for each image of report.json."""
    class_names = list(report["classes"])
    made = []
    for picture in report["pictures"]["images"]:
        tiles = [_tile(picture, "labelled", draw_truth, picture, class_names)]
        tiles += [
            _tile(picture, run["name"], draw_detections, picture, number, class_names)
            for number, run in enumerate(report["runs"])
        ]
        tags = [tag for tag in (GAINED, LOST) if picture[tag]]
        made.append(Group(_title(picture, report["gain"]), tiles, tags))
    return made


def _title(picture: dict, gain: dict | None) -> str:
    name = os.path.basename(picture["file_name"])
    if not gain:
        return name
    counts = ((gain["distilled"], picture[GAINED]), (gain["baseline"], picture[LOST]))
    found = [f"{count} that only “{run}” finds" for run, count in counts if count]
    return ": ".join([name, ", ".join(found)]) if found else name


def _tile(picture: dict, title: str, draw: Callable, *arguments) -> Picture:
    """An image as one of the functions draws it, which returns the rest of the caption."""
    figure, axes = _figure(picture)
    return Picture(figure, f"{title}: {draw(axes, *arguments)}")


def _figure(picture: dict) -> tuple[Figure, object]:
    shape = picture["height"] / picture["width"]
    size = (MAX_TILE, MAX_TILE * shape) if shape <= 1 else (MAX_TILE / shape, MAX_TILE)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    return figure, figure.add_axes([0, 0, 1, 1])


def heat_group(picture: dict, maps, class_names: list[str]) -> Group:
    """An image, T(q) and KL.

    Args:
        picture: an entry of "images".
        maps: of `sad.report.uncertainty.look`.
    """
    tiles = [_tile(picture, "labelled", draw_truth, picture, class_names)]
    largest = float(np.log(2))
    text = f"teacher's uncertainty T(q), up to {maps.uncertainty.max():.2f} of {largest:.2f}"
    tiles.append(Picture(_heat(picture, maps.uncertainty, largest), text))
    largest = max(of_run.max() for of_run in maps.divergence.values())
    for name, of_run in maps.divergence.items():
        text = f"KL of “{name}” from the teacher, up to {of_run.max():.2f}"
        tiles.append(Picture(_heat(picture, of_run, largest), text))
    return Group(os.path.basename(picture["file_name"]), tiles)


def _heat(picture: dict, values: np.ndarray, largest: float) -> Figure:
    figure, axes = _figure(picture)
    show_picture(axes, picture)
    axes.images[0].set_data(_grey(axes.images[0].get_array()))
    extent = (0, picture["width"], picture["height"], 0)
    share = np.clip(values / max(largest, 1e-9), 0, 1)
    axes.imshow(share, cmap=HEAT, vmin=0, vmax=1, extent=extent, alpha=0.25 + 0.6 * share**0.5)
    for label in picture["labels"]:
        draw_box(axes, label["box"], TRUTH)
    return figure


def _grey(pixels: np.ndarray) -> np.ndarray:
    grey = np.asarray(pixels)[..., :3].mean(axis=-1, keepdims=True)
    return np.repeat(grey, 3, axis=-1).astype(np.uint8)
