"""What the teacher is unsure of on an image, and what a student does otherwise than it.

Of each anchor and class T(q) is the teacher's uncertainty (the paper: hard to learn), and KL the
Kullback-Leibler divergence of the student's answer from the teacher's (hard to mimic).

Shapes: L levels, R_l anchors of a level, K classes; images of H x W pixels.
"""

import os
from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import BoxMode
from torch import Tensor

from ..config.defaults import distills
from ..data.categories import order_of
from ..data.mapper import ImageMapper, WithScaledViews
from ..losses.distillation import kl_divergence, teacher_entropy
from ..modeling.adapters import adapter_of
from ..modeling.adapters.dense import DenseAdapter
from ..modeling.teacher import check_pair, teacher_outputs
from ..utils.errors import UserError

SIZES = ("MIN_SIZE_TEST", "MAX_SIZE_TEST")


class Maps(NamedTuple):
    """Of one image; a pixel has the greatest value of all classes and of the anchors whose centre
    is the nearest of its level.
    """

    uncertainty: np.ndarray  # (H, W) T(q), from 0 to log 2
    divergence: dict[str, np.ndarray]  # of each student (H, W) KL
    shares: dict  # see `look`


class Pair(NamedTuple):
    """Who is compared.

    Attributes:
        teacher: a detector, as `load_detector` gives it.
        students: {name: (likewise, its config)}, which see images of one size.
        scale: of the teacher's image over the students'.
    """

    teacher: torch.nn.Module
    students: dict[str, tuple]
    scale: float = 1.0

    def check(self) -> None:
        """
        Raises:
            UserError: they do not answer for the same anchors and classes.
        """
        for name, (student, _) in self.students.items():
            if not isinstance(adapter_of(student), DenseAdapter):
                raise UserError(f"“{name}” is a detector of two stages")
            check_pair(student, self.teacher, self.scale, {"logits"})
            self.classes_of(name)

    def classes_of(self, name: str) -> list[int]:
        """For each class of a student its place in the teacher's logits.

        Raises:
            UserError: they have other classes, or it is not known which.
        """
        ours, theirs = self.students[name][0].class_names, self.teacher.class_names
        for whose, names in ((f"“{name}”", ours), ("the teacher", theirs)):
            if not names:
                raise UserError(f"the weights of {whose} do not name their classes")
        return order_of(ours, theirs, f"“{name}”", "the teacher")


@torch.no_grad()
def look(pair: Pair, record: dict) -> Maps:
    """
    Args:
        pair: that has been checked.
        record: the image's dict, with annotations.
    Returns:
        the maps, at the size at which students are tested; their shares are "objects" (part of the
        image inside labelled boxes), "uncertainty" and "divergence" ({name: ...}): parts of the
        sums over all anchors and classes whose cells lie inside labelled boxes.
    """
    uncertainty, divergence, shares = None, {}, {"divergence": {}}
    for name, (student, cfg) in pair.students.items():
        mapper = ImageMapper(cfg, is_train=False)
        mapper.augmentations = WithScaledViews(mapper.augmentations, [pair.scale])
        sample = mapper(record)
        (view,) = mapper.augmentations.as_tensors()
        images = student.preprocess_image([sample])
        padded = images.tensor.shape[-2:]
        logits = adapter_of(student).outputs(student, images.tensor, {"logits"}).logits
        shape = tuple(round(pair.scale * side) for side in padded)
        theirs = teacher_outputs(
            pair.teacher, [view], student.input_format, {"logits"}, padded_shape=shape
        ).logits
        order = pair.classes_of(name)
        theirs = [level[..., order] for level in theirs]
        cells = _Cells(student, sample["image"].shape[-2:], padded, record)
        if uncertainty is None:
            uncertainty, shares["uncertainty"] = cells.map_of(map(teacher_entropy, theirs))
            shares["objects"] = cells.objects()
        kl = map(kl_divergence, logits, theirs)
        divergence[name], shares["divergence"][name] = cells.map_of(kl)
    return Maps(uncertainty, divergence, shares)


