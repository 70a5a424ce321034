"""Folders that one thread or command at a time works in."""

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone_in(folder: Path):
    """No other thread or command is in here with the same folder, which is made if need be.

    Yields:
        a descriptor: a process that is started with it keeps the folder, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def is_taken(folder: Path) -> bool:
    """Whether somebody is in `alone_in` with a folder, which need not be there."""
    if not folder.exists():
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
