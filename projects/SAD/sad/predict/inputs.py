"""The images and videos that a user names: files, folders and patterns, listed as they are met."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..data.coco_items import UNPRINTABLE
from ..data.image_files import SUFFIXES, Listing, walk
from ..utils.errors import UserError
from .output import is_result

logger = logging.getLogger(__name__)

VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
EARLIER = "results of an earlier prediction"


@dataclass(frozen=True)
class Source:
    """An image or a video.

    Attributes:
        path: of the file.
        name: the same from `Inputs.root`, by which results are called.
    """

    path: str
    name: str

    @property
    def is_video(self) -> bool:
        return self.path.lower().endswith(VIDEOS)


class Inputs:
    """Iterating lists them, each time anew: of a folder no list of names is kept.

    A file that several names lead to comes once. Links to folders are followed. Folders of earlier
    results are looked into only where their names are given.

    Attributes:
        root: the folder that all of them are below.
    """

    def __init__(self, given: list[str]):
        """
        Args:
            given: files, folders, and patterns such as photos/*.jpg, of which ** is any folders.
        Raises:
            UserError: a name leads to nothing, or cannot be written to a json.
        """
        paths = {os.path.abspath(path) for name in given for path in _expanded(name)}
        folders = {path for path in paths if os.path.isdir(path)}
        tops = {path for path in paths if not _is_below(path, folders)}
        self.folders, self.files = sorted(tops & folders), sorted(tops - folders)
        self.root = os.path.commonpath([*self.folders, *map(os.path.dirname, self.files)])
        for path in (*self.folders, *self.files):
            if UNPRINTABLE.search(path):
                raise UserError(f"{path!r} is a name that no json takes: rename it")

    def __iter__(self) -> Iterator[Source]:
        for path in self.files:
            yield self._source(path)
        for folder in self.folders:
            for path, skipped in self._walk(folder):
                if not skipped:
                    yield self._source(os.path.join(folder, path))

    def count(self) -> int:
        """How many there are; a line of the log for each folder says what is taken and skipped.

        Raises:
            UserError: none.
        """
        total, lines = len(self.files), []
        for folder in self.folders:
            listing = Listing(folder)
            for path, skipped in self._walk(folder):
                listing.add(path, skipped)
            lines.append(f"{folder}: {_counted(listing.endings)}{listing.said()}")
            total, last = total + len(listing), listing.said()
        if not total:
            endings = ", ".join((*SUFFIXES, *VIDEOS))
            raise UserError(
                f"there are no images and videos in {self.folders[0]} ({endings}){last}"
            )
        for line in lines:
            logger.info(line)
        return total

    def _source(self, path: str) -> Source:
        return Source(path, path.removeprefix(os.path.join(self.root, "")))

    def _walk(self, folder: str) -> Iterator[tuple[str, str]]:
        for path, skipped in walk(folder, (*SUFFIXES, *VIDEOS)):
            yield path, EARLIER if is_result(path) else skipped


def _counted(endings: Counter) -> str:
    """Such as 3 images (2 .jpg, 1 .png) and 1 videos (1 .mp4)."""
    kinds = []
    for kind, suffixes in (("images", SUFFIXES), ("videos", VIDEOS)):
        of_kind = [(count, x) for x, count in endings.most_common() if x in suffixes]
        if of_kind:
            of_each = ", ".join(f"{count} {ending}" for count, ending in of_kind)
            kinds.append(f"{sum(count for count, _ in of_kind)} {kind} ({of_each})")
    return " and ".join(kinds) or "no images and videos"


def _expanded(name: str) -> list[str]:
    """A path as it is, a pattern as the files that it fits."""
    if os.path.exists(name):
        return [name]
    if not glob.has_magic(name):
        raise UserError(f"{name} does not exist: name images, videos, folders or a pattern of them")
    found = glob.glob(name, recursive=True)
    if not is_result(name) and (earlier := list(filter(is_result, found))):
        logger.info(f"{name}: skipped: {len(earlier)} {EARLIER} ({min(earlier)})")
        found = [path for path in found if not is_result(path)]
    if not found:
        raise UserError(f"no file fits the pattern {name}")
    return found


def _is_below(path: str, folders: set[str]) -> bool:
    return any(str(parent) in folders for parent in Path(path).parents)
