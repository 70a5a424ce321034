"""Folders of images: what a listing takes and skips, and which files of a list are not there."""

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from multiprocessing.pool import ThreadPool

from ..utils.errors import UserError
from ..utils.files import short_path
from .coco_items import UNPRINTABLE
from .images import FEW, ImageError, check_header, read_record

logger = logging.getLogger(__name__)

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
DECODED = 500  # images of a test set that are read before training; of more, the headers
# Thumbnails, copies and rubbish that systems and archives leave; hidden folders are skipped anyway.
HOUSEKEEPING = {
    *("__macosx", "@eadir", "@__thumb", "@recycle", "#recycle", "$recycle.bin", "recycler"),
    *("#snapshot", "@recently-snapshot", "system volume information", "lost+found"),
}


def find_images(root: str) -> list[str]:
    """The images below a folder, by name; one line of the log says what is taken and skipped.

    Linked folders are followed. A folder that several paths lead to is looked at once.

    Returns:
        sorted paths that start at `root`.
    Raises:
        UserError: there are none.
    """
    taken, skipped = [], defaultdict(list)  # what, and why -> names
    folders, links, seen = [""], [], set()  # links last, so that images go by their own path
    while folders or links:
        folder = (folders or links).pop()
        try:
            status = os.stat(os.path.join(root, folder))
            with os.scandir(os.path.join(root, folder)) as found:
                entries = list(found)
        except OSError:
            skipped["folders that cannot be opened"].append(folder)
            continue
        if (status.st_dev, status.st_ino) in seen:
            skipped["links to folders that are listed already"].append(folder)
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            path, hidden = os.path.join(folder, entry.name), entry.name.startswith(".")
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link that leads to itself
                skipped["links that lead nowhere"].append(path)
                continue
            if is_folder:
                if hidden or entry.name.lower() in HOUSEKEEPING:
                    skipped["hidden or housekeeping folders"].append(path)
                else:
                    (links if entry.is_symlink() else folders).append(path)
            elif hidden:
                skipped["hidden files"].append(path)
            elif not entry.name.lower().endswith(SUFFIXES):
                skipped["files of other endings"].append(path)
            elif not (entry.is_file() or entry.is_symlink()):
                skipped["pipes and other non-files"].append(path)
            elif UNPRINTABLE.search(path):
                skipped["names that no json takes"].append(repr(path))
            else:
                taken.append(path)
    left = [f"{len(names)} {what} ({min(names)})" for what, names in sorted(skipped.items())]
    said = f"; skipped: {', '.join(left)}" if left else ""
    if not taken:
        raise UserError(f"there are no images in {root} ({', '.join(SUFFIXES)}){said}")
    endings = Counter(os.path.splitext(path)[1].lower() for path in taken)
    of_each = ", ".join(f"{count} {ending}" for ending, count in endings.most_common())
    logger.info(f"{root}: {len(taken)} images ({of_each}){said}")
    return sorted(taken)


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
