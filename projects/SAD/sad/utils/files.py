"""Writing files so that a reader never sees a half-written one; paths that others have written."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
from contextlib import contextmanager, suppress
from functools import cache
from urllib.parse import urlparse

from detectron2.utils.file_io import PathManager

from .errors import DISK_ERRORS, UserError

logger = logging.getLogger(__name__)

LOCK = ".lock"


def make_folder(path: str, name: str) -> None:
    """Make a folder to write to, unless it is there.

    Args:
        name: the key or flag that gives the path.
    Raises:
        UserError: something else is in the way, or writing is not allowed.
    """
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            f"{name} {path} cannot be written to ({error.strerror}): name another folder"
        ) from error


def lock_folder(folder: str, name: str) -> None:
    """Keep a folder to this process until it ends, however it ends. Its children do not have it.

    Args:
        name: the key or flag that gives the folder.
    Raises:
        UserError: another process has it.
    """
    path = os.path.join(folder, LOCK)
    descriptor = None  # stays open: the lock goes with the process, or with the descriptor
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.stat(path)
    except (BlockingIOError, FileNotFoundError) as error:  # or its owner removes it at this moment
        owner = os.pread(descriptor, 200, 0).decode(errors="replace") if descriptor else ""
        raise UserError(
            f"{name} {folder} is in use by {owner or 'another process'}: let that end, or name "
            "another folder"
        ) from error
    except OSError as error:  # a network's file system may have no locks
        logger.warning(f"{path} cannot be locked ({error.strerror}): let nobody else write there")
        return
    with suppress(OSError):  # a full disk
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def remove_folder(folder: str) -> None:
    """Delete a folder of files that this process has locked.

    The lock goes last, and who then comes keeps the folder.
    """
    for name in os.listdir(folder):
        if name != LOCK:
            os.unlink(os.path.join(folder, name))
    shutil.rmtree(folder, ignore_errors=True)


def sha256(path: str) -> str:
    """Of a file, or of what a URL names, which is downloaded; computed once for a file as it is.

    Raises:
        OSError: it cannot be read.
    """
    path = urlparse(path)._replace(query="").geturl()  # ?matching_heuristics=True
    path = PathManager.get_local_path(path)
    return _sha256(path, file_state(path))


def file_state(path: str) -> tuple[int, int, int]:
    """What changes when a file does."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


@cache
def _sha256(path: str, _) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: str, mode: str = "w", durable: bool = True):
    """Open a temporary file beside `path`; flush and rename it on success, remove it on failure.

    Args:
        durable: wait until the disk has it, so that a power cut leaves the old file or the new one.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name}.{os.urandom(4).hex()}")
    file = open(temporary, mode.replace("w", "x"))  # noqa: SIM115
    try:
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError) and error.errno in DISK_ERRORS and not error.filename:
            error.filename = path  # which a write does not name
        raise


def write_json(path: str, content, **options) -> None:
    """Write a json that appears under its name whole or not at all; `options` are json.dump's."""
    with atomic_write(path) as file:
        json.dump(content, file, **options)


def inside(folder: str, path: str) -> bool:
    """Whether a path that was joined from `folder` and a name stays below the folder.

    By its text alone: links below the folder are the user's own and may lead anywhere.
    """
    name = path.removeprefix(os.path.join(folder, ""))
    return name != path and ".." not in name.split(os.sep)


def check_inside(folder: str, path: str, where: str) -> None:
    """
    Args:
        path: joined from the folder and a name that `where` gives.
    Raises:
        UserError: it leads out of the folder.
    """
    if not inside(folder, path):
        raise UserError(
            f"{where} lists {short_path(path)}, which lies outside {folder}; move the image there, "
            "or link to it, and mend its file_name"
        )


def short_path(path: str) -> str:
    """A name may be as long as whoever wrote it liked."""
    return path if len(path) <= 200 else f"{path[:100]}...{path[-97:]}"
