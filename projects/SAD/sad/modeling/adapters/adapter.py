"""What the project asks of every kind of detector, dense or of two stages."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection

from detectron2.layers import ShapeSpec
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from ...config.defaults import flat
from ...terms.term import Outputs, Targets
from ...utils.errors import UserError
from ...utils.rules import Rule, check, one_of, positive

BOXES_ALONE = Rule(lambda x: not x, "False, as these detectors learn boxes alone")
BOX_WEIGHTS = Rule(
    lambda x: len(x) == 4 and all(map(positive.holds, x)), "four numbers, each above 0"
)
BOX_REG_LOSSES = one_of("smooth_l1", "giou", "diou", "ciou")  # Detectron2's, of all detectors


class Adapter(ABC):
    """It holds nothing, each function is given the model."""

    # What the values of its keys must be, beside the rules for all detectors.
    RULES: dict[str, Rule] = {}
    shares_anchors: bool  # whether teacher and student must have the same
    learns_by_overlap: bool  # whether an object is learned by the anchors that it overlaps with
    emits: frozenset[str]  # fields of Outputs that a term may need
    needs_hard_targets = False  # whether an image with soft targets must have hard ones, too

    @abstractmethod
    def num_classes(self, model) -> int:
        """Without the background."""

    @abstractmethod
    def anchored(self, model) -> nn.Module:
        """The part of the model that has the anchors, as its `anchor_generator`."""

    @abstractmethod
    def new_anchor_generator(self, cfg, model) -> nn.Module:
        """As the model's own."""

    @abstractmethod
    def detect(self, model, batch: list[dict], precision: str = "float32") -> list[Instances]:
        """What `model(batch)` gives, in the same order.

        Args:
            model: in eval mode.
            batch: dicts with image, height and width, as of DatasetMapper.
            precision: of the network, see `sad.utils.precision`; scores and boxes are float32.
        Returns:
            of each image, in pixels of its height and width; N boxes with pred_boxes, scores and
            pred_classes.
        """

    def anchor_generator(self, model) -> nn.Module:
        return self.anchored(model).anchor_generator

    def renew_anchors(self, cfg, model) -> None:
        """Give a model that was built without memory anchors that have values."""
        self.anchored(model).anchor_generator = self.new_anchor_generator(cfg, model)

    def check(self, cfg) -> None:
        """
        Raises:
            UserError: naming a key, its value and what is allowed.
        """
        values = dict(flat(cfg))
        for key, rule in self.RULES.items():
            check(key, values[key], rule)

    # --- what a distiller asks, in the order in which it does ---

    def check_pair(self, student, teacher, scale: float, need: Collection[str]) -> None:
        """What a teacher emits must mean the same as what its student does.

        Args:
            scale: size of the teacher's image over the student's.
            need: of the teacher's outputs.
        Raises:
            UserError: naming what differs and both values.
        """
        if strange := sorted(set(need) - self.emits):
            raise UserError(
                f"SAD.DISTILL.TERMS learns from {', '.join(strange)}, which a "
                f"{type(student).__name__} does not emit"
            )
        for what, value in self.must_agree(student, scale, need).items():
            if value(student) != value(teacher):
                raise UserError(
                    f"teacher and student differ in their {what}: "
                    f"the teacher has {value(teacher)}, the student {value(student)}"
                )

    @abstractmethod
    def must_agree(
        self, student, scale: float, need: Collection[str]
    ) -> dict[str, Callable[[nn.Module], object]]:
        """What student and teacher must have alike, in words, and how it is found in either."""

    @abstractmethod
    def feature_shapes(self, model) -> list[ShapeSpec]:
        """Channels and stride of each FPN map that the head sees."""

    def level_sizes(self, model, padded_shape: tuple[int, int]) -> list[tuple[int, int]]:
        """Height and width of each of these maps, of an image of this (height, width)."""
        height, width = padded_shape
        strides = [shape.stride for shape in self.feature_shapes(model)]
        return [(-(-height // stride), -(-width // stride)) for stride in strides]

    @abstractmethod
    def targets(self, model, padded_shape: tuple[int, int], batch: list[dict]) -> Targets:
        """
        Args:
            batch: as of the mapper; of the images with `hard_targets` the `instances` are read.
        """

    @abstractmethod
    def teacher_outputs(self, model, images: ImageList, need: Collection[str]) -> Outputs:
        """What a teacher can say before the student's forward; of `need` and nothing else."""

    @abstractmethod
    def student_outputs(
        self, model, images: ImageList, targets: Targets, theirs: dict[int, Instances], share: str
    ) -> Outputs:
        """The student's own forward in training.

        Args:
            targets: a detector of two stages adds the regions that it samples.
            theirs: proposals of the teacher, by the image's position in the batch.
            share: see SAD.DISTILL.PROPOSALS.
        """

    @abstractmethod
    def answer(self, model, outputs: Outputs, targets: Targets, need: Collection[str]) -> None:
        """Add to a teacher's outputs what it says of the regions that the student has sampled."""

    @abstractmethod
    def normalizer(self, model, hard_images: float, foreground: float, forwards: int) -> float:
        """What the sums of the detection losses are divided by.

        Args:
            hard_images, foreground: counts of the images with hard targets and of their foreground
                anchors, over so many forwards.
        """

    @abstractmethod
    def detection_losses(
        self, model, outputs: Outputs, targets: Targets, foreground: int, normalizer: float,
        class_loss: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """The detector's own losses, of the images with hard targets.

        Args:
            foreground: anchors that are to find an object.
            normalizer: what the sums are divided by.
            class_loss: the focal loss, where it is known already.
        Returns:
            a scalar by the name that the detector itself gives it.
        """
