"""The student: a RetinaNet that, while training, also learns from a teacher's class logits."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, RetinaNet
from detectron2.modeling.box_regression import _dense_box_regression_loss
from detectron2.structures import Boxes, ImageList
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor

from ..losses.distillation import (
    DISTILLATION_LOSSES,
    at_least_float32,
    foreground_count,
    teacher_power,
)
from ..losses.fused import ClassLosses, sum_in_pieces
from .mimic import FeatureMimic
from .teacher import check_same_logits, teacher_outputs

# Shapes: N images of the batch, S of them with soft targets, R anchors of all levels, K classes.


@dataclass
class PreparedBatch:
    """All that the losses of a batch need besides the student's outputs."""

    images: ImageList
    anchors: list[Boxes]  # of each level
    labels: Tensor  # (N, R): class, K for background or without hard targets, -1 for ignored
    hard: list[int]  # positions in the batch of the images with hard targets
    gt_boxes: list[Tensor]  # of each of them (R, 4)
    soft: list[int]  # positions in the batch of the images with soft targets
    teacher_features: list[Tensor] | None = None  # FPN maps, kept for feature mimic alone
    teacher_logits: list[Tensor] | None = None  # of each level (S, anchors of the level, K)
    foreground: int = 0  # anchors
    detection_normalizer: float = 1.0
    distillation_normalizer: Tensor | float = 1.0


