"""The feature term: the teacher's FPN maps, all of them (Table 1's feature map mimic) or where the
objects are (TAR, DeFeat).
"""

import math
from functools import partial

import torch
from detectron2.config import CfgNode as CN
from detectron2.modeling.poolers import assign_boxes_to_levels
from torch import Tensor, nn

from ..losses.features import (
    FEATURE_LOSSES,
    convolved_at,
    gaussian_mask,
    masked_squared_difference,
)
from ..utils.errors import UserError
from ..utils.rules import above, one_of
from .term import Outputs, Targets, Term

LAYERS = ("auto", "conv1x1", "conv3x3", "conv3x3_relu", "none")


class FeatureTerm(Term):
    """What LOSS makes of the FPN maps, after a layer on each of the student's.

    Without a MASK it is the mean over the levels of the loss at all places, else what
    `sad.losses.features.masked_squared_difference` makes of a mask of the objects' boxes.
    """

    need = frozenset({"features"})
    RULES = Term.RULES | {
        "LOSS": one_of(*FEATURE_LOSSES),
        "TEMPERATURE": above(0),
        "LAYER": one_of(*LAYERS),
        "MASK": one_of("none", "box", "gaussian"),
        "SIGMA2": above(0),
        "LEVELS": one_of("own", "all"),
        "NORMALIZER": one_of("per_level", "pooled"),
    }

    @classmethod
    def add_keys(cls, node: CN) -> None:
        super().add_keys(node)
        # The loss of each level: "l2" (mean squared difference), "pkd" (1 - Pearson's correlation
        # of each channel over all images of a forward) or "cwd" (KL of each channel's softmax over
        # the places).
        node.LOSS = "l2"
        # What cwd divides the maps by before the softmax; it multiplies the KL by its square.
        node.TEMPERATURE = 1.0
        # The layer that each of the student's maps passes through: "conv1x1", "conv3x3",
        # "conv3x3_relu" or "none"; "auto" is a conv1x1 where the channels differ.
        node.LAYER = "auto"
        # Where the maps are compared: everywhere ("none"), in the boxes of the hard targets
        # ("box"), or in these with a weight that falls towards their edges ("gaussian").
        node.MASK = "none"
        # The factor s of the Gaussian exp(-(x-x0)^2 / (s (w/2)^2) - (y-y0)^2 / (s (h/2)^2)).
        node.SIGMA2 = 2.0
        # A box is in the mask of "all" levels, or of its "own": those with anchors that are to find
        # it; in a GeneralizedRCNN the one that its region is pooled from, by FPN's rule.
        node.LEVELS = "own"
        # Divide by twice the sum of the mask in each level and take the mean over the levels
        # ("per_level"), or by twice the sum in all of them ("pooled").
        node.NORMALIZER = "per_level"

    @classmethod
    def idle_keys(cls, node: CN) -> dict[str, str]:
        idle = super().idle_keys(node)
        if node.LOSS != "cwd":
            idle["TEMPERATURE"] = f"LOSS {node.LOSS}"
        if node.LOSS != "l2":
            unread = ("MASK", "SIGMA2", "LEVELS", "NORMALIZER")
            return idle | dict.fromkeys(unread, f"LOSS {node.LOSS}")
        if node.MASK != "gaussian":
            idle["SIGMA2"] = f"MASK {node.MASK}"
        if node.MASK == "none":
            idle |= dict.fromkeys(("LEVELS", "NORMALIZER"), "MASK none")
        return idle

    @classmethod
    def why_hard_targets(cls, node: CN) -> str:
        return "" if node.MASK == "none" else f"MASK {node.MASK} is made of hard targets' boxes"

    @classmethod
    def why_local(cls, node: CN) -> str:
        if node.LOSS == "pkd":
            return "LOSS pkd compares all images of a forward at once"
        return "" if node.MASK == "none" else f"MASK {node.MASK} is summed up in each forward"

    def attach(self, adapter, student, teacher) -> None:
        ours, theirs = (adapter.feature_shapes(model) for model in (student, teacher))
        self.strides = [shape.stride for shape in ours]
        self.layers = nn.ModuleList(
            _layer(self.options.LAYER, a.channels, b.channels)
            for a, b in zip(ours, theirs, strict=True)
        ).to(student.device)

    def forward(self, student: Outputs, teacher: Outputs, targets: Targets) -> Tensor:
        pairs = list(zip(student.features, teacher.features, strict=True))
        if self.options.MASK == "none":
            loss = FEATURE_LOSSES[self.options.LOSS]
            levels = [
                loss(layer(x), z, temperature=self.options.TEMPERATURE)
                for layer, (x, z) in zip(self.layers, pairs, strict=True)
            ]
            difference = sum(levels) / len(levels)
        else:
            masks = self._masks(targets, [x.shape[-2:] for x, _ in pairs])
            levels = [_at(*level) for level in zip(self.layers, pairs, masks, strict=True)]
            difference = masked_squared_difference(
                *zip(*levels, strict=True), pooled=self.options.NORMALIZER == "pooled"
            )
        return len(targets.labels) * difference

    def _masks(self, targets: Targets, sizes: list[tuple[int, int]]) -> list[Tensor]:
        """(S, h, w) of each level, whose (h, w) are given."""
        spread = self.options.SIGMA2 if self.options.MASK == "gaussian" else math.inf
        of_images = [
            [
                gaussian_mask(boxes, size, stride, spread)
                for boxes, size, stride in zip(levels, sizes, self.strides, strict=True)
            ]
            for levels in map(partial(self._boxes, targets), range(len(targets.objects)))
        ]
        return [torch.stack(masks) for masks in zip(*of_images, strict=True)]

    def _boxes(self, targets: Targets, image: int) -> list[Tensor]:
        """Of an image, by its position, the boxes (B, 4) in each level's mask."""
        boxes = targets.objects[image].gt_boxes
        if self.options.LEVELS == "all":
            return [boxes.tensor for _ in self.strides]
        if targets.anchors:
            lengths = [len(anchors) for anchors in targets.anchors]
            split = (of[image].split(lengths) for of in (targets.boxes, targets.foreground))
            return [found[is_object].unique(dim=0) for found, is_object in zip(*split, strict=True)]
        levels = _fpn_levels(boxes, self.strides)
        return [boxes.tensor[levels == level] for level in range(len(self.strides))]


