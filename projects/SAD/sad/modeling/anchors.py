"""Do the anchors fit the objects? One that overlaps with no anchor is hardly learned.

RetinaNet calls an anchor foreground from IoU 0.5 on. What share of the training boxes can have such
an anchor follows from the annotations and the config alone, so it can be said before training.
"""

import logging
import math
import shlex
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import build_anchor_generator
from detectron2.structures import Boxes, BoxMode
from detectron2.structures.boxes import matched_pairwise_iou
from torch import Tensor

from ..config.defaults import flat

logger = logging.getLogger(__name__)

IOU = 0.5
ENOUGH = 0.9  # a smaller recall is warned of
MOST = 10_000  # boxes looked at: the recall's standard error is at most half a percent
SEARCHED = 2_000  # of them, to choose other sizes, which are then judged by all
GROWTH = [2 ** (step / 4) for step in range(13)]  # of the images: up to 8 times as large
STEP_WORTH = 0.02  # recall that each step of growth must bring, where nothing is enough
SIZES, RATIOS = (f"MODEL.ANCHOR_GENERATOR.{key}" for key in ("SIZES", "ASPECT_RATIOS"))


class SeenBoxes(NamedTuple):
    """Boxes as training sees them."""

    boxes: Boxes  # N, in pixels of the resized images
    images: Tensor  # (N, 2), height and width of each one's image

    @property
    def sides(self) -> Tensor:
        """(N,) square roots of the areas."""
        return self.boxes.area().sqrt()


def check_anchors(cfg, model, images: Sequence[dict]) -> float | None:
    """Log what share of the boxes has an anchor that fits; where it is small, warn with advice.

    Args:
        model: the RetinaNet of `cfg`.
        images: labelled ones, Detectron2's dicts.
    Returns:
        the best possible recall of the anchors; None where there are no boxes.
    """
    boxes, sizes = sample_boxes(images)
    if not len(boxes):
        return None
    seen = as_trained(cfg, boxes, sizes)
    fits = best_iou(cfg, model, seen) >= IOU
    recall = fits.float().mean().item()
    sampled = " of them, drawn by chance," if len(boxes) == MOST else ""
    crops = ", without crops" if cfg.INPUT.CROP.ENABLED else ""
    found = (
        f"Anchors: {recall:.1%} of the training boxes ({len(boxes)}{sampled} at the training size"
        f"{crops}) have an anchor of IoU {IOU} or more"
    )
    if recall >= ENOUGH:
        logger.info(found)
        return recall
    anchors = torch.cat([Boxes(cell).area().sqrt() for cell in model.anchor_generator.cell_anchors])
    least, most = seen.sides[~fits].quantile(torch.tensor([0.05, 0.95])).tolist()
    better, then = find_better(cfg, model, boxes, sizes)
    scale = cfg.SAD.TEACHER.INPUT_SCALE
    times = "" if scale == 1 else f" (the teacher's SIZES {scale:g} times these)"
    logger.warning(
        f"{found}. Those without one are {least:.0f} to {most:.0f} pixels large there (square root "
        f"of the area, 5th to 95th percentile), the anchors {anchors.min():.0f} to "
        f"{anchors.max():.0f}. "
        + (
            f"{then:.1%} would have one with {_changes(cfg, better)}; teacher and student need the "
            f"same MODEL.ANCHOR_GENERATOR{times}, so set it in the file that both are based on and "
            "train the teacher anew"
            if then > recall
            else "No anchors were found that fit better"
        )
    )
    return recall


def sample_boxes(images: Sequence[dict]) -> tuple[Tensor, Tensor]:
    """Boxes that training learns, MOST of them at most, of images that a fixed seed draws.

    Returns:
        (B, 4) x0 y0 x1 y1 and (B, 2) height and width of each one's image, in the image's pixels.
    """
    boxes, sizes = [], []
    for position in np.random.default_rng(0).permutation(len(images)).tolist():
        image = images[position]
        if not {"height", "width"} <= image.keys():
            continue  # of a set registered in Python, which says neither
        for annotation in image["annotations"]:
            if not annotation.get("iscrowd", 0):
                mode = annotation["bbox_mode"]
                boxes.append(BoxMode.convert(annotation["bbox"], mode, BoxMode.XYXY_ABS))
                sizes.append((image["height"], image["width"]))
        if len(boxes) >= MOST:
            break
    boxes, sizes = (torch.tensor(x[:MOST], dtype=torch.float64) for x in (boxes, sizes))
    return boxes, sizes


def as_trained(cfg, boxes: Tensor, sizes: Tensor) -> SeenBoxes:
    """The boxes at each of INPUT.MIN_SIZE_TRAIN (of a range both ends), shuffled, MOST at most.

    Args:
        boxes, sizes: as of `sample_boxes`.
    """
    different, which = sizes.unique(dim=0, return_inverse=True)
    resized = torch.cat(
        [
            torch.tensor(
                [
                    ResizeShortestEdge.get_output_shape(*size, short, cfg.INPUT.MAX_SIZE_TRAIN)
                    for size in different.tolist()
                ]
            )[which]
            for short in cfg.INPUT.MIN_SIZE_TRAIN
        ]
    )
    times = len(cfg.INPUT.MIN_SIZE_TRAIN)
    scale = resized / sizes.repeat(times, 1)  # of y, of x
    boxes = boxes.repeat(times, 1) * scale.flip(1).repeat(1, 2)
    drawn = np.random.default_rng(0).permutation(len(boxes))[:MOST]
    return SeenBoxes(Boxes(boxes[drawn]), resized[drawn])


