"""Detections on disk: a file for each shard of the images, whichever process made it.

A shard is there whole or not at all, and does not depend on the number of processes.
"""

import os
from collections.abc import Iterator

import numpy as np

from .errors import UserError
from .files import atomic_write
from .image_table import SHARED_FOLDER
from .pseudo_labels import DETECTION


def write_shard(
    folder: str, number: int, detections: list[np.ndarray], unreadable: dict[int, str]
) -> None:
    """Write the detections (arrays of DETECTION) and {position: why unreadable} of a shard."""
    with atomic_write(_path(folder, number), "wb") as file:
        np.savez(
            file,
            detections=np.concatenate([np.empty(0, DETECTION), *detections]),
            unreadable=np.array(list(unreadable), np.int32),
            reasons=np.array(list(unreadable.values()), str),
        )


def read_unreadable(folder: str, num_shards: int) -> dict[int, str]:
    """{position: why unreadable} of all shards.

    Raises:
        UserError: a shard is missing.
    """
    unreadable = {}
    for number in range(num_shards):
        with _open(folder, number) as shard:
            reasons = shard["reasons"].tolist()
            unreadable |= zip(shard["unreadable"].tolist(), reasons, strict=True)
    return unreadable


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
