"""All that is found out about data sets, before it is put into words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .labeled_set import DataSet, LabeledSet, read_set
from .scan import Look, scan
from .similar import are_identical, find_similar
from .training_size import fit_anchors, training_sides

UNLABELED = "unlabeled"  # the name of the images without labels, beside those of the sets


@dataclass(frozen=True, eq=False)
class Inspection:
    """Images are counted through: those of the sets, in their order, then the unlabelled ones."""

    sets: list[LabeledSet]  # the first is the one to train on
    unlabeled: list[str]  # paths
    cfg: object | None  # that says the training size and the anchors
    looks: list[Look]
    groups: list[list[int]]  # of identical or nearly identical images
    identical: list[bool]  # of each group, whether its files have the same bytes
    anchors: dict | None  # of `fit_anchors`, for the first set

    @cached_property
    def paths(self) -> list[str]:
        return [x["file_name"] for one in self.sets for x in one.images] + self.unlabeled

    @cached_property
    def set_of(self) -> list[str]:
        """The name of each image's set."""
        names = [one.name for one in self.sets for _ in one.images]
        return names + [UNLABELED] * len(self.unlabeled)

    @cached_property
    def places(self) -> list[str]:
        """Where to look for each image."""
        named = [one.place(at) for one in self.sets for at in range(len(one.images))]
        return named + [f"{UNLABELED}: {path}" for path in self.unlabeled]

    @cached_property
    def class_names(self) -> list[str]:
        """Of all sets, those of the first one first."""
        return list(dict.fromkeys(name for one in self.sets for name in one.class_names))

    @cached_property
    def sides(self) -> dict[str, np.ndarray]:
        """{set: (B,) sides of its boxes at the training size; without a config in the image}."""
        return {x.name: training_sides(self.cfg, x) if self.cfg else x.sides for x in self.sets}

    @cached_property
    def repeated(self) -> dict[str, np.ndarray]:
        """{set: (P, 2) pairs of boxes around the same object}."""
        return {one.name: one.repeated() for one in self.sets}


def examine(
    sets: Mapping[str, DataSet],
    unlabeled: Sequence[str] = (),
    cfg=None,
    *,
    fixed_camera: bool = False,
) -> Inspection:
    """Read labels and images.

    Args:
        sets: by name, such as train, val and test; the first is the one to train on.
        unlabeled: paths of images without labels.
        cfg: the config of a detector, for the training size and its anchors.
        fixed_camera: see `find_similar`.
    Raises:
        UserError: see `sad.inspection.labeled_set.read_set`.
    """
    read = [read_set(name, source) for name, source in sets.items()]
    images = [image for one in read for image in one.images]
    looks = scan([*images, *({"file_name": path} for path in unlabeled)])
    paths = [image["file_name"] for image in images] + list(unlabeled)
    groups = find_similar(paths, [look.changes for look in looks], fixed_camera=fixed_camera)
    return Inspection(
        sets=read,
        unlabeled=list(unlabeled),
        cfg=cfg,
        looks=looks,
        groups=groups,
        identical=[are_identical([paths[at] for at in group]) for group in groups],
        anchors=fit_anchors(cfg, read[0]) if cfg else None,
    )
