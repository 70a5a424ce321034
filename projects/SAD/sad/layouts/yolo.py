"""YOLO: a txt for each image, lines of class and box in shares of the image's size."""

import math
import os
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

from ..data.coco_boxes import ENOUGH, Limits
from ..utils.errors import UserError
from .collector import Collector, number_of
from .files import read_lines
from .image_index import THREADS, ImageIndex
from .labels import Labels

FORM = "YOLO's lines are class, centre x, centre y, width and height, in shares of the image's size"
BEYOND = 2  # the image's size; numbers above it are no shares
WRONG = 0.1  # share of a set's boxes up to which such numbers are slips


def read_yolo(
    source: str,
    index: ImageIndex,
    names: dict[int, str],
    classes: Sequence[str] | None = None,
    *,
    among: Sequence[str] | None = None,
    absent: Sequence[str] = (),
    folder: str | None = None,
    keypoints: bool = False,
) -> Labels:
    """Read txts as `Labels`. Polygons become the boxes around them.

    An image with an empty txt shows none of the objects; one without a txt is not labelled.

    Args:
        names: of the classes, by the numbers in the files.
        classes: the same names in the order that is wanted; None takes that of the numbers.
        among: the images that belong to the set, of `index.names`; None is all.
        absent: further images of the set, which are not there.
        folder: that holds the txts, those elsewhere are of other sets; None is beside the images,
            or in labels/. Of labels/train, only what lies in images/train can be unlabelled.
        keypoints: whether lines have these behind their box, see `has_keypoints`.
    Raises:
        UserError: no image has a txt, the numbers are no shares, the names are others than
            `classes`, or `Collector.finish` says.
    """
    number = number_of([names[n] for n in sorted(names)], classes, source)
    collector = Collector("YOLO", source, index.root, classes or list(number))
    collector.join_classes([names[n] for n in sorted(names)])
    for name in absent:
        collector.leave_out("images that are not there", name)
    images = index.names if among is None else sorted(set(among))
    with ThreadPool(THREADS) as pool:
        paths = pool.map(lambda name: label_file(index.root, name, folder), images, 64)
        lines = pool.map(_lines_of, paths, 64)
    labelled = [name for name, path in zip(images, paths, strict=True) if path]
    if not labelled:
        where = f"in {folder}" if folder else "neither beside it nor in a folder labels"
        raise UserError(
            f"{source}: none of {len(images)} images, the first is {min(images, default='')}, has "
            f"a txt of its name, {where}: name the folder that holds images and labels"
        )
    of_folder = set(index.below(_swap(folder, "labels", "images")) if folder else ()) or set(images)
    sizes = index.sizes(labelled)
    category_of = {n: number[name] for n, name in names.items()}
    boxes = []
    for name, path, of_image in zip(images, paths, lines, strict=True):
        if path is None:
            if name in of_folder:
                collector.labels.unlabeled.append(name)
        elif isinstance(of_image, str):
            collector.leave_out("txts that cannot be read", of_image)
        elif collector.add_image(name, sizes[name]):
            where = os.path.relpath(path, index.root)
            for at, line in enumerate(of_image, start=1):
                if box := _add(collector, name, f"{where}:{at}", line, category_of, keypoints):
                    boxes.append(box)
    _check(source, boxes)
    return collector.finish(Limits(outside=1), FORM)


def _lines_of(path: str | None) -> list[str] | str:
    """Lines, or why there are none."""
    try:
        return read_lines(path) if path else []
    except UserError as error:
        return str(error)


def label_file(root: str, name: str, folder: str | None = None) -> str | None:
    """The txt of an image: in labels/ in place of the last images/ of its path, or beside it.

    Args:
        folder: that it must lie below, also where it has the image's path from there, or from
            labels/ there.
    """
    text = f"{os.path.splitext(name)[0]}.txt"
    path = os.path.join(root, text)
    places = [_swap(path, "images", "labels"), path]
    if folder:
        places = [place for place in places if _is_below(place, folder)]
        places += [os.path.join(folder, text), os.path.join(folder, "labels", text)]
    return next((place for place in places if os.path.isfile(place)), None)


def _swap(path: str, name: str, other: str) -> str:
    """A path with the last folder of one name called otherwise."""
    parts = os.path.abspath(path).split(os.sep)
    if name in parts:
        parts[len(parts) - 1 - parts[::-1].index(name)] = other
    return os.sep.join(parts)


def _is_below(path: str, folder: str) -> bool:
    """Whether it is a file of the folder, perhaps by a link."""
    where = os.path.dirname(path)
    return any(
        os.path.join(whole(where), "").startswith(os.path.join(whole(folder), ""))
        for whole in (os.path.abspath, os.path.realpath)
    )


def _add(
    collector: Collector,
    name: str,
    where: str,
    line: str,
    category_of: dict[int, int],
    keypoints: bool,
) -> list[float] | None:
    """The corners of a line that has any, in shares of the image's size."""
    try:
        label, *values = map(float, line.split())
        values = values[:4] if keypoints else values
        corners = _corners(values)
    except ValueError:
        return collector.leave_out_box("lines that are no label", f"{where}: {line[:60]!r}")
    if not all(map(math.isfinite, values)):
        return collector.leave_out_box("boxes with values that are not finite", where)
    if label not in category_of:
        return collector.leave_out_box("boxes of classes without a name", f"{where}: {label:g}")
    if max(map(abs, corners)) > BEYOND:
        collector.leave_out_box("boxes far from their image", f"{where}: {line[:60]!r}")
        return corners
    if len(values) == 5:
        collector.mend("scores behind boxes, not read", where)
    width, height = collector.size_of(name)
    pixels = [x * side for x, side in zip(corners, (width, height) * 2, strict=True)]
    collector.add_box(name, category_of[label], pixels, where)
    return corners


def _corners(values: list[float]) -> list[float]:
    """Of a box, of one with a score behind it, or around a polygon.

    Raises:
        ValueError: the numbers are too few, or do not come in pairs.
    """
    if len(values) in (4, 5):
        x, y, w, h = values[:4]
        return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    if len(values) < 6 or len(values) % 2:
        raise ValueError("a polygon has three or more pairs")
    return [min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])]


def _check(source: str, boxes: list[list[float]]) -> None:
    """That the lines are shares of the image's size, and no corners.

    Args:
        boxes: x0, y0, x1, y1 as read.
    Raises:
        UserError
    """
    far = [box for box in boxes if max(map(abs, box)) > BEYOND]
    if len(far) > WRONG * len(boxes):
        raise UserError(
            f"{source}: {len(far)} of {len(boxes)} boxes have numbers that look like pixels, such "
            f"as {max(far[0]):g}: {FORM}; mend them"
        )
    outside = sum(min(box) < 0 or max(box) > 1 for box in boxes)
    # Of corners that were taken for centre and size, the size is always larger than the centre.
    as_corners = all(
        x0 + x1 < 2 * (x1 - x0) and y0 + y1 < 2 * (y1 - y0) for x0, y0, x1, y1 in boxes
    )
    if len(boxes) >= ENOUGH and as_corners and outside > WRONG * len(boxes):
        raise UserError(
            f"{source}: {outside} of {len(boxes)} boxes leave their image, and all look like "
            f"corners x0, y0, x1, y1: {FORM}; mend them"
        )
