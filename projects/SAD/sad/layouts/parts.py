"""The train, val and test sets in one folder, as data sets are handed on: where each lies."""

import os
import re

from ..data.image_files import SUFFIXES
from ..utils.errors import UserError
from .files import listed, read_lines
from .recognise import coco_jsons

SETS = ("train", "val", "test")
SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
    "unlabeled": ("unlabeled", "unlabelled"),
}


def part_folders(folder: str) -> dict[str, str]:
    """{"train", "val", "test" or "unlabeled": folder}, here or in images/ with its labels beside.

    Raises:
        UserError: two folders have names of one set.
    """
    found = {}
    places = [folder]
    if os.path.isdir(os.path.join(folder, "labels")):
        places.append(os.path.join(folder, "images"))
    for place in filter(os.path.isdir, places):
        for entry in sorted(os.listdir(place)):
            path = os.path.join(place, entry)
            for name, spellings in SPELLINGS.items():
                if entry.lower() not in spellings or not os.path.isdir(path):
                    continue
                if name in found and os.path.dirname(found[name]) == place:
                    raise UserError(
                        f"{place} holds {os.path.basename(found[name])} and {entry}, which are "
                        "names of one set: leave one of them"
                    )
                found.setdefault(name, path)
    return found


def part_jsons(folder: str) -> dict[str, str]:
    """{"train", "val" or "test": COCO json}, by the words in their names.

    Raises:
        UserError: two jsons have names of one set.
    """
    found = {}
    for path in coco_jsons(folder):
        words = re.findall("[a-z]+", os.path.splitext(os.path.basename(path))[0].lower())
        for name in SETS:
            if not set(words) & set(SPELLINGS[name]):
                continue
            if name in found:
                raise UserError(
                    f"{folder} holds several COCO jsons of one set, {listed([found[name], path])}: "
                    "name the one to read with --labeled, --val or --test"
                )
            found[name] = path
    return found


def image_sets(folder: str) -> dict[str, list[str]]:
    """{"train", "val" or "test": names of images without endings}, of Pascal VOC's ImageSets/Main/.

    Where there is no list train, that is trainval without val.

    Raises:
        UserError: a list cannot be read.
    """
    place = os.path.join(folder, "ImageSets", "Main")
    lists = {name: os.path.join(place, f"{name}.txt") for name in (*SETS, "trainval")}
    lists = {name: _stems(path) for name, path in lists.items() if os.path.isfile(path)}
    together = lists.pop("trainval", None)
    if together and "train" not in lists:
        lists["train"] = sorted(set(together) - set(lists.get("val", ())))
    return lists


def _stems(path: str) -> list[str]:
    names = [line.replace("\\", "/").rpartition("/")[2] for line in read_lines(path)]
    return [os.path.splitext(x)[0] if x.lower().endswith(SUFFIXES) else x for x in names]
