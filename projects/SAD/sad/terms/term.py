"""What a term of the distillation loss is given, and what it says of itself.

Shapes: N images, S of them with soft targets, L levels, R anchors of all levels (R_l of one), K
classes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from detectron2.config import CfgNode as CN
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from ..losses.distillation import Inside, at_least_float32
from ..utils.rules import Rule, at_least, one_of, within


@dataclass
class Outputs:
    """What a detector emits; None where nobody asked for it, or where it is of the other kind."""

    features: list[Tensor] | None = None  # FPN maps (N, C, h, w) of each level

    # Of a dense detector, each a list over the levels.
    logits: list[Tensor] | None = None  # (N, R_l, K)
    deltas: list[Tensor] | None = None  # (N, R_l, 4), boxes relative to their anchors
    centerness: list[Tensor] | None = None  # (N, R_l, 1), logits; FCOS's alone
    # Where the teacher answers for the cells of an image alone, and not for those of its batch.
    inside: Inside | None = None

    # Of one of two stages, each a list over the images; M regions of an image.
    roi_logits: list[Tensor] | None = None  # (M, K + 1), the background's last
    roi_deltas: list[Tensor] | None = None  # (M, 4 K), or (M, 4) of a class-agnostic head
    proposals: list[Instances] | None = None  # what the first stage proposes
    losses: dict[str, Tensor] | None = None  # its own, which it computes along the way

    def select(self, images: list[int], kinds: Collection[str]) -> "Outputs":
        """Those of some images of the batch, by their positions, and of these kinds alone."""

        def of_images(level: Tensor) -> Tensor:
            return level if len(images) == len(level) else level[images]

        def chosen(kind: str) -> list[Tensor]:
            found = getattr(self, kind)
            if kind.startswith("roi_"):
                return [found[image] for image in images]
            return [of_images(level) for level in found]

        return Outputs(**{kind: chosen(kind) for kind in kinds})

    def in_float32(self, kinds: Collection[str]) -> "Outputs":
        """These kinds alone, in float32 at least."""
        values = {kind: [at_least_float32(x) for x in getattr(self, kind)] for kind in kinds}
        return Outputs(**values, inside=self.inside)


@dataclass
class Targets:
    """What the hard targets of a batch ask of each anchor, or of each region."""

    anchors: list[Boxes]  # of each level
    labels: Tensor  # (N, R): class, K for background or without hard targets, -1 for ignored
    hard: list[int]  # positions in the batch of the images with hard targets
    boxes: list[Tensor]  # of each of these (R, 4): the box that each anchor is to learn
    num_classes: int
    # Of each of these its gt_boxes, in pixels of the student's image, and gt_classes.
    objects: list[Instances] = field(default_factory=list)
    # Of each image the regions that a student of two stages has sampled, with proposal_boxes,
    # gt_classes and, where the image has objects, gt_boxes. Its R is 0.
    regions: list[Instances] = field(default_factory=list)

    @property
    def foreground(self) -> Tensor:
        """(N, R), whether an anchor is to find an object."""
        return (self.labels >= 0) & (self.labels < self.num_classes)

    def select(self, images: list[int]) -> "Targets":
        """Those of some images of the batch, by their positions."""
        hard = [at for at, image in enumerate(images) if image in self.hard]

        def of_hard(each: list) -> list:
            return [each[self.hard.index(images[at])] for at in hard] if each else []

        return Targets(
            self.anchors,
            self.labels[images],
            hard,
            of_hard(self.boxes),
            self.num_classes,
            of_hard(self.objects),
            [self.regions[image] for image in images] if self.regions else [],
        )


class Term(nn.Module, ABC):
    """weight x forward(student, teacher) / divisor(teacher), one summand of the loss.

    A term's own layers train with the student but are no part of it: a checkpoint keeps them in a
    section of their own.
    """

    # Fields of Outputs. Nothing else of the teacher is computed.
    need: frozenset[str] = frozenset()
    need_of_student: frozenset[str] | None = None  # where it is less than of the teacher
    # Computes the student's focal loss along with the term, see `sad.losses.fused`.
    fused = None
    RULES = {
        "WEIGHT": at_least(0),
        "WARMUP_ITERS": at_least(0),
        "DECAY_TO": within(0, 1),
        "DECAY": one_of("linear", "cosine"),
        "DECAY_STEPS": Rule(lambda x: x >= 0 and x != 1, "0 or at least 2"),
    }

    @classmethod
    def add_keys(cls, node: CN) -> None:
        """Its section of the config, SAD.DISTILL.<NAME>."""
        # Factor of the term in the sum of all losses.
        node.WEIGHT = 1.0
        # Iterations over which the factor rises from 0.
        node.WARMUP_ITERS = 0
        # Share of WEIGHT that is left at the end; it falls from the first iteration on.
        node.DECAY_TO = 1.0
        # How it falls: "linear" (evenly) or "cosine" (as half a wave).
        node.DECAY = "linear"
        # It falls at each iteration with 0, else in so many equal steps, such as the epochs of the
        # run. The last step does not reach DECAY_TO: that of 12 keeps 1/12 of the way to it, where
        # it falls evenly.
        node.DECAY_STEPS = 0

    @classmethod
    def idle_keys(cls, node: CN) -> dict[str, str]:
        """Keys that these values leave without a say, and why: {"GAMMA": "LOSS kl"}."""
        return {} if node.DECAY_TO < 1 else dict.fromkeys(("DECAY", "DECAY_STEPS"), "DECAY_TO 1.0")

    @classmethod
    def why_hard_targets(cls, node: CN) -> str:
        """Why each image with soft targets needs hard ones, too; "" where it does not."""
        return ""

    @classmethod
    def why_local(cls, node: CN) -> str:
        """Why the parts of a step cannot share one divisor (SOLVER.LOSS_NORMALIZERS global); ""
        where they can.
        """
        return ""

    def __init__(self, options: CN, max_iter: int):
        """
        Args:
            options: its section of the config.
            max_iter: iterations of the run, for DECAY_TO.
        """
        super().__init__()
        self.options = options
        self.max_iter = max_iter

    def attach(self, adapter, student, teacher) -> None:
        """What can be prepared once both models are there, such as layers between the two."""

    def weight(self, iteration: int) -> float:
        """The factor at an iteration, from 0 on."""
        rise = min(1.0, (iteration + 1) / max(1, self.options.WARMUP_ITERS))
        last, steps = max(1, self.max_iter), self.options.DECAY_STEPS
        done = iteration * steps // last / steps if steps else iteration / last
        if self.options.DECAY == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        fall = 1 - (1 - self.options.DECAY_TO) * done
        return self.options.WEIGHT * rise * fall

    def divisor(self, teacher: Outputs, targets: Targets) -> Tensor:
        """What S images add to the number that the step's sum is divided by; it may not depend on
        the student. Below 1 it counts as 1. It is their number, unless a term says otherwise.

        Args:
            teacher, targets: of the S images.
        """
        return torch.tensor(len(targets.labels), device=targets.labels.device)

    @abstractmethod
    def forward(self, student: Outputs, teacher: Outputs, targets: Targets) -> Tensor:
        """The sum over S images, at least one.

        Args:
            student, teacher: what is needed of each, of the S images, in float32 or float64.
            targets: of the S images.
        """
