"""Images that are labelled or tested on do not belong among the unlabelled, by whatever name."""

import hashlib
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.pool import ThreadPool
from operator import attrgetter
from typing import Any, NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..utils.errors import UserError, reason
from .coco_json import CocoJson
from .image_files import absent
from .subset import choose_share

logger = logging.getLogger(__name__)

THREADS, AT_ONCE = 16, 256  # files may lie on a network
BLOCK = 4096  # bytes


class Leak(NamedTuple):
    set_name: str
    is_copy: bool  # of the same content; else the very file, by whatever path


class _File(NamedTuple):
    owner: Any  # its position in a list, or the name of its set
    path: str
    identity: tuple[int, int]  # device and inode: links have those of what they lead to
    size: int  # bytes


def find_leaks(paths: Sequence[str], known: dict[str, Sequence[str]]) -> dict[int, Leak]:
    """Which files are also in known sets, by path or by content.

    Only files of one size are opened, and only those with the same bytes in their middle are read.

    Args:
        known: {name of a set: paths of its files}. What does not exist is in no set.
    Returns:
        {position in paths: where it was found}
    """
    with ThreadPool(THREADS) as pool:
        theirs = _files(((name, path) for name in known for path in known[name]), pool)
        if not theirs:
            return {}
        names = {file.identity: file.owner for file in reversed(theirs)}
        sizes = {file.size for file in theirs}
        ours = [  # of a million, those that are worth a look
            file
            for file in pool.imap(_file, enumerate(paths), AT_ONCE)
            if file and (file.identity in names or file.size in sizes)
        ]
        leaks = {
            file.owner: Leak(names[file.identity], False) for file in ours if file.identity in names
        }
        ours = [file for file in ours if file.owner not in leaks]
        for mark in (attrgetter("size"), _middle):
            ours, theirs = _alike(mark, ours, theirs, pool)
        names = dict(zip(pool.map(_digest, theirs[::-1]), reversed(theirs), strict=True))
        for file, digest in zip(ours, pool.map(_digest, ours), strict=True):
            if digest in names:
                leaks[file.owner] = Leak(names[digest].owner, True)
    return dict(sorted(leaks.items()))


def left_out(paths: Sequence[str], known: dict[str, Sequence[str]], where: str) -> set[int]:
    """The positions of the unlabelled images that `find_leaks` finds, said in one line.

    Args:
        where: what lists them, a folder say.
    Raises:
        UserError: that is all of them.
    """
    leaks = find_leaks(paths, known)
    if not leaks:
        return set()
    counts = Counter(leak.set_name for leak in leaks.values())
    of_sets = ", ".join(f"{counts[name]} of {name}" for name in known if counts[name])
    copies = sum(leak.is_copy for leak in leaks.values())
    said = (
        f"{len(leaks)} of {len(paths)} images of {where} are labelled or tested on ({of_sets}; "
        f"{copies} of them are copies), the first is {paths[min(leaks)]}"
    )
    if len(leaks) == len(paths):
        raise UserError(
            f"{said}: no unlabelled image is left (if these are others of the same names, register "
            "the labelled set with its own folder, DATASETS.REGISTER)"
        )
    logger.warning(f"{said}: they are left out")
    return set(leaks)


def labeled_and_tested(
    cfg, image_root: str, image_json: str | None, labeled_json: str | None
) -> dict[str, list[str]]:
    """The images that people have labelled or that models are tested on, as far as a config knows.

    Of DATASETS.TRAIN and the labelled json those of DATASETS.LABELED_SHARE, all of DATASETS.TEST,
    and of each other set of DATASETS.REGISTER whose json has annotations. Not the set to be
    labelled, those of DATASETS.UNLABELED, and what labelling has written.

    Args:
        cfg: after `register_from_config`.
        image_root, image_json: what is to be labelled.
        labeled_json: where no registered set is made of it, nobody says where its images lie: in
            `image_root`, if all of them are there.
    Returns:
        {name of a set, or the labelled json: paths of its images}
    """
    sets = cfg.DATASETS
    json_of, roots = {}, defaultdict(list)  # name -> json, json -> image folders
    for name in DatasetCatalog.list():
        metadata = MetadataCatalog.get(name)
        if metadata.get("json_file"):
            json_of[name] = os.path.realpath(metadata.json_file)
            roots[json_of[name]].append(metadata.image_root)
    roots = {path: list(dict.fromkeys(folders)) for path, folders in roots.items()}
    done = {json_of.get(name) for name in sets.UNLABELED}
    done |= {os.path.realpath(image_json)} if image_json else set()
    others = [os.path.realpath(labeled_json)] if labeled_json else []

    def images(names: Iterable[str], wanted: Callable[[CocoJson], bool]) -> list[dict]:
        found = []
        for name in names:
            path = json_of.get(name, name)
            if path in done or not os.path.exists(path):
                continue
            done.add(path)
            try:
                file = CocoJson(path, whole=False)
                folders = roots.get(path, [image_root])
                found += [
                    {
                        "id": entry["id"],
                        "set": name,
                        "paths": [os.path.join(root, entry["file_name"]) for root in folders],
                    }
                    for entry in (file.images() if wanted(file) else ())
                ]
            except UserError as error:
                logger.warning(
                    f"images of {name} are not looked for among the unlabelled ({reason(error)})"
                )
        return found

    share = sets.LABELED_SHARE, sets.LABELED_SHARE_SEED
    known = defaultdict(list)
    of_train = images(sets.TRAIN, _by_people)
    of_json = images(others, _by_people)
    if (
        of_json
        and not roots.get(others[0])
        and absent(path for image in of_json for path in image["paths"])
    ):
        logger.warning(
            f"images of {labeled_json} are not looked for among the unlabelled: no set of "
            f"DATASETS.REGISTER says where they lie, and not all of them are in {image_root}"
        )
        of_json = []
    for image in (
        *choose_share(of_train, *share, key="id"),
        *choose_share(of_json, *share, key="id"),
        *images(sets.TEST, lambda file: True),
        *images(sets.REGISTER, lambda file: file.has_annotations and _by_people(file)),
    ):
        known[image["set"]] += image["paths"]
    return known


def _by_people(file: CocoJson) -> bool:
    return not file.is_written_by_labelling


def _files(paths: Iterable[tuple[Any, str]], pool: ThreadPool) -> list[_File]:
    return [file for file in pool.imap(_file, paths, AT_ONCE) if file]


def _file(owner_and_path: tuple[Any, str]) -> _File | None:
    """None where there is none, or an empty one."""
    owner, path = owner_and_path
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not status.st_size:
        return None
    return _File(owner, path, (status.st_dev, status.st_ino), status.st_size)


def _alike(
    mark: Callable, ours: list[_File], theirs: list[_File], pool: ThreadPool
) -> tuple[list[_File], list[_File]]:
    """Those of either list that have a mark in common with one of the other."""
    marks = [pool.map(mark, files, AT_ONCE) for files in (ours, theirs)]
    common = set(marks[0]) & set(marks[1])
    return tuple(
        [file for file, own in zip(files, of_files, strict=True) if own in common]
        for files, of_files in zip((ours, theirs), marks, strict=True)
    )


def _middle(file: _File) -> tuple[int, bytes | str]:
    try:
        with open(file.path, "rb") as opened:
            opened.seek(file.size // 2)
            return file.size, hashlib.sha256(opened.read(BLOCK)).digest()
    except OSError:
        return file.size, file.path  # like no other


def _digest(file: _File) -> bytes | str:
    try:
        with open(file.path, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest()
    except OSError:
        return file.path