@META_ARCH_REGISTRY.register()
class SADRetinaNet(RetinaNet):
    """L = FL + L_loc on images with hard targets, + ADL on images with soft targets (Eq. 8).

    The model is the student. Its teacher hangs outside the module tree, so that parameters(),
    state_dict(), DistributedDataParallel and the optimizer see a plain RetinaNet.
    """

    @configurable
    def __init__(
        self,
        *,
        distillation_loss=None,
        class_losses=None,
        feature_mimic=False,
        distillation_weight=0.5,
        distillation_warmup_iters=0,
        normalizer="teacher_power",
        normalizer_power=1.8,
        loss_normalizers="local",
        teacher_precision="float32",
        teacher_scale=1.0,
        **retinanet_arguments,
    ):
        """
        Args:
            distillation_loss: (student logits, teacher logits, hard labels) -> loss of each
                element, see `sad.losses.distillation`; None for no loss of logits.
            class_losses: the same and the focal loss in one pass, see `sad.losses.fused`; None
                computes them one after the other, as written in `sad.losses.distillation`.
            feature_mimic: L2 of FPN maps, see `sad.modeling.mimic`.
            distillation_weight: factor of the normalised sum.
            distillation_warmup_iters: iterations over which the factor rises from 0.
            normalizer: "teacher_power", "foreground" or "elements", see SAD.DISTILL.NORMALIZER.
            loss_normalizers: "local" or "global", see SOLVER.LOSS_NORMALIZERS.
            teacher_precision: see `sad.modeling.teacher.PRECISIONS`.
            teacher_scale: size of the teacher's image over the student's.
        """
        super().__init__(**retinanet_arguments)
        self.distillation_loss = distillation_loss
        self.class_losses = class_losses
        self.feature_mimic = feature_mimic
        self.distillation_weight = distillation_weight
        self.distillation_warmup_iters = distillation_warmup_iters
        self.normalizer = normalizer
        self.normalizer_power = normalizer_power
        self.loss_normalizers = loss_normalizers
        self.teacher_precision = teacher_precision
        self.teacher_scale = teacher_scale
        self.mimic = None
        self.attach_teacher(None)

    @classmethod
    def from_config(cls, cfg):
        distill = cfg.SAD.DISTILL
        loss = class_losses = None
        if distill.LOSS in DISTILLATION_LOSSES:
            options = {key.lower(): distill[key] for key in ("GAMMA", "BETA", "FORM", "ALPHA")}
            loss = partial(DISTILLATION_LOSSES[distill.LOSS], **options)
            if distill.ONE_PASS:
                class_losses = ClassLosses(
                    distill.LOSS,
                    focal_alpha=cfg.MODEL.RETINANET.FOCAL_LOSS_ALPHA,
                    focal_gamma=cfg.MODEL.RETINANET.FOCAL_LOSS_GAMMA,
                    compiled=distill.COMPILE,
                    **options,
                )
        return {
            **super().from_config(cfg),
            "distillation_loss": loss,
            "class_losses": class_losses,
            "feature_mimic": distill.LOSS == "feature_l2",
            "distillation_weight": distill.WEIGHT,
            "distillation_warmup_iters": distill.WARMUP_ITERS,
            "normalizer": distill.NORMALIZER,
            "normalizer_power": distill.NORMALIZER_POWER,
            "loss_normalizers": cfg.SOLVER.LOSS_NORMALIZERS,
            "teacher_precision": cfg.SAD.TEACHER.PRECISION,
            "teacher_scale": cfg.SAD.TEACHER.INPUT_SCALE,
        }

    @property
    def distills(self) -> bool:
        return self.distillation_loss is not None or self.feature_mimic

    def attach_teacher(self, teacher) -> None:
        """Hang in a frozen RetinaNet, see `sad.modeling.teacher.build_teacher`.

        Raises:
            UserError: its classes or anchors are not the student's.
        """
        if teacher is not None:
            check_same_logits(self, teacher, self.teacher_scale)
            if self.feature_mimic:
                self.mimic = FeatureMimic(*map(_fpn_channels, (self, teacher))).to(self.device)
        # Past nn.Module.__setattr__, which would make it a submodule.
        object.__setattr__(self, "teacher", teacher)

    def _apply(self, fn, *args, **kwargs):
        # .to(), .half(), .cuda() and so on reach the teacher too, train() and state_dict() do not.
        if self.teacher is not None:
            self.teacher._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def forward(self, batch: list[dict] | PreparedBatch):
        """As RetinaNet.forward; in training each dict also has `hard_targets` and `soft_targets`.

        Args:
            batch: in training also what `prepare` made of it, which DistributedDataParallel does
                not move to the device again; a list is a whole step.
        Returns:
            in training {"loss_cls", "loss_box_reg"} and, unless distillation is off,
            "loss_distill"; else the detections of each image.
        """
        if not self.training:
            return super().forward(batch)
        prepared = batch if isinstance(batch, PreparedBatch) else next(self.prepare([batch]))
        features = self.backbone(prepared.images.tensor)
        features = [features[name] for name in self.head_in_features]
        logits, deltas = self._transpose_dense_predictions(
            self.head(features), [self.num_classes, 4]
        )
        with torch.autocast(self.device.type, enabled=False):
            deltas = [at_least_float32(level) for level in deltas]
            if self.class_losses:
                return self.losses_in_one_pass(prepared, logits, deltas)
            logits = [at_least_float32(level) for level in logits]
            losses = self.hard_target_losses(prepared, logits, deltas)
            if self.distills:
                losses["loss_distill"] = self.soft_target_loss(prepared, features, logits)
        return losses

    @torch.no_grad()
    def prepare(self, batches: list[list[dict]]) -> Iterator[PreparedBatch]:
        """Anchor labels and teacher outputs of a step's micro-batches, and what their losses are
        divided by.

        With `loss_normalizers` "global" the losses of all micro-batches and workers are divided by
        one sum over all of them, so all are prepared at first. DistributedDataParallel averages
        over the workers, so that sum is divided by their number. With "local" each is prepared
        when it is asked for.
        """
        if self.loss_normalizers == "local":
            for inputs in batches:
                batch = self._prepare(inputs)
                batch.detection_normalizer = self._update_mean(len(batch.hard), batch.foreground)
                batch.distillation_normalizer = self._distillation_sum(batch).clamp_min(1)
                yield batch
            return
        step = [self._prepare(batch) for batch in batches]
        sums = torch.tensor(
            [[len(b.hard), b.foreground, self._distillation_sum(b)] for b in step],
            dtype=torch.float64,
            device=self.device,
        ).sum(0)
        world_size = comm.get_world_size()
        if world_size > 1:
            torch.distributed.all_reduce(sums)
        hard_images, foreground, distillation = sums.tolist()
        forwards = world_size * len(step)
        detection_normalizer = self._update_mean(hard_images, foreground, forwards) / world_size
        for batch in step:
            batch.detection_normalizer = detection_normalizer
            batch.distillation_normalizer = max(distillation, 1) / world_size
        yield from step

    def _prepare(self, batch: list[dict]) -> PreparedBatch:
        images = self.preprocess_image(batch)
        padded_shape = images.tensor.shape[-2:]
        anchors = self._anchors(padded_shape)
        hard = [i for i, item in enumerate(batch) if item["hard_targets"]]
        soft = [i for i, item in enumerate(batch) if item["soft_targets"] and self.distills]
        gt_labels, gt_boxes = self.label_anchors(
            anchors, [batch[i]["instances"].to(self.device) for i in hard]
        )
        num_anchors = sum(map(len, anchors))
        labels = torch.full((len(batch), num_anchors), self.num_classes, device=self.device)
        if hard:
            labels[hard] = torch.stack(gt_labels)
        prepared = PreparedBatch(images, anchors, labels, hard, gt_boxes, soft)
        # A GPU is waited for here, while it has nothing to do yet.
        prepared.foreground = int(foreground_count(labels, self.num_classes))
        if not soft:
            return prepared
        if self.teacher is None:
            raise RuntimeError("distillation is on but attach_teacher has not been called")
        view = "image" if self.teacher_scale == 1 else "teacher_image"
        features, prepared.teacher_logits = teacher_outputs(
            self.teacher,
            [batch[i][view] for i in soft],
            self.input_format,
            self.teacher_precision,
            tuple(round(self.teacher_scale * side) for side in padded_shape),
        )
        if self.feature_mimic:
            prepared.teacher_features = features
        return prepared

    def _anchors(self, padded_shape: tuple[int, int]) -> list[Boxes]:
        """The anchors of a batch, from the sizes its feature maps will have."""
        height, width = padded_shape
        return self.anchor_generator(
            [
                torch.empty(1, 1, -(-height // stride), -(-width // stride), device="meta")
                for stride in self.anchor_generator.strides
            ]
        )

    def _distillation_sum(self, prepared: PreparedBatch) -> Tensor:
        """What the distillation loss of this batch adds to its divisor."""
        if not prepared.soft:
            return torch.zeros((), device=self.device)
        if self.feature_mimic:
            return torch.tensor(len(prepared.soft), device=self.device)
        if self.normalizer == "teacher_power":
            power = partial(teacher_power, power=self.normalizer_power)
            return sum_in_pieces(power, prepared.teacher_logits)
        labels = prepared.labels[prepared.soft]
        if self.normalizer == "foreground":
            return foreground_count(labels, self.num_classes)
        return (labels >= 0).sum() * self.num_classes

    def _update_mean(self, hard_images: float, foreground: float, forwards: int = 1) -> float:
        """Detectron2's focal normaliser, the moving mean of the foreground anchors of so many
        forwards, which begins at 100 for each. Images without hard targets do not move it.
        """
        if hard_images:
            super()._ema_update("loss_normalizer", max(foreground, 1), 100 * forwards)
        return getattr(self, "loss_normalizer", 100 * forwards)

    def _ema_update(self, *_, **__):
        # Where RetinaNet.losses asks what to divide by, which `prepare` has found already.
        return self.detection_normalizer

    def losses_in_one_pass(self, prepared: PreparedBatch, logits, deltas) -> dict[str, Tensor]:
        """What `hard_target_losses` and `soft_target_loss` give, for loss functions of logits."""
        focal, distill = self.class_losses(
            logits,
            prepared.teacher_logits,
            prepared.labels,
            prepared.hard,
            prepared.soft,
            1 / prepared.detection_normalizer,
            self.current_weight() / prepared.distillation_normalizer,
        )
        prepared.teacher_logits = None  # not for backward: make room
        box = sum(level[:0].sum() for level in deltas)  # see hard_target_losses
        if hard := prepared.hard:
            get_event_storage().put_scalar("num_pos_anchors", prepared.foreground / len(hard))
            labels = prepared.labels
            if len(hard) < len(labels):
                labels, deltas = labels[hard], [level[hard] for level in deltas]
            box = _dense_box_regression_loss(
                prepared.anchors,
                self.box2box_transform,
                deltas,
                prepared.gt_boxes,
                (labels >= 0) & (labels < self.num_classes),
                self.box_reg_loss_type,
                self.smooth_l1_beta,
            )
        return {
            "loss_cls": focal,
            "loss_box_reg": box / prepared.detection_normalizer,
            "loss_distill": distill,
        }

    def hard_target_losses(self, prepared: PreparedBatch, logits, deltas) -> dict[str, Tensor]:
        """FL + L_loc of the images with hard targets.

        Args:
            logits, deltas: of each level (N, anchors of the level, K or 4)
        """
        hard = prepared.hard
        if not hard:
            # Zeros of the graph: every parameter still gets a gradient, as DDP demands.
            return {
                "loss_cls": sum(level[:0].sum() for level in logits),
                "loss_box_reg": sum(level[:0].sum() for level in deltas),
            }
        if len(hard) < len(logits[0]):
            logits, deltas = ([level[hard] for level in x] for x in (logits, deltas))
        self.detection_normalizer = prepared.detection_normalizer
        labels = list(prepared.labels[hard])
        return self.losses(prepared.anchors, logits, labels, deltas, prepared.gt_boxes)

    def soft_target_loss(self, prepared: PreparedBatch, features, logits) -> Tensor:
        """ADL, or whatever SAD.DISTILL.LOSS names, over the images with soft targets.

        Args:
            features: FPN map of each level, (N, C, h, w)
            logits: of each level (N, anchors of the level, K)
        """
        soft = prepared.soft
        if not soft:
            untouched = [*logits, *(self.mimic.parameters() if self.mimic else ())]
            return sum(x[:0].sum() for x in untouched)
        if self.feature_mimic:
            mean = self.mimic([level[soft] for level in features], prepared.teacher_features)
            loss = len(soft) * mean
        else:
            labels = prepared.labels[soft]
            used = labels >= 0
            loss = self.distillation_loss(
                torch.cat(logits, dim=1)[soft][used],
                torch.cat(prepared.teacher_logits, dim=1)[used],
                labels[used],
            ).sum()
        return self.current_weight() * loss / prepared.distillation_normalizer

    def current_weight(self) -> float:
        """The factor of the distillation loss at this iteration."""
        iteration = get_event_storage().iter
        rise = min(1.0, (iteration + 1) / max(1, self.distillation_warmup_iters))
        return self.distillation_weight * rise


def _fpn_channels(model) -> list[int]:
    shapes = model.backbone.output_shape()
    return [shapes[name].channels for name in model.head_in_features]
