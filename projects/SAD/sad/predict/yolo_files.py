"""What was found, as YOLO's txts: a line of class, centre and size in shares of the image's."""

import os

import yaml

from ..data.image_files import SUFFIXES
from ..utils.files import atomic_write
from .detections import Detections
from .inputs import Source


def write_txt(folder: str, source: Source, size: tuple[int, int], found: Detections, frame=None):
    """Write the file of an image, or of a frame of a video; an empty one where nothing is found.

    It has the image's name. Where two images differ in their endings alone, it keeps the ending;
    frames lie in a folder of the video's name.

    Args:
        size: (width, height)
    """
    if frame is not None:
        name = os.path.join(source.name, f"{frame:06d}")
    else:
        stem = os.path.splitext(source.path)[0]
        own = os.path.basename(source.path)
        alike = [stem + cased for x in SUFFIXES for cased in (x, x.upper())]
        shared = any(os.path.basename(x) != own and os.path.exists(x) for x in alike)
        name = source.name if shared else os.path.splitext(source.name)[0]
    path = os.path.join(folder, f"{name}.txt")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    width, height = size
    with atomic_write(path) as file:
        for (x0, y0, x1, y1), label in zip(found.boxes.tolist(), found.labels, strict=True):
            center = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
            shares = *center, (x1 - x0) / width, (y1 - y0) / height
            file.write(f"{label} {' '.join(f'{share:.6f}' for share in shares)}\n")


def write_names(folder: str, class_names: list[str]) -> None:
    """Write data.yaml, which says what the numbers mean."""
    with atomic_write(os.path.join(folder, "data.yaml")) as file:
        yaml.safe_dump({"names": dict(enumerate(class_names))}, file, allow_unicode=True)
