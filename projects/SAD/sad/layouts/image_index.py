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


def _folder_of(key: str) -> str:
    return key.rpartition("/")[0].strip("/")


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
        return self._by_path(name) or self._by_end(name) or self._by_name(name)

    def find_all(self, names: Iterable[str], others: Iterable[str] = ()) -> dict[str, str | None]:
        """The same for all entries of a set, the surest first. None takes what another one names.

        An image that several could only mean by the end of their paths belongs to none of them. Nor
        does an entry that names a folder lead to another folder that entries name.

        Args:
            others: entries of other sets, whose images are taken as well.
        """
        names = list(dict.fromkeys(names))
        found = {name: image for name in names if (image := self._by_path(name))}
        named = {*found.values(), *filter(None, map(self._by_path, others))}
        for look in (self._by_end, self._by_name):
            folders = {_folder_of(key_of(image)) for image in named}
            claims = defaultdict(list)
            for name in names:
                image = None if name in found else look(name)
                if image and image not in named and not self._lies_apart(name, image, folders):
                    claims[image].append(name)
            for image, claiming in claims.items():
                if len({self._key(name) for name in claiming}) == 1:
                    found.update(dict.fromkeys(claiming, image))
            named.update(claims)
        return {name: found.get(name) for name in names}

    def _key(self, name: str) -> str:
        return key_of(name).removeprefix(key_of(self.root) + "/")

    def _by_path(self, name: str) -> str | None:
        return name if name in self._exact else self._only(self._tables[:2], self._key(name))

    def _by_end(self, name: str) -> str | None:
        """By a path that goes on above the root, as on another machine."""
        parts = self._key(name).split("/")
        ends = ("/".join(parts[n:]) for n in range(1, len(parts) - 1))
        return next(filter(None, (self._only(self._tables[:2], end) for end in ends)), None)

    def _by_name(self, name: str) -> str | None:
        path = self._key(name)
        base = path.rpartition("/")[2]
        found = self._only(self._tables[2:], base)
        if not found and base.endswith(SUFFIXES):  # else what follows a dot belongs to the name
            bare_path, bare = os.path.splitext(path)[0], os.path.splitext(base)[0]
            found = self._only(self._tables[1:2], bare_path) or self._only(self._tables[3:], bare)
        return found

    @staticmethod
    def _only(tables: Sequence[dict], key: str) -> str | None:
        """What the first of the tables has that knows one image alone."""
        return next((x[0] for table in tables if len(x := table.get(key, [])) == 1), None)

    def _lies_apart(self, name: str, image: str, folders: set[str]) -> bool:
        """Whether an entry names a folder, and its image is in another one, of `folders`."""
        folder, there = _folder_of(self._key(name)), _folder_of(key_of(image))
        same = f"/{folder}".endswith(f"/{there}") or f"/{there}".endswith(f"/{folder}")
        return bool(folder and there) and not same and there in folders

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
