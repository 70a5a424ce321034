"""Anchors that fit the objects better, as KEY VALUE pairs to set."""

import math
import shlex
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor

from ..config.defaults import flat
from .adapters import adapter_of
from .anchor_fit import ENOUGH, IOU, SeenBoxes, as_trained, best_iou

SEARCHED = 2_000  # boxes looked at to choose other sizes, which are then judged by all
GROWTH = [2 ** (step / 4) for step in range(13)]  # of the images: up to 8 times as large
STEP_WORTH = 0.02  # recall that each step of growth must bring, where nothing is enough
SIZES, RATIOS = (f"MODEL.ANCHOR_GENERATOR.{key}" for key in ("SIZES", "ASPECT_RATIOS"))


def find_better(
    cfg, model, boxes: Tensor, sizes: Tensor, largest: float = math.inf
) -> tuple[CfgNode, float]:
    """Anchor sizes that fit; other aspect ratios and larger images too where sizes do not suffice.

    Args:
        boxes, sizes: as of `sample_boxes`.
        largest: the longer side in pixels that images may grow to.
    Returns:
        (config, its recall): the first with ENOUGH, else the best.
    """
    best, best_worth = None, -math.inf
    for step, growth in enumerate(GROWTH):
        larger = _enlarged(cfg, growth)
        if step and larger.INPUT.MAX_SIZE_TRAIN > largest:
            break
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
    levels = len(adapter_of(model).anchor_generator(model).strides)
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


def changes(cfg, other) -> str:
    """The KEY VALUE pairs that make the one config the other."""
    before = dict(flat(cfg))
    return " ".join(
        f"{key} {shlex.quote(str(value))}" for key, value in flat(other) if value != before[key]
    )
