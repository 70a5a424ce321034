"""The user's labels and images, brought into the form that training reads.

Nothing of the user's is changed: jsons go to another folder, and name the images where they lie.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..data.image_files import find_images
from ..inspection.similar import find_similar
from ..layouts.labels import Labels
from ..layouts.read import read_folder, read_labels
from ..utils.errors import UserError
from ..utils.files import write_json

logger = logging.getLogger(__name__)

SHARE = 0.15  # of the labelled images, for each set that is split off
ENOUGH = 200  # labelled images from which on there are enough to test on others than to choose by
FEWEST = 20  # labelled images below which a part of them tells nothing


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
            part = name if given == found["train"] else "train"
            given = _read_set(name, given, images, layout, classes, part)
        if given is not None:
            sets[name] = given
            classes = classes or given.classes
            logger.info(f"{name}: {given.describe()}")
    for name, labels in sets.items():
        if not labels.images:
            raise UserError(f"{labels.source} ({name}) holds no labelled image")
    if folder:
        root = os.path.abspath(folder)
        if not os.path.isdir(root):
            raise UserError(f"--unlabeled {folder} is no folder: name the one of the images")
        paths = [os.path.join(root, name) for name in find_images(root)]
        return Data(sets, paths, folder=folder)
    train = sets["train"]
    return Data(sets, [os.path.join(train.image_root, name) for name in train.unlabeled])


def _read_set(name: str, path: str, images: str | None, layout, classes, part: str) -> Labels:
    """The images of val and test may lie elsewhere than those of the labels to train on."""
    try:
        return read_labels(path, images, layout, classes, part)
    except UserError:
        if images and name != "train":
            with contextlib.suppress(UserError):
                return read_labels(path, None, layout, classes, part)
        raise


def _has_boxes(labels: Labels) -> bool:
    return not all(x["iscrowd"] for x in labels.annotations)


def split_off(data: Data, seed: int) -> None:
    """Make the sets that are missing of the labelled images, near-identical ones on one side.

    Where labels are too few for that, figures are of the set that choices are made by, which a
    note says.

    Raises:
        UserError: there are hardly any labelled images or boxes, and none to test on.
    """
    for name, labels in data.sets.items():
        if not _has_boxes(labels):
            raise UserError(
                f"{labels.source} ({name}) holds no boxes: label objects in some of its "
                f"{len(labels.images)} images"
            )
    train = data.sets["train"]
    wanted = _to_split_off(len(train.images), set(data.sets) - {"train"})
    if wanted:
        groups = find_similar([image_path(train, image) for image in train.images])
        stay, *parts = _parts(train, groups, len(wanted), seed)
        for name, part in zip(wanted, parts, strict=True):
            data.sets[name] = _subset(train, part)
            if not _has_boxes(data.sets[name]):
                raise UserError(
                    f"{train.source} holds too few boxes to split some off for {name}: give "
                    f"--{name}, or more labels"
                )
            data.notes.append(
                f"{len(part)} of the {len(train.images)} labelled images were split off for "
                f"{name}, by the seed {seed}."
            )
        data.sets["train"] = _subset(train, stay)
    for one, other in (("val", "test"), ("test", "val")):
        if one not in data.sets:
            data.sets[one] = data.sets[other]
            data.notes.append(
                f"There are too few labels for a {one} set of its own: the figures are of the "
                f"{len(data.sets[other].images)} images that choices are made by, and may be a "
                "little too good."
            )


def _to_split_off(num_labeled: int, given: set[str]) -> list[str]:
    if given == {"val", "test"}:
        return []
    if given == {"val"}:
        return ["test"] if num_labeled >= ENOUGH else []
    if given == {"test"}:
        return ["val"] if num_labeled >= FEWEST else []
    if num_labeled < FEWEST:
        raise UserError(
            f"there are {num_labeled} labelled images and none to test on: give --test, or at "
            f"least {FEWEST} labelled images, of which some are then tested on"
        )
    return ["val", "test"] if num_labeled >= ENOUGH else ["val"]


def image_path(labels: Labels, image: dict) -> str:
    return os.path.join(labels.image_root, image["file_name"])


def _parts(labels: Labels, groups: list[list[int]], number: int, seed: int) -> list[list[int]]:
    """Positions of the images that stay, and of `number` parts that are split off.

    Each part gets its share of the images with objects, and of those without. Groups of
    near-identical images are drawn whole; one with the last box of a class stays.
    """
    alone = set(range(len(labels.images))) - {p for group in groups for p in group}
    everything = [*groups, *([position] for position in sorted(alone))]
    of_image = _boxes_by_class(labels)
    boxes = [sum((of_image[position] for position in group), Counter()) for group in everything]
    left = sum(boxes, Counter())
    parts, rng = [[] for _ in range(1 + number)], np.random.default_rng(seed)
    for shows in (True, False):
        stratum = [n for n, counts in enumerate(boxes) if bool(counts) is shows]
        share = round(SHARE * sum(len(everything[n]) for n in stratum))
        room = [max(share, int(shows))] * number
        for n in (stratum[i] for i in rng.permutation(len(stratum))):
            part = room.index(max(room))
            last = any(left[name] <= count for name, count in boxes[n].items())
            if last or len(everything[n]) > room[part]:
                parts[0] += everything[n]
                continue
            parts[1 + part] += everything[n]
            room[part] -= len(everything[n])
            left -= boxes[n]
    return [sorted(part) for part in parts]


def _boxes_by_class(labels: Labels) -> list[Counter]:
    """Of each image {category id: boxes that are learned}."""
    position_of = {image["id"]: position for position, image in enumerate(labels.images)}
    found = [Counter() for _ in labels.images]
    for annotation in labels.annotations:
        if not annotation["iscrowd"]:
            found[position_of[annotation["image_id"]]][annotation["category_id"]] += 1
    return found


def _subset(labels: Labels, positions: list[int]) -> Labels:
    images = [labels.images[position] for position in positions]
    ids = {image["id"] for image in images}
    annotations = [x for x in labels.annotations if x["image_id"] in ids]
    return replace(labels, images=images, annotations=annotations)


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
