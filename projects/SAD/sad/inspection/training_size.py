"""The boxes as training sees them: how large, and whether anchors fit them."""

import numpy as np
import torch
from detectron2.data.transforms import ResizeShortestEdge

from ..config.defaults import detector_name
from ..modeling.adapters import ADAPTERS
from ..modeling.anchor_advice import changes, find_better
from ..modeling.anchor_fit import ENOUGH, IOU, MOST, as_trained, best_iou
from ..modeling.build import build_detector
from .labeled_set import LabeledSet


def shorter_side(cfg) -> int:
    """Of INPUT.MIN_SIZE_TRAIN the middle one."""
    sizes = sorted(cfg.INPUT.MIN_SIZE_TRAIN)
    return sizes[len(sizes) // 2]


def describe_size(cfg) -> str:
    """What images are resized to in training."""
    shorter, longest = shorter_side(cfg), cfg.INPUT.MAX_SIZE_TRAIN
    if shorter >= longest:
        return f"{longest} pixels at the longer side"
    return f"{shorter} pixels at the shorter side and at most {longest} at the longer"


def training_sides(cfg, labeled: LabeledSet) -> np.ndarray:
    """(B,) square roots of the boxes' areas, in pixels of the resized images."""
    different, which = np.unique(labeled.sizes, axis=0, return_inverse=True)
    resized = np.array(
        [
            ResizeShortestEdge.get_output_shape(*size, shorter_side(cfg), cfg.INPUT.MAX_SIZE_TRAIN)
            for size in different.tolist()
        ]
    ).reshape(-1, 2)
    scales = np.sqrt(resized.prod(axis=1) / different.prod(axis=1))
    return labeled.sides * scales[which.reshape(-1)][labeled.image_of]


def fit_anchors(cfg, labeled: LabeledSet) -> dict | None:
    """What share of the boxes has an anchor that fits, and anchors that fit better.

    Returns:
        None where there are no boxes or the detector learns from no anchors; else recall, iou,
        of each level sizes, aspect_ratios (height / width) and strides, and better: None where the
        recall is enough or nothing fits better, else its recall and options ("KEY VALUE ...").
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = detector_name(cfg)
    cfg.MODEL.DEVICE = "meta"
    adapter = ADAPTERS[cfg.MODEL.META_ARCHITECTURE]
    if not len(labeled.boxes) or not adapter.learns_by_overlap:
        return None
    model = build_detector(cfg)
    some = np.random.default_rng(0).permutation(len(labeled.boxes))[:MOST]
    boxes = torch.from_numpy(labeled.boxes[some])
    sizes = torch.from_numpy(labeled.sizes[labeled.image_of[some]]).double()
    recall = _recall(best_iou(cfg, model, as_trained(cfg, boxes, sizes)))
    better = None
    if recall < ENOUGH:
        other, reached = find_better(cfg, model, boxes, sizes)
        if reached > recall:
            better = {"recall": reached, "options": changes(cfg, other)}
    strides = list(adapter.anchor_generator(model).strides)
    of_cfg = cfg.MODEL.ANCHOR_GENERATOR
    sizes, ratios = (
        [list(level) for level in levels] * (len(strides) if len(levels) == 1 else 1)
        for levels in (of_cfg.SIZES, of_cfg.ASPECT_RATIOS)
    )
    return {
        "recall": recall,
        "iou": IOU,
        "sizes": sizes,
        "aspect_ratios": ratios,
        "strides": strides,
        "better": better,
    }


def _recall(overlaps: torch.Tensor) -> float:
    return (overlaps >= IOU).float().mean().item()
