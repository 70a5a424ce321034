"""The files below a folder, by their endings."""

import os
from collections import defaultdict
from collections.abc import Sequence

from ..data.image_files import HOUSEKEEPING
from ..utils.errors import UserError, reason


class Tree:
    """What lies below a folder, hidden and housekeeping files left out."""

    def __init__(self, root: str):
        self.root = root
        self._paths = defaultdict(list)  # ending -> paths
        seen = set()
        for folder, folders, names in os.walk(root, followlinks=True):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:  # a link to a folder above it, say
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(x for x in folders if x[0] != "." and x.lower() not in HOUSEKEEPING)
            for name in names:
                if not name.startswith("."):
                    ending = os.path.splitext(name)[1].lower()
                    self._paths[ending].append(os.path.join(folder, name))

    def paths(self, *endings: str) -> list[str]:
        """Sorted paths, of files with one of the endings (in small letters)."""
        return sorted(path for ending in endings for path in self._paths[ending])


def read_lines(path: str) -> list[str]:
    """The lines of a text that hold something, without blanks at their ends.

    Raises:
        UserError: it cannot be read, or is no text of UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as text ({reason(error)}): mend it") from error


def listed(items: Sequence[str], most: int = 3) -> str:
    """The first of some names, for a sentence."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
