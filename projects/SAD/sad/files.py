"""Writing files so that a reader never sees a half-written one; paths that others have written."""

import hashlib
import os
import tempfile
from contextlib import contextmanager
from urllib.parse import urlparse

from detectron2.utils.file_io import PathManager

from .errors import UserError


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


def sha256(path: str) -> str:
    """Of a file, or of what a URL names, which is downloaded.

    Raises:
        OSError: it cannot be read.
    """
    path = urlparse(path)._replace(query="").geturl()  # ?matching_heuristics=True
    with open(PathManager.get_local_path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: str, mode: str = "w"):
    """Open a temporary file beside `path`; flush and rename it on success, remove it on failure."""
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(descriptor, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def inside(folder: str, path: str) -> bool:
    """Whether a path that was joined from `folder` and a name stays below the folder.

    By its text alone: links below the folder are the user's own and may lead anywhere.
    """
    name = path.removeprefix(os.path.join(folder, ""))
    return name != path and ".." not in name.split(os.sep)
