"""Folders of images: what a listing takes and skips, and which files of a list are not there."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from multiprocessing.pool import ThreadPool

from ..utils.errors import UserError
from ..utils.files import short_path
from .coco_items import UNPRINTABLE
from .images import FEW, ImageError, check_header, read_record

logger = logging.getLogger(__name__)

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
BLOCK = 10_000  # names that are in memory at once while a folder is listed
DECODED = 500  # images of a test set that are read before training; of more, the headers
# Thumbnails, copies and rubbish that systems and archives leave; hidden folders are skipped anyway.
HOUSEKEEPING = {
    *("__macosx", "@eadir", "@__thumb", "@recycle", "#recycle", "$recycle.bin", "recycler"),
    *("#snapshot", "@recently-snapshot", "system volume information", "lost+found"),
}


class Listing:
    """What a walk through a folder takes and skips: counts, and a name of each kind."""

    def __init__(self, root: str):
        self.root = root
        self.endings, self.skipped = Counter(), {}  # what -> (how many, the first by name)

    def add(self, path: str, skipped: str) -> None:
        if not skipped:
            self.endings[os.path.splitext(path)[1].lower()] += 1
            return
        count, first = self.skipped.get(skipped, (0, path))
        self.skipped[skipped] = count + 1, min(first, path)

    def __len__(self) -> int:
        return self.endings.total()

    def said(self) -> str:
        """What is skipped."""
        left = [f"{n} {what} ({first})" for what, (n, first) in sorted(self.skipped.items())]
        return f"; skipped: {', '.join(left)}" if left else ""

    def __str__(self) -> str:
        of_each = ", ".join(f"{count} {ending}" for ending, count in self.endings.most_common())
        return f"{self.root}: {len(self)} images ({of_each}){self.said()}"


def find_images(root: str) -> list[str]:
    """The images below a folder, by name; one line of the log says what is taken and skipped.

    Linked folders are followed. A folder that several paths lead to is looked at once.

    Returns:
        sorted paths that start at `root`.
    Raises:
        UserError: there are none.
    """
    listing, taken = Listing(root), []
    for path, skipped in walk(root):
        listing.add(path, skipped)
        if not skipped:
            taken.append(path)
    if not taken:
        raise UserError(f"there are no images in {root} ({', '.join(SUFFIXES)}){listing.said()}")
    logger.info(str(listing))
    return sorted(taken)


def walk(root: str, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[tuple[str, str]]:
    """All that is below a folder, by name where a folder has at most BLOCK entries; of a larger one
    no list is kept, so that its blocks come as the file system has them.

    Args:
        suffixes: of the files to take, in small letters.
    Yields:
        a path that starts at `root`, and why it is skipped; nothing if it is not.
    """
    folders, links, seen = [""], [], set()  # links last, so that images go by their own path
    while folders or links:
        folder = (folders or links).pop()
        where = os.path.join(root, folder)
        try:
            status = os.stat(where)
            place = status.st_dev, status.st_ino
            if place in seen:
                yield folder, "links to folders that are listed already"
                continue
            seen.add(place)
            with os.scandir(where) as entries:
                for entry in _by_name(entries):
                    path = os.path.join(folder, entry.name)
                    try:
                        is_folder, skipped = entry.is_dir(), _why_skipped(entry, path, suffixes)
                    except OSError:  # a link that leads to itself
                        is_folder, skipped = False, "links that lead nowhere"
                    if is_folder and not skipped:
                        (links if entry.is_symlink() else folders).append(path)
                    else:
                        yield (repr(path) if UNPRINTABLE.search(path) else path), skipped
        except OSError:
            yield folder, "folders that cannot be opened"


def _by_name(entries: Iterator[os.DirEntry]) -> Iterator[os.DirEntry]:
    while block := sorted(islice(entries, BLOCK), key=lambda entry: entry.name):
        yield from block


def _why_skipped(entry: os.DirEntry, path: str, suffixes: tuple[str, ...]) -> str:
    hidden = entry.name.startswith(".")
    if entry.is_dir():
        housekeeping = hidden or entry.name.lower() in HOUSEKEEPING
        return "hidden or housekeeping folders" if housekeeping else ""
    if hidden:
        return "hidden files"
    if not entry.name.lower().endswith(suffixes):
        return "files of other endings"
    if not (entry.is_file() or entry.is_symlink()):
        return "pipes and other non-files"
    return "names that no json takes" if UNPRINTABLE.search(path) else ""


def absent(paths: Iterable[str]) -> list[int]:
    """The positions of files that are not there: by listing each folder once, which takes seconds
    where asking for each of 100,000 files takes minutes.
    """
    names, missing = {}, []
    for position, path in enumerate(paths):
        folder, name = os.path.split(path)
        if folder not in names:
            names[folder] = _names(folder)
        # A file system may take several names for one.
        if name not in names[folder] and not os.path.isfile(path):
            missing.append(position)
    return missing


def check_images(name: str, json_file: str | None, images: list[dict], max_pixels: float) -> None:
    """That the files of a data set are there, and one of a few can be read.

    Args:
        images: in Detectron2's dict format.
        max_pixels: see DATALOADER.MAX_IMAGE_PIXELS.
    Raises:
        UserError: naming the set, the image and the reason.
    """
    where = f"data set {name}: "
    if missing := absent(image["file_name"] for image in images):
        first = images[missing[0]]["file_name"]
        raise UserError(
            f"{where}{len(missing)} of {len(images)} images of {json_file or 'the set'} do not "
            f"exist, the first is {short_path(first)}{_other_name(first)}: copy them there, or "
            "take them out of the annotations"
        )
    warn_of_repeated(f"data set {name}", [image["file_name"] for image in images])
    reasons = []
    last = len(images) - 1
    tried = sorted({number * last // FEW for number in range(FEW + 1)}) if images else []
    for image in (images[position] for position in tried):
        try:
            read_record(dict(image), "RGB", max_pixels)
            return
        except ImageError as error:
            reasons.append(error)
    if reasons:
        raise UserError(
            f"{where}{len(reasons)} of {len(reasons)} images tried cannot be read; the first "
            f"is {short_path(images[0]['file_name'])} ({reasons[0]})"
        )


def warn_of_repeated(where: str, paths: list[str]) -> None:
    """Each entry of a json has its own boxes, so that a file that two share is half labelled."""
    if repeated := [path for path, count in Counter(paths).items() if count > 1]:
        logger.warning(
            f"{where}: {len(repeated)} files are listed more than once, the first is "
            f"{short_path(repeated[0])}: each entry counts as an image with boxes of its own"
        )


def check_every_image(name: str, images: list[dict], max_pixels: float) -> None:
    """That all images of a set can be read, as an evaluation needs; of many, their headers.

    Args:
        images: in Detectron2's dict format.
        max_pixels: see DATALOADER.MAX_IMAGE_PIXELS.
    Raises:
        UserError: naming the set, the first image that cannot be read, and the reason.
    """

    def problem(image: dict) -> str | None:
        try:
            if len(images) <= DECODED:
                read_record(dict(image), "RGB", max_pixels)
            else:
                check_header(dict(image), max_pixels)
        except ImageError as error:
            return str(error)

    with ThreadPool(16) as pool:
        problems = pool.map(problem, images)
    if bad := [position for position, said in enumerate(problems) if said]:
        raise UserError(
            f"data set {name}: {len(bad)} of {len(images)} images cannot be read, and an "
            f"evaluation needs every one; the first is {short_path(images[bad[0]]['file_name'])} "
            f"({problems[bad[0]]}): mend it, or take it out of the annotations"
        )


def _names(folder: str) -> set[str]:
    """Of what is no folder; links are taken for files."""
    try:
        with os.scandir(folder or ".") as found:
            return {entry.name for entry in found if not entry.is_dir(follow_symlinks=False)}
    except OSError:
        return set()


def _other_name(path: str) -> str:
    """Of a file that differs in its ending, or in capitals."""
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0].casefold()
    near = [x for x in _names(folder) if os.path.splitext(x)[0].casefold() == stem]
    return f" (there is {min(near)})" if near else ""
