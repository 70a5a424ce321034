"""The images below a folder, found again by the names that labelling tools give them."""

import os
from collections import defaultdict
from collections.abc import Iterable
from multiprocessing.pool import ThreadPool

from ..data.image_files import find_images
from ..data.images import ImageError, read_size
from ..utils.errors import UserError

THREADS = 16  # files may lie on a network


class ImageIndex:
    """
    Attributes:
        root: absolute.
        names: of all images, relative to it.
    """

    def __init__(self, root: str):
        """
        Raises:
            UserError: the folder does not exist, or holds no images.
        """
        if not os.path.isdir(root):
            raise UserError(f"image folder {root} does not exist: name it with --images")
        self.root = os.path.abspath(root)
        self.names = find_images(self.root)
        self.by_path = {name.casefold(): name for name in self.names}
        self.by_name, self.by_stem = defaultdict(list), defaultdict(list)
        for name in self.names:
            base = os.path.basename(name).casefold()
            self.by_name[base].append(name)
            self.by_stem[os.path.splitext(base)[0]].append(name)

    def find(self, name: str) -> str | None:
        """The image that a label file means: by its path, its file's name, or that without ending.

        None where there is none, or where several could be meant.
        """
        name = name.replace("\\", "/").casefold()
        relative = os.path.normpath(os.path.relpath(name, self.root.casefold()))
        for path in (name.removeprefix("./"), relative):
            if path in self.by_path:
                return self.by_path[path]
        base = name.rpartition("/")[2]
        for candidates in (self.by_name[base], self.by_stem[os.path.splitext(base)[0]]):
            if len(candidates) == 1:
                return candidates[0]
        return self._by_whole_stem(base)

    def _by_whole_stem(self, base: str) -> str | None:
        """Of a name that lacks its ending, and has a dot in it."""
        candidates = self.by_stem.get(base, [])
        return candidates[0] if len(candidates) == 1 else None

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
