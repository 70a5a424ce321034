"""Large images in overlapping tiles, so that small objects stay as large as they are.

The detector sees the image as a whole, which is where large objects are found, and each tile. A
box that ends where its tile does, but not the image, is of an object that was cut there. It is left
out: if the object is smaller than the overlap, a neighbour sees all of it; if it is larger, the
image as a whole shows it. What is found several times is merged by NMS per class.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from detectron2.layers import batched_nms

from .detections import Detections

OVERLAP = 0.25  # of a tile's side, with each neighbour
AT_BORDER = 0.01  # of a tile's side: a box that comes so near to its border ends there


def find_in_tiles(
    find: Callable[[list[np.ndarray]], list[Detections]],
    image: np.ndarray,
    size: int,
    batch: int,
    nms_threshold: float,
) -> Detections:
    """
    Args:
        find: what is found in each of some images.
        image: (H, W, 3)
        size: of a tile's sides, pixels.
        batch: so many tiles are looked at at once.
    Returns:
        in pixels of the image.
    """
    height, width = image.shape[:2]
    found = find([image])
    windows = tiles(height, width, size)
    if not windows:
        return found[0]
    for start in range(0, len(windows), batch):
        some = windows[start : start + batch]
        views = [image[y0:y1, x0:x1] for x0, y0, x1, y1 in some]
        found += [
            _placed(of_tile, window, (width, height))
            for of_tile, window in zip(find(views), some, strict=True)
        ]
    return merge(found, nms_threshold)


def tiles(height: int, width: int, size: int) -> list[tuple[int, int, int, int]]:
    """Corners x0, y0, x1, y1 of tiles that cover an image; none if it is no larger than one."""
    if max(height, width) <= size:
        return []
    return [
        (x, y, min(x + size, width), min(y + size, height))
        for y in _starts(height, size)
        for x in _starts(width, size)
    ]


def merge(found: list[Detections], nms_threshold: float) -> Detections:
    """The best of what overlaps, by falling score."""
    boxes, scores, labels = (
        np.concatenate([getattr(one, name) for one in found])
        for name in ("boxes", "scores", "labels")
    )
    everything = Detections(boxes, scores, labels, found[0].class_names)
    keep = batched_nms(*map(torch.from_numpy, (boxes, scores, labels)), nms_threshold)
    return everything[keep.numpy()]


def _starts(length: int, size: int) -> list[int]:
    """Where tiles begin along a side: evenly spaced, and OVERLAP or a little more in common."""
    if length <= size:
        return [0]
    number = 1 + math.ceil((length - size) / (size * (1 - OVERLAP)))
    return np.linspace(0, length - size, number).astype(int).tolist()


def _placed(found: Detections, window: tuple[int, int, int, int], image_size) -> Detections:
    """What is found in a tile, in pixels of the image and without what the tile cuts.

    Args:
        image_size: (width, height)
    """
    x0, y0, x1, y1 = window
    corner, far_corner = np.array([x0, y0]), np.array([x1, y1])
    margin = AT_BORDER * (far_corner - corner)
    boxes = found.boxes + np.array([x0, y0, x0, y0], np.float32)
    cut_before = (corner > 0) & (boxes[:, :2] < corner + margin)
    cut_behind = (far_corner < image_size) & (boxes[:, 2:] > far_corner - margin)
    whole = ~(cut_before | cut_behind).any(axis=1)
    return Detections(boxes, found.scores, found.labels, found.class_names)[whole]
