"""What a term of the distillation loss is given, and what it says of itself.

Shapes: N images, S of them with soft targets, L levels, R anchors of all levels (R_l of one), K
classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass

from detectron2.config import CfgNode as CN
from detectron2.structures import Boxes
from torch import Tensor, nn

from ..utils.rules import at_least, within


@dataclass
class Outputs:
    """What a dense detector emits, of each level; None where nobody asked for it."""

    features: list[Tensor] | None = None  # FPN maps (N, C, h, w)
    logits: list[Tensor] | None = None  # (N, R_l, K)
    deltas: list[Tensor] | None = None  # (N, R_l, 4), boxes relative to their anchors
    centerness: list[Tensor] | None = None  # (N, R_l, 1), logits; FCOS's alone

    def select(self, images: list[int], kinds: Collection[str]) -> "Outputs":
        """Those of some images of the batch, by their positions, and of these kinds alone."""

        def of_images(level: Tensor) -> Tensor:
            return level if len(images) == len(level) else level[images]

        return Outputs(**{kind: [of_images(x) for x in getattr(self, kind)] for kind in kinds})


@dataclass
class Targets:
    """What the hard targets of a batch ask of each anchor."""

    anchors: list[Boxes]  # of each level
    labels: Tensor  # (N, R): class, K for background or without hard targets, -1 for ignored
    hard: list[int]  # positions in the batch of the images with hard targets
    boxes: list[Tensor]  # of each of these (R, 4): the box that each anchor is to learn
    num_classes: int

    @property
    def foreground(self) -> Tensor:
        """(N, R), whether an anchor is to find an object."""
        return (self.labels >= 0) & (self.labels < self.num_classes)

    def select(self, images: list[int]) -> "Targets":
        """Those of some images of the batch, by their positions."""
        hard = [at for at, image in enumerate(images) if image in self.hard]
        boxes = [self.boxes[self.hard.index(images[at])] for at in hard]
        return Targets(self.anchors, self.labels[images], hard, boxes, self.num_classes)


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
    RULES = {"WEIGHT": at_least(0), "WARMUP_ITERS": at_least(0), "DECAY_TO": within(0, 1)}

    @classmethod
    def add_keys(cls, node: CN) -> None:
        """Its section of the config, SAD.DISTILL.<NAME>."""
        # Factor of the term in the sum of all losses.
        node.WEIGHT = 1.0
        # Iterations over which the factor rises from 0.
        node.WARMUP_ITERS = 0
        # Share of WEIGHT that is left at the end; it falls evenly from the first iteration on.
        node.DECAY_TO = 1.0

    @classmethod
    def idle_keys(cls, node: CN) -> dict[str, str]:
        """Keys that these values leave without a say, and why: {"GAMMA": "LOSS kl"}."""
        return {}

    @classmethod
    def why_hard_targets(cls, node: CN) -> str:
        """Why each image with soft targets needs hard ones, too; "" where it does not."""
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
        fall = 1 - (1 - self.options.DECAY_TO) * iteration / max(1, self.max_iter)
        return self.options.WEIGHT * rise * fall

    @abstractmethod
    def divisor(self, teacher: Outputs, targets: Targets) -> Tensor:
        """What S images add to the number that the step's sum is divided by; it may not depend on
        the student. Below 1 it counts as 1.

        Args:
            teacher, targets: of the S images.
        """

    @abstractmethod
    def forward(self, student: Outputs, teacher: Outputs, targets: Targets) -> Tensor:
        """The sum over S images, at least one.

        Args:
            student, teacher: what is needed of each, of the S images, in float32 or float64.
            targets: of the S images.
        """
