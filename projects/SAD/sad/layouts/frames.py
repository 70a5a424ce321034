"""In which frame the boxes of an image count, where labels and file disagree on its size.

W and H are the sides of the stored pixels, before they are turned as EXIF says.
"""

import os

from detectron2.utils.file_io import PathManager
from PIL import ExifTags, Image

from ..data.coco_boxes import fits

ALIKE = 0.02  # by how much the sides' ratios of a resized image differ, from rounding

Corners = tuple[float, float, float, float]  # x0, y0, x1, y1

TURNS = {  # EXIF's orientation: where a point of the stored pixels is shown
    1: lambda x, y, W, H: (x, y),
    2: lambda x, y, W, H: (W - x, y),
    3: lambda x, y, W, H: (W - x, H - y),
    4: lambda x, y, W, H: (x, H - y),
    5: lambda x, y, W, H: (y, x),
    6: lambda x, y, W, H: (H - y, x),
    7: lambda x, y, W, H: (H - y, W - x),
    8: lambda x, y, W, H: (y, W - x),
}


def is_resized(declared: tuple[float, float], size: tuple[int, int]) -> bool:
    """Whether an image of the declared size has been made larger or smaller, in its shape."""
    x, y = (now / then for now, then in zip(size, declared, strict=True))
    return abs(x / y - 1) <= ALIKE and abs(x - 1) > ALIKE


def were_drawn_resized(images: dict) -> bool:
    """Whether the boxes of a set's resized images are those of the files as they are now.

    A tool may give all images one wrong size. It is told by boxes that leave the declared size,
    where not as many leave the file's, as they do in images that were made smaller.

    Args:
        images: {file_name: (declared size, size that is shown, boxes)}
    """
    leave_declared = leave_shown = 0
    for declared, size, boxes in images.values():
        if is_resized(declared, size):
            leave_declared += sum(not fits(*box, *declared) for box in boxes)
            leave_shown += sum(not fits(*box, *size) for box in boxes)
    return leave_declared > leave_shown


def scale(box: Corners, declared: tuple[float, float], size: tuple[int, int]) -> Corners:
    x, y = (now / then for now, then in zip(size, declared, strict=True))
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def orientation(path: str) -> int:
    """EXIF's, 1 to 8. Pillow turns TIFFs by itself, and they count as 1."""
    with PathManager.open(path, "rb") as file:
        image = Image.open(file)
        value = 1 if image.format == "TIFF" else image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in TURNS else 1


def turn(box: Corners, orientation: int, size: tuple[int, int]) -> Corners:
    """A box in the stored pixels, as it lies in the image that is shown.

    Args:
        size: width and height of what is shown.
    """
    width, height = size[::-1] if orientation >= 5 else size
    to = TURNS[orientation]
    (x0, y0), (x1, y1) = to(*box[:2], width, height), to(*box[2:], width, height)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def were_drawn_unturned(images: dict, root: str) -> bool:
    """Whether the boxes of a set were drawn on images that were not turned as EXIF says.

    Some tools show them so. It is told by images that lie on their side, the declared size being
    that of the stored pixels: more boxes leave the image that is shown than the stored one.

    Args:
        images: {file_name: (declared size, size that is shown, boxes)}
    """
    leave_shown = leave_stored = 0
    for name, (declared, size, boxes) in images.items():
        if declared != size[::-1] or size[0] == size[1]:
            continue
        if orientation(os.path.join(root, name)) >= 5:
            leave_shown += sum(not fits(*box, *size) for box in boxes)
            leave_stored += sum(not fits(*box, *declared) for box in boxes)
    return leave_shown > leave_stored
