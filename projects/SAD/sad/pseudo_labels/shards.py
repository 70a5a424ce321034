"""Detections on disk: a file for each shard of the images, whichever process made it.

A shard is there whole or not at all, and does not depend on the number of processes. It names the
images it is of, so that a later run can tell whether it may be kept.
"""

import os
from collections.abc import Iterable, Iterator

import numpy as np

from ..utils.errors import UserError
from ..utils.files import atomic_write
from .detections import DETECTION
from .image_table import SHARED_FOLDER

ARRAYS = {"files", "detections", "unreadable", "reasons", "truncated"}


def write_shard(
    folder: str,
    number: int,
    files: np.ndarray,
    detections: list[np.ndarray],
    unreadable: dict[int, str],
    truncated: list[int],
) -> None:
    """Write a shard.

    Args:
        files: (N, 2), position and bytes of each of its images, see `LabelingJob.files`.
        detections: arrays of DETECTION.
        unreadable: {position: reason}.
        truncated: positions of images that lack their last bytes.
    """
    with atomic_write(_path(folder, number), "wb") as file:
        np.savez(
            file,
            files=files,
            detections=np.concatenate([np.empty(0, DETECTION), *detections]),
            unreadable=np.array(list(unreadable), np.int32),
            reasons=np.array(list(unreadable.values()), str),
            truncated=np.array(truncated, np.int32),
        )


def is_whole(folder: str, number: int, files: np.ndarray) -> bool:
    """Whether a shard is there, undamaged, and of these very images (see `write_shard`).

    One with an image that could not be read is made again: that may have been mended.
    """
    if not os.path.exists(_path(folder, number)):
        return False
    try:
        with _open(folder, number) as shard:
            arrays = {name: shard[name] for name in shard}  # reading compares the checksums
    except Exception:  # numpy and zipfile raise anything
        return False
    if not ARRAYS <= arrays.keys() or len(arrays["unreadable"]):
        return False
    return np.array_equal(arrays["files"], files)


def read_unreadable(folder: str, numbers: Iterable[int]) -> dict[int, str]:
    """{position: why unreadable} of these shards.

    Raises:
        UserError: a shard is missing.
    """
    unreadable = {}
    for number in numbers:
        with _open(folder, number) as shard:
            reasons = shard["reasons"].tolist()
            unreadable |= zip(shard["unreadable"].tolist(), reasons, strict=True)
    return unreadable


def read_truncated(folder: str, numbers: Iterable[int]) -> list[int]:
    """The positions of these shards' images that lack their last bytes.

    Raises:
        UserError: a shard is missing.
    """
    truncated = []
    for number in numbers:
        with _open(folder, number) as shard:
            truncated += shard["truncated"].tolist()
    return sorted(truncated)


def read_detections(folder: str, num_shards: int) -> Iterator[np.ndarray]:
    """The detections of one shard after the other; those of an image are in one shard, in a row.

    Raises:
        UserError: a shard is missing.
    """
    for number in range(num_shards):
        with _open(folder, number) as shard:
            yield shard["detections"]


def _path(folder: str, number: int) -> str:
    return os.path.join(folder, f"shard_{number}.npz")


def _open(folder: str, number: int):
    try:
        return np.load(_path(folder, number))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: {SHARED_FOLDER}") from error
