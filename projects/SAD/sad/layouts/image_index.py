"""The images below a folder, found again by the names that labelling tools give them."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from multiprocessing.pool import ThreadPool

from ..data.image_files import SUFFIXES, find_images
from ..data.images import ImageError, read_size
from ..utils.errors import UserError

THREADS = 16  # files may lie on a network


def key_of(name: str) -> str:
    """Names that are one to a person: of one case, with slashes, accents of one encoding."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold().removeprefix("./")


class ImageIndex:
    """
    Attributes:
        root: absolute.
        names: of all images, relative to it, sorted.
    """

    def __init__(self, root: str, folders: Sequence[str] = ()):
        """
        Args:
            folders: below it, to look in; none is all of it.
        Raises:
            UserError: a folder does not exist, or holds no images.
        """
        self.root, names = os.path.abspath(root), set()
        for folder in map(os.path.abspath, folders or [root]):
            if not os.path.isdir(folder):
                raise UserError(f"image folder {folder} does not exist: name it with --images")
            inside = os.path.relpath(folder, self.root)
            start = "" if inside == "." else inside
            names.update(os.path.join(start, name) for name in find_images(folder))
        self.names = sorted(names)
        self._exact = set(self.names)
        # From the surest to the vaguest: the path, the path without its ending, the file's name,
        # that without its ending.
        self._tables = [defaultdict(list) for _ in range(4)]
        for name in self.names:
            path = key_of(name)
            base = path.rpartition("/")[2]
            keys = path, os.path.splitext(path)[0], base, os.path.splitext(base)[0]
            for table, key in zip(self._tables, keys, strict=True):
                table[key].append(name)

    def find(self, name: str) -> str | None:
        """The image that a label file means, by its path, its name, or these without an ending.

        The folder and the case may be others, and so may the ending where no image has the one that
        is given. None where there is no such image, or where several could be meant.
        """
        if name in self._exact:
            return name
        path = key_of(name).removeprefix(key_of(self.root) + "/")
        base = path.rpartition("/")[2]
        tries = zip(self._tables, (path, path, base, base), strict=True)
        if base.endswith(SUFFIXES):  # else what follows a dot belongs to the name
            bare_path, bare = os.path.splitext(path)[0], os.path.splitext(base)[0]
            tries = [*tries, (self._tables[1], bare_path), (self._tables[3], bare)]
        for table, key in tries:
            if len(found := table.get(key, [])) == 1:
                return found[0]
        return None

    def below(self, folder: str) -> list[str]:
        """Names of the images in a folder of the root, or further below it."""
        inside = os.path.relpath(os.path.abspath(folder), self.root)
        return [x for x in self.names if inside == "." or x.startswith(inside + os.sep)]

    def sizes(self, names: Iterable[str]) -> dict[str, tuple[int, int] | str]:
        """{name: (width, height) as training reads it, or why it cannot be read}."""

        def size(name: str):
            try:
                return read_size(os.path.join(self.root, name))
            except ImageError as error:
                return str(error)

        names = list(names)
        with ThreadPool(THREADS) as pool:
            return dict(zip(names, pool.map(size, names, 64), strict=True))