def _layer(kind: str, ours: int, theirs: int) -> nn.Module:
    if kind == "auto":
        kind = "none" if ours == theirs else "conv1x1"
    if kind == "none":
        if ours != theirs:
            raise UserError(
                f"SAD.DISTILL.FEATURE.LAYER is none, but the student's feature maps have {ours} "
                f"channels and the teacher's {theirs}: give auto or another layer"
            )
        return nn.Identity()
    size = 1 if kind == "conv1x1" else 3
    convolution = nn.Conv2d(ours, theirs, size, padding=size // 2)
    return nn.Sequential(convolution, nn.ReLU()) if kind.endswith("_relu") else convolution


def _at(
    layer: nn.Module, pair: tuple[Tensor, Tensor], mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of a level the student's and the teacher's maps, (P, C) each, and the mask, (P,), at the P
    places where it is not 0. They are few, and the layer is computed there alone.
    """
    ours, theirs = pair
    places = mask > 0
    convolution, *after = layer if isinstance(layer, nn.Sequential) else [layer]
    if isinstance(convolution, nn.Identity):
        ours = ours.movedim(1, -1)[places]
    else:
        ours = convolved_at(ours, convolution, places)
    for each in after:
        ours = each(ours)
    return ours, theirs.movedim(1, -1)[places], mask[places]


def _fpn_levels(boxes, strides: list[int]) -> Tensor:
    """(B,) the level of each box, counted from that of the first stride: 224 pixels are P4."""
    first, last = (int(math.log2(stride)) for stride in (strides[0], strides[-1]))
    return assign_boxes_to_levels([boxes], first, last, 224, 4)