def best_iou(cfg, model, seen: SeenBoxes) -> Tensor:
    """IoU of each box with the best of its image's anchors, those of `cfg` on the model's maps.

    The anchors of one form lie centred on a grid, and the nearest of them overlaps most.

    Returns:
        (N,)
    """
    generator = build_anchor_generator(
        cfg, [ShapeSpec(stride=stride) for stride in model.anchor_generator.strides]
    )
    padding = max(1, model.backbone.size_divisibility)
    padded = (seen.images / padding).ceil() * padding
    centres = seen.boxes.get_centers()
    best = torch.zeros(len(seen.boxes))
    for cell_anchors, stride in zip(generator.cell_anchors, generator.strides, strict=True):
        last = (padded / stride).ceil().flip(1) - 1
        nearest = (centres / stride - generator.offset).round().clamp_min(0).minimum(last)
        points = ((nearest + generator.offset) * stride).repeat(1, 2)
        for anchor in cell_anchors:
            best = best.maximum(matched_pairwise_iou(Boxes(points + anchor), seen.boxes))
    return best


def find_better(cfg, model, boxes: Tensor, sizes: Tensor) -> tuple:
    """Anchor sizes that fit; other aspect ratios and larger images too where sizes do not suffice.

    Args:
        boxes, sizes: as of `sample_boxes`.
    Returns:
        (config, its recall): the first with ENOUGH, else the best.
    """
    best, best_worth = None, -math.inf
    for step, growth in enumerate(GROWTH):
        larger = _enlarged(cfg, growth)
        seen = as_trained(larger, boxes, sizes)
        for candidate in _candidates(larger, model, seen):
            recall = _recall(candidate, model, seen)
            if recall >= ENOUGH:
                return candidate, recall
            if recall - STEP_WORTH * step > best_worth:
                best, best_worth = (candidate, recall), recall - STEP_WORTH * step
    return best


def _recall(cfg, model, seen: SeenBoxes) -> float:
    return (best_iou(cfg, model, seen) >= IOU).float().mean().item()


def _candidates(cfg, model, seen: SeenBoxes) -> Iterator:
    """The config itself, with fitting anchor sizes, and with fitting aspect ratios as well."""
    yield cfg
    yield _with_sizes(cfg, model, seen)
    x0, y0, x1, y1 = seen.boxes.tensor.unbind(dim=1)
    count = len(cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS[0])
    middles = (torch.arange(count) + 0.5) / count  # of equal shares of the boxes
    ratios = ((y1 - y0) / (x1 - x0)).quantile(middles).clamp(0.01, 100).tolist()
    yield _with_sizes(_changed(cfg, {RATIOS: [[round(x, 2) for x in ratios]]}), model, seen)


def _with_sizes(cfg, model, seen: SeenBoxes):
    """With a geometric series over all levels, between two sizes of the boxes: that with the best
    recall, of those with nearly the same the widest."""
    levels = len(model.anchor_generator.strides)
    per_level = len(cfg.MODEL.ANCHOR_GENERATOR.SIZES[0])
    least, most = seen.sides.quantile(torch.tensor([0.01, 0.99])).clamp_min(1).tolist()
    ends = combinations(np.geomspace(least, max(most, 2 * least), 8), 2)
    some = SeenBoxes(seen.boxes[:SEARCHED], seen.images[:SEARCHED])
    found = []
    for low, high in ends:
        sizes = np.geomspace(low, high, levels * per_level).round(1).reshape(levels, per_level)
        candidate = _changed(cfg, {SIZES: sizes.tolist()})
        found.append((round(_recall(candidate, model, some), 2), high / low, candidate))
    return max(found, key=lambda one: one[:2])[-1]


def _enlarged(cfg, growth: float):
    """With images of so many times the size, in training and in evaluation."""
    keys = [f"{end}_SIZE_{use}" for use in ("TRAIN", "TEST") for end in ("MIN", "MAX")]
    return (
        cfg
        if growth == 1
        else _changed(cfg, {f"INPUT.{key}": _times(cfg.INPUT[key], growth) for key in keys})
    )


def _times(size, growth: float):
    if isinstance(size, Sequence):
        return tuple(_times(x, growth) for x in size)
    return 32 * math.ceil(size * growth / 32)


def _changed(cfg, options: dict):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list([x for option in options.items() for x in option])
    return cfg


def _changes(cfg, other) -> str:
    """The KEY VALUE pairs that make the one config the other."""
    before = dict(flat(cfg))
    return " ".join(
        f"{key} {shlex.quote(str(value))}" for key, value in flat(other) if value != before[key]
    )
