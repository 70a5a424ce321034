"""YOLO: a txt for each image, lines of class and box in shares of the image's size."""

import math
import os
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import yaml

from ..data.categories import order_of
from ..utils.errors import UserError, reason
from .image_index import THREADS, ImageIndex
from .labels import Collector, Labels

CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels")


def read_names(path: str) -> list[str]:
    """The classes of a data.yaml, or of a text file with one name a line.

    Raises:
        UserError: it cannot be read, or names none.
    """
    content = read_yaml(path) if path.endswith((".yaml", ".yml")) else _read_lines(path)
    names = content.get("names") if isinstance(content, dict) else content
    if isinstance(names, dict):
        try:
            numbered = {int(key): value for key, value in names.items()}
        except (TypeError, ValueError):
            numbered = {}
        names = (
            [numbered[n] for n in sorted(numbered)]
            if set(numbered) == set(range(len(numbered)))
            else None
        )
    if not names or not isinstance(names, list):
        raise UserError(
            f"{path} names no classes: it needs names, a list, or numbers from 0 with their names"
        )
    return [str(name) for name in names]


def read_yaml(path: str) -> dict:
    """
    Raises:
        UserError: it is no yaml with keys.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = yaml.safe_load(file)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as yaml ({reason(error)}): mend it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no keys such as names and train: mend it")
    return content


def _read_lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): mend it") from error


def read_yolo(
    source: str,
    index: ImageIndex,
    names: Sequence[str],
    classes: Sequence[str] | None = None,
    among: set[str] | None = None,
) -> Labels:
    """
    An image with an empty txt shows none of the objects; one without a txt is not labelled.
    Polygons become the boxes around them.

    Args:
        names: of the classes, by the numbers in the files.
        classes: the same names in the order that is wanted.
        among: the images that belong to the set, of `index.names`; None is all.
    Raises:
        UserError: a line is no label, most boxes are in pixels, or the names are others.
    """
    wanted = list(classes or names)
    number = [n + 1 for n in order_of(list(names), wanted, source, "the other labels")]
    collector = Collector("YOLO", source, index.root, wanted)
    images = [name for name in index.names if among is None or name in among]
    with ThreadPool(THREADS) as pool:
        found = pool.map(lambda name: label_file(index.root, name), images, 64)
        lines = pool.map(lambda path: _read_lines(path) if path else [], found, 64)
    labelled = [name for name, path in zip(images, found, strict=True) if path]
    if not labelled:
        raise UserError(
            f"{source}: none of {len(images)} images has a txt of its name, neither beside it nor "
            "in a folder labels: name the folder that holds images and labels"
        )
    sizes = index.sizes(labelled)
    for name, path, of_image in zip(images, found, lines, strict=True):
        if path is None:
            collector.labels.unlabeled.append(name)
        elif isinstance(sizes[name], str):
            collector.leave_out("images that cannot be read", f"{name} ({sizes[name]})")
        elif collector.add_image(name, sizes[name]):
            for at, line in enumerate(of_image, start=1):
                _add(collector, name, f"{path}:{at}", line, number)
    return collector.finish()


def label_file(root: str, name: str) -> str | None:
    """The txt of an image: in labels/ in place of the last images/ of its path, or beside it."""
    path = os.path.splitext(os.path.join(root, name))[0] + ".txt"
    folders = path.split(os.sep)
    places = [path]
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        places.insert(0, os.sep.join([*folders[:last], "labels", *folders[last + 1 :]]))
    return next((place for place in places if os.path.isfile(place)), None)


def _add(collector: Collector, name: str, where: str, line: str, number: list[int]) -> None:
    try:
        label, *values = map(float, line.split())
    except ValueError as error:
        raise UserError(
            f"{where} is {line[:60]!r}, no numbers: a label is class x y w h"
        ) from error
    if not all(map(math.isfinite, (label, *values))):
        return collector.leave_out("boxes with values that are not finite", where)
    if label % 1 or not 0 <= label < len(number):
        return collector.leave_out("boxes of classes that are not named", f"{where}: {label:g}")
    if len(values) == 5:
        collector.mend("scores behind boxes, not read", where)
        values = values[:4]
    corners = _corners(values)
    if corners is None:
        raise UserError(
            f"{where} has {len(values)} numbers behind the class: a box has 4, a polygon 6 or more "
            "in pairs"
        )
    if max(map(abs, corners)) > 2:
        raise UserError(
            f"{where} is {line[:60]!r}: YOLO's numbers are shares of the image's size, from 0 to "
            "1, and these look like pixels"
        )
    width, height = collector.sizes[name]
    pixels = [x * side for x, side in zip(corners, (width, height) * 2, strict=True)]
    collector.add_box(name, number[int(label)], pixels, where)


def _corners(values: list[float]) -> list[float] | None:
    if len(values) == 4:
        x, y, w, h = values
        return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    if len(values) >= 6 and len(values) % 2 == 0:
        return [min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])]
    return None
