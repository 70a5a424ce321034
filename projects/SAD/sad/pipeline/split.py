"""Sets to choose by and to test on, split off the labelled images where the user gives none."""

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..inspection.similar import find_similar
from ..layouts.labels import Labels
from ..utils.errors import UserError
from .data import Data, image_path

SHARE = 0.15  # of the labelled images, for each set that is split off
ENOUGH = 200  # labelled images from which on there are enough to test on others than to choose by
FEWEST = 20  # labelled images below which a part of them tells nothing


def split_off(
    data: Data, seed: int, stay: Collection[int] = (), *, fixed_camera: bool = False
) -> None:
    """Make the sets that are missing of the labelled images, near-identical ones on one side.

    Where labels are too few for that, figures are of the set that choices are made by, which a
    note says.

    Args:
        stay: positions in train of images that may not be split off.
        fixed_camera: whether only identical files stay together.
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
        groups = _groups(train, fixed_camera)
        rest, *parts = _parts(train, groups, len(wanted), seed, set(stay))
        for name, part in zip(wanted, parts, strict=True):
            data.sets[name] = _subset(train, part)
            if not _has_boxes(data.sets[name]):
                raise UserError(_why_not(train, groups, stay, name))
            data.notes.append(
                f"{len(part)} of the {len(train.images)} labelled images were split off for "
                f"{name}, by the seed {seed}."
            )
        data.sets["train"] = _subset(train, rest)
        if fixed_camera:
            data.notes.append(
                f"The camera stands still (--fixed-camera): images of {' and '.join(wanted)} may "
                "be taken moments apart from ones that are trained on, so that the figures hold "
                "for this camera and these days alone."
            )
    for one, other in (("val", "test"), ("test", "val")):
        if one not in data.sets:
            data.sets[one] = data.sets[other]
            data.notes.append(
                f"There are too few labels for a {one} set of its own: the figures are of the "
                f"{len(data.sets[other].images)} images that choices are made by, and may be a "
                "little too good."
            )


def _groups(labels: Labels, fixed_camera: bool) -> list[list[int]]:
    """Images that are one and the same, nearly: by what they show, and by the name that exports
    with changed copies leave before `.rf.`.
    """
    same = {}
    for position, image in enumerate(labels.images):
        origin, is_export, _ = os.path.basename(image["file_name"]).partition(".rf.")
        if is_export:
            same.setdefault(origin, []).append(position)
    paths = [image_path(labels, image) for image in labels.images]
    alike = find_similar(paths, fixed_camera=fixed_camera)
    ends = [(group[0], other) for group in [*alike, *same.values()] for other in group[1:]]
    rows, columns = zip(*ends, strict=True) if ends else ((), ())
    count = len(labels.images)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    of_image = connected_components(graph, directed=False)[1].tolist()
    groups = {}
    for position, group in enumerate(of_image):
        groups.setdefault(group, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def _why_not(labels: Labels, groups: list[list[int]], stay: Collection[int], name: str) -> str:
    """Why nothing with an object can be split off."""
    largest = max(map(len, groups), default=0)
    give = f"give --{name}"
    if 2 * largest > len(labels.images):
        return (
            f"{largest} of the {len(labels.images)} images of {labels.source} are near-identical, "
            f"as those of a camera that stands still, and stay together: {give} from another time "
            "or place, or --fixed-camera to have them split all the same"
        )
    if 2 * len(stay) > len(labels.images):
        return (
            f"the teacher was trained on {len(stay)} of the {len(labels.images)} images of "
            f"{labels.source}, which leaves too few to judge it by: {give}"
        )
    return (
        f"{labels.source} holds too few boxes to split some off for {name}: {give}, or more labels"
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


def _parts(
    labels: Labels, groups: list[list[int]], number: int, seed: int, stay: set[int]
) -> list[list[int]]:
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
            if last or len(everything[n]) > room[part] or stay.intersection(everything[n]):
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


def _has_boxes(labels: Labels) -> bool:
    return not all(x["iscrowd"] for x in labels.annotations)