class _Cells:
    """The grids of an image's levels."""

    def __init__(self, model, shape, padded, record: dict):
        self.shape = tuple(shape)
        self.generator = model.anchor_generator
        self.grids = adapter_of(model).level_sizes(model, padded)
        scale = np.array([shape[1] / record["width"], shape[0] / record["height"]])
        self.boxes = [
            np.reshape(BoxMode.convert(x["bbox"], x["bbox_mode"], BoxMode.XYXY_ABS), (2, 2)) * scale
            for x in record["annotations"]
        ]

    def map_of(self, levels) -> tuple[np.ndarray, float | None]:
        """Map, and part of the sum inside labelled boxes (None where the sum is 0).

        Args:
            levels: (1, R_l, K) values of each.
        """
        height, width = self.shape
        seen, inside, total = np.zeros(self.shape, np.float32), 0.0, 0.0
        for values, grid, stride in zip(levels, self.grids, self.generator.strides, strict=True):
            of_cell: Tensor = values[0].reshape(*grid, -1)
            largest = of_cell.amax(-1).float().cpu().numpy()
            sums = of_cell.sum(-1, dtype=torch.float64).cpu().numpy()
            centers = [(np.arange(side) + self.generator.offset) * stride for side in grid]
            nearest = [
                np.abs(np.arange(side)[:, None] + 0.5 - of_axis).argmin(axis=1)
                for side, of_axis in zip(self.shape, centers, strict=True)
            ]
            np.maximum(seen, largest[np.ix_(*nearest)], out=seen)
            in_image = np.ix_(centers[0] < height, centers[1] < width)
            total += sums[in_image].sum()
            inside += (sums * self._inside(*centers))[in_image].sum()
        return seen, float(inside / total) if total else None

    def _inside(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(len(y), len(x)), whether a point lies in a labelled box."""
        covered = np.zeros((len(y), len(x)), bool)
        for (x0, y0), (x1, y1) in self.boxes:
            covered |= ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))[None]
        return covered

    def objects(self) -> float:
        """Part of the image inside labelled boxes."""
        return float(self._inside(*(np.arange(side) + 0.5 for side in self.shape)).mean())


def looks(gain: dict | None, models: dict[str, tuple], records: list[dict]) -> tuple[dict, dict]:
    """What the teacher of a comparison is unsure of on some images.

    Args:
        gain: see `sad.report.gain.measure_gain`; nobody is compared without it, or its teacher.
        models: {name of a run: what `load_detector` gives}
        records: dicts of the images, with annotations.
    Returns:
        {file name: see `look`}, and the entry "uncertainty" of report.json: "students" (names),
        "images" (of each its "name" and the shares of `look`), and "reason" why there are none, or
        why the baseline is left out.
    """
    described = {"students": [], "images": [], "reason": ""}
    if not (gain and gain["teacher"]):
        return {}, described | {"reason": "no teacher is named"}
    student, cfg = models[gain["distilled"]]
    scale = cfg.SAD.TEACHER.INPUT_SCALE if distills(cfg) else 1.0
    pair = Pair(models[gain["teacher"]][0], {gain["distilled"]: (student, cfg)}, scale)
    try:
        pair.check()
    except UserError as error:
        return {}, described | {"reason": str(error)}
    alone, its_cfg = models[gain["baseline"]]
    both = pair._replace(students=pair.students | {gain["baseline"]: (alone, its_cfg)})
    try:
        both.check()
        if any(its_cfg.INPUT[key] != cfg.INPUT[key] for key in SIZES):
            raise UserError(f"“{gain['baseline']}” is tested on images of another size")
        pair = both
    except UserError as error:
        described["reason"] = str(error)
    maps = {record["file_name"]: look(pair, record) for record in records}
    images = [{"name": os.path.basename(file), **of.shares} for file, of in maps.items()]
    return maps, described | {"students": list(pair.students), "images": images}
