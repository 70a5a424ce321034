"""What Detectron2's dense detectors have in common: they answer for anchors of several levels."""

from abc import abstractmethod
from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch.dense_detector import permute_to_N_HWA_K
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage
from fvcore.nn import sigmoid_focal_loss_jit
from torch import Tensor, nn

from ...terms.term import Outputs, Targets
from ...utils.compat import dense_box_regression_loss
from ...utils.errors import UserError
from . import dense_inference
from .adapter import Adapter

# Shapes: N images, R anchors of all levels (R_l of one), K classes.


class DenseAdapter(Adapter):
    """The class and box scores of all anchors, in one forward for all losses."""

    shares_anchors = True
    first_normalizer: int  # where the moving mean of foreground anchors begins
    emits = frozenset({"features", "logits", "deltas"})  # of the fields of Outputs

    def num_classes(self, model) -> int:
        return model.num_classes

    def anchored(self, model) -> nn.Module:
        return model

    def detect(
        self,
        model,
        batch: list[dict],
        precision: str = "float32",
        heed: Callable[[Outputs], None] | None = None,
    ) -> list[Instances]:
        """
        Args:
            heed: is given the outputs of the whole batch, too.
        """
        return dense_inference.detect(self, model, batch, precision, heed)

    @abstractmethod
    def _all(self, model, features: list[Tensor]) -> dict[str, list[Tensor]]:
        """The head's own forward: the maps of each kind of output, (N, A x C, h, w) each."""

    @abstractmethod
    def _named(self, class_loss: Tensor, box_loss: Tensor) -> dict[str, Tensor]:
        """Under the names that the detector itself gives its losses."""

    @abstractmethod
    def _box_loss_kind(self, model) -> dict:
        """Keywords of Detectron2's box loss of dense detectors."""

    def _box_loss(self, model, deltas: list[Tensor], targets: Targets) -> Tensor:
        """The sum over foreground anchors."""
        return dense_box_regression_loss(
            targets.anchors,
            model.box2box_transform,
            deltas,
            targets.boxes,
            targets.foreground,
            **self._box_loss_kind(model),
        )

    @abstractmethod
    def least_logit(self, threshold: float) -> float:
        """No smaller class logit has a score above the threshold."""

    @abstractmethod
    def scores(self, logits: Tensor, centerness: Tensor | None) -> Tensor:
        """(C,) scores of class logits (C,) and, for FCOS, their anchors' centerness logits (C,)."""

    def feature_shapes(self, model) -> list[ShapeSpec]:
        shapes = model.backbone.output_shape()
        return [shapes[name] for name in model.head_in_features]

    def outputs(self, model, pixels: Tensor, need: Collection[str] | None = None) -> Outputs:
        """
        Args:
            pixels: (N, C, H, W), normalised and padded.
            need: fields of Outputs; branches of the head that none of them needs are not computed.
                None is all, by the head's own forward.
        """
        if need is not None and not self.emits.issuperset(need):
            raise ValueError(f"{need} is asked for, of which there are {sorted(self.emits)}")
        features = model.backbone(pixels)
        features = [features[name] for name in model.head_in_features]
        maps = self._all(model, features) if need is None else self._some(model, features, need)
        sizes = {"logits": model.num_classes, "deltas": 4, "centerness": 1}
        dense = {
            kind: [permute_to_N_HWA_K(level, sizes[kind]) for level in levels]
            for kind, levels in maps.items()
        }
        return Outputs(features=features, **dense)

    def _some(self, model, features, need) -> dict[str, list[Tensor]]:
        head, maps = model.head, {}
        if "logits" in need:
            maps["logits"] = [head.cls_score(head.cls_subnet(level)) for level in features]
        if "deltas" in need:
            maps["deltas"] = [head.bbox_pred(head.bbox_subnet(level)) for level in features]
        return maps

    def anchors(self, model, padded_shape: tuple[int, int]) -> list[Boxes]:
        """Of each level of an image of this (height, width), before there are feature maps."""
        sizes = self.level_sizes(model, padded_shape)
        return model.anchor_generator([torch.empty(1, 1, *size, device="meta") for size in sizes])

    def teacher_outputs(self, model, images: ImageList, need: Collection[str]) -> Outputs:
        outputs = self.outputs(model, images.tensor, need)
        if "features" not in need:
            outputs.features = None  # they take much memory
        return outputs

    def student_outputs(
        self, model, images: ImageList, targets: Targets, theirs: dict[int, Instances], share: str
    ) -> Outputs:
        return self.outputs(model, images.tensor)

    def answer(self, model, outputs: Outputs, targets: Targets, need: Collection[str]) -> None:
        """It has said all: its anchors are known before the student's forward."""

    def targets(self, model, padded_shape: tuple[int, int], batch: list[dict]) -> Targets:
        anchors = self.anchors(model, padded_shape)
        hard = [i for i, item in enumerate(batch) if item["hard_targets"]]
        objects = [batch[i]["instances"].to(model.device) for i in hard]
        labels, boxes = model.label_anchors(anchors, objects)
        shape = len(batch), sum(map(len, anchors))
        of_all = torch.full(shape, model.num_classes, device=model.device)
        if hard:
            of_all[hard] = torch.stack(labels)
        return Targets(anchors, of_all, hard, boxes, model.num_classes, objects)

    def normalizer(self, model, hard_images: float, foreground: float, forwards: int) -> float:
        """Detectron2's: the moving mean of the foreground anchors of so many forwards. Images
        without hard targets do not move it.
        """
        mean = getattr(model, "loss_normalizer", self.first_normalizer * forwards)
        if hard_images:
            mean = 0.9 * mean + (1 - 0.9) * max(foreground, 1)
            model.loss_normalizer = mean  # where Detectron2 keeps it
        return mean

    def detection_losses(
        self, model, outputs: Outputs, targets: Targets, foreground: int, normalizer: float,
        class_loss: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        if not targets.hard:
            # Zeros of the graph: every parameter still gets a gradient, as DDP demands.
            if class_loss is None:
                class_loss = sum(level[:0].sum() for level in outputs.logits)
            return self._named(class_loss, sum(level[:0].sum() for level in outputs.deltas))
        get_event_storage().put_scalar("num_pos_anchors", foreground / len(targets.hard))
        if len(targets.hard) < len(targets.labels):
            outputs = outputs.select(targets.hard, self.emits - {"features"})
            targets = targets.select(targets.hard)
        if class_loss is None:
            class_loss = self._focal_loss(model, outputs.logits, targets) / normalizer
        box_loss = self._box_loss(model, outputs.deltas, targets) / normalizer
        return self._named(class_loss, box_loss)

    def _focal_loss(self, model, logits: list[Tensor], targets: Targets) -> Tensor:
        used = targets.labels >= 0
        is_class = F.one_hot(targets.labels[used], model.num_classes + 1)[:, :-1]
        return sigmoid_focal_loss_jit(
            torch.cat(logits, dim=1)[used],
            is_class.to(logits[0].dtype),
            alpha=model.focal_loss_alpha,
            gamma=model.focal_loss_gamma,
            reduction="sum",
        )

    def must_agree(
        self, student, scale: float, need: Collection[str]
    ) -> dict[str, Callable[[nn.Module], object]]:
        """Classes and anchors, which are compared in the teacher's pixels."""
        in_pixels = _in_pixels(scale)

        def times(model) -> float:
            return scale if model is student else 1

        of = {
            "number of classes": lambda model: model.num_classes,
            f"strides{in_pixels}": lambda model: [
                round(times(model) * stride) for stride in model.anchor_generator.strides
            ],
            "anchor offset": lambda model: model.anchor_generator.offset,
            "number of anchors per cell": lambda model: [
                len(level) for level in model.anchor_generator.cell_anchors
            ],
        }
        if "deltas" in need:
            of["box deltas"] = lambda model: str(vars(model.box2box_transform))
        return of

    def check_pair(self, student, teacher, scale: float, need: Collection[str]) -> None:
        super().check_pair(student, teacher, scale, need)
        in_pixels = _in_pixels(scale)
        ours, theirs = (
            [
                [round(value * times, 2) for value in box]
                for level in model.anchor_generator.cell_anchors
                for box in level.tolist()
            ]
            for model, times in ((student, scale), (teacher, 1))
        )
        for our, their in zip(ours, theirs, strict=True):
            if our != their:
                raise UserError(
                    "teacher and student differ in their anchors (MODEL.ANCHOR_GENERATOR)"
                    f"{in_pixels}: one of the teacher's is {their}, which is {our} in the student"
                )


def _in_pixels(scale: float) -> str:
    return "" if scale == 1 else f" (in the teacher's pixels, SAD.TEACHER.INPUT_SCALE {scale:g})"
