"""One look at each image file: whether it can be read, how large it is, what it resembles."""

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

import numpy as np

from ..data.images import ImageError, check_header
from .similar import THREADS, read_changes


class Look(NamedTuple):
    problem: str | None  # why the image cannot be used
    size: tuple[int, int] | None  # height and width, where it can
    changes: np.ndarray | None  # of `read_changes`, where it can


def scan(images: Sequence[dict]) -> list[Look]:
    """
    Args:
        images: file_name (a path), and height and width where labels give them.
    """
    with ThreadPool(THREADS) as pool:
        return pool.map(_look, images)


def _look(image: dict) -> Look:
    record = dict(image)
    try:
        check_header(record)  # fills in height and width where they are not given
        changes = read_changes(record["file_name"])
    except ImageError as error:
        return Look(str(error), None, None)
    return Look(None, (record["height"], record["width"]), changes)
