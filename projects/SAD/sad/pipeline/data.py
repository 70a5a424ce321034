"""The user's labels and images, brought into the form that training reads.

Nothing of the user's is changed: jsons go to another folder, and name the images where they lie.
"""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from ..data.image_files import find_images
from ..layouts.labels import Labels
from ..layouts.read import part_of, read_folder, read_labels
from ..utils.errors import UserError
from ..utils.files import write_json

logger = logging.getLogger(__name__)


@dataclass
class Data:
    """What the user has, before anything is written."""

    sets: dict[str, Labels]  # train, and val and test where there are such
    unlabeled: list[str] = field(default_factory=list)  # absolute paths
    folder: str | None = None  # that the user has named for them
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)  # width and height of each
    notes: list[str] = field(default_factory=list)  # sentences for the report

    def label_digests(self) -> dict[str, str]:
        """{set: sha256 of its labels and of the names and sizes of its images}."""
        return {f"the labels of {name}": _digest(_content(x)) for name, x in self.sets.items()}

    def image_digests(self) -> dict[str, str]:
        """The same of the names and sizes of the unlabelled images."""
        unlabeled = [[path, _size(path)] for path in self.unlabeled]
        return {"the unlabelled images": _digest(unlabeled)}


def _content(labels: Labels) -> list:
    sizes = [_size(image_path(labels, image)) for image in labels.images]
    return [labels.classes, labels.images, labels.annotations, sizes]


def _size(path: str) -> int:
    """In bytes; -1 of a link that leads nowhere."""
    return os.path.getsize(path) if os.path.exists(path) else -1


def _digest(content) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_data(
    *,
    data: str | None = None,
    labeled: str | None = None,
    images: str | None = None,
    unlabeled: str | None = None,
    val: str | None = None,
    test: str | None = None,
    layout: str | None = None,
    classes: Sequence[str] | None = None,
) -> Data:
    """Read the labels of all sets, in any layout, and list the unlabelled images.

    Where no folder of these is named, they are those beside the labelled ones.

    Args:
        data: a folder that holds all of it; else each by itself, see `sad.layouts.read`.
        classes: the order of the classes, a teacher's say; else the labels' own.
    Raises:
        UserError: see there.
    """
    found = read_folder(data, layout) if data else {}
    for name, path in (("train", labeled), ("val", val), ("test", test)):
        if path:
            found[name] = path
    folder = unlabeled or found.pop("unlabeled", None)
    found.pop("unlabeled", None)
    if "train" not in found:
        raise UserError("there are no labelled images: give --labeled, or --data with a train set")
    sets = {}
    for name in ("train", "val", "test"):
        if isinstance(given := found.get(name), str):
            given = _read_set(name, given, images, layout, classes)
        if given is not None:
            sets[name] = given
            classes = classes or given.classes
            logger.info(f"{name}: {given.describe()}")
    for name, labels in sets.items():
        if not labels.images:
            raise UserError(f"{labels.source} ({name}) holds no labelled image")
    for one, other in combinations(sets, 2):
        _check_apart(one, sets[one], other, sets[other])
    if folder:
        root = os.path.abspath(folder)
        if not os.path.isdir(root):
            raise UserError(f"--unlabeled {folder} is no folder: name the one of the images")
        paths = [os.path.join(root, name) for name in find_images(root)]
    else:
        train = sets["train"]
        paths = [os.path.join(train.image_root, name) for name in train.unlabeled]
    data = Data(sets, paths, folder=folder)
    _say_what_is_alike(data, labeled)
    return data


def _read_set(name: str, path: str, images: str | None, layout, classes) -> Labels:
    """The images of val and test are those of their own labels, before others of the same names in
    the folder of the images to train on.
    """
    part = part_of(path, name)
    if name == "train" or not images:
        return read_labels(path, images, layout, classes, part)
    found = []
    for place in (None, images):
        try:
            found.append(read_labels(path, place, layout, classes, part))
        except UserError as error:
            refused = error
    if not found:
        raise refused
    return max(found, key=lambda labels: len(labels.images))


def _say_what_is_alike(data: Data, labeled: str | None) -> None:
    """Note what the figures cannot say, or what was not used."""
    sets, notes = data.sets, data.notes
    unused = [name for name in ("val", "test") if labeled and part_of(labeled, name) == name]
    if unused := [name for name in unused if name not in sets]:
        notes.append(
            f"{labeled} lists {' and '.join(unused)} images, too, which were not asked for: "
            f"{' '.join(f'--{name} {labeled}' for name in unused)} takes them."
        )
    if {"val", "test"} <= sets.keys():
        one, other = (_paths(sets[name]) for name in ("val", "test"))
        if one == other:
            sets["test"] = sets["val"]
            notes.append(
                "val and test are the same images: the figures are of those that choices are made "
                "by, and may be a little too good."
            )


def _paths(labels: Labels) -> set[str]:
    return {os.path.realpath(image_path(labels, image)) for image in labels.images}


def _check_apart(one: str, labels: Labels, other: str, others: Labels) -> None:
    """
    Raises:
        UserError: of two sets that number their images alike, one is looked for in the folder of
            the other.
    """
    boxes, of_others = _boxes_by_path(labels), _boxes_by_path(others)
    shared = sorted(boxes.keys() & of_others.keys())
    differing = [path for path in shared if not _alike(boxes[path], of_others[path])]
    if 2 * len(differing) > len(shared):
        raise UserError(
            f"{labels.source} ({one}) and {others.source} ({other}) have different boxes for "
            f"{len(differing)} of the {len(shared)} images that both name, such as {differing[0]}: "
            f"are those of {other} in another folder? Give --data FOLDER with a folder for each "
            "set, its labels beside its images"
        )


def _boxes_by_path(labels: Labels) -> dict[str, list]:
    """{absolute path of an image: its boxes, x, y, width and height in pixels}."""
    paths = {image["id"]: image_path(labels, image) for image in labels.images}
    found = {path: [] for path in paths.values()}
    for box in labels.annotations:
        found[paths[box["image_id"]]].append(box["bbox"])
    return found


def _alike(boxes: list, others: list) -> bool:
    """Whether as many, and but for the rounding of a layout where the others are, in any order."""
    apart = abs(sum(map(sum, boxes)) - sum(map(sum, others)))
    return len(boxes) == len(others) and apart <= 4 * len(boxes)


def image_path(labels: Labels, image: dict) -> str:
    return os.path.join(labels.image_root, image["file_name"])


def write_data(data: Data, folder: str) -> None:
    """Write train.json, val.json, test.json and unlabeled.json, in COCO's format."""
    os.makedirs(folder, exist_ok=True)
    for name, labels in data.sets.items():
        labels.write(os.path.join(folder, f"{name}.json"))
    if not data.unlabeled:
        return
    root = unlabeled_root(data)
    images = [
        {"id": n, "file_name": os.path.relpath(path, root), "width": width, "height": height}
        for n, path in enumerate(data.unlabeled, start=1)
        for width, height in [data.sizes[path]]
    ]
    write_json(os.path.join(folder, "unlabeled.json"), {"images": images})


def unlabeled_root(data: Data) -> str:
    return os.path.commonpath([os.path.dirname(path) for path in data.unlabeled])
