"""What share of the boxes has an anchor that fits, from the annotations and the config alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import build_anchor_generator
from detectron2.structures import Boxes, BoxMode
from detectron2.structures.boxes import matched_pairwise_iou
from torch import Tensor

from .adapters import adapter_of

# From here on RetinaNet calls an anchor foreground, and Faster R-CNN's second stage a proposal.
# An RPN asks for 0.7, but each object's best anchor is foreground whatever its IoU: what counts is
# whether that one is near enough.
IOU = 0.5
ENOUGH = 0.9  # a smaller recall is warned of
MOST = 10_000  # boxes looked at: the recall's standard error is at most half a percent


class SeenBoxes(NamedTuple):
    """Boxes as training sees them."""

    boxes: Boxes  # N, in pixels of the resized images
    images: Tensor  # (N, 2), height and width of each one's image

    @property
    def sides(self) -> Tensor:
        """(N,) square roots of the areas."""
        return self.boxes.area().sqrt()


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
    strides = adapter_of(model).anchor_generator(model).strides
    generator = build_anchor_generator(cfg, [ShapeSpec(stride=stride) for stride in strides])
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
