"""The student: a RetinaNet that, while training, also learns from a teacher's class logits."""

from functools import partial

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, RetinaNet
from detectron2.utils.events import get_event_storage
from torch import Tensor

from .losses import DISTILLATION_LOSSES, foreground_normalizer, teacher_power_normalizer
from .teacher import check_same_logits, class_logits

# Shapes: N images of the batch, S of them with soft targets, R anchors of all levels, K classes.


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
        distillation_weight=0.5,
        distillation_warmup_iters=0,
        normalizer="teacher_power",
        normalizer_power=1.8,
        teacher_precision="float32",
        **retinanet_arguments,
    ):
        """
        Args:
            distillation_loss: (student logits, teacher logits) -> loss of each element, both
                (M, K); None switches distillation off.
            distillation_weight: factor of the normalised sum.
            distillation_warmup_iters: iterations over which the factor rises from 0.
            normalizer: "teacher_power" or "foreground", see `sad.losses`.
            teacher_precision: see `sad.teacher.PRECISIONS`.
        """
        super().__init__(**retinanet_arguments)
        self.distillation_loss = distillation_loss
        self.distillation_weight = distillation_weight
        self.distillation_warmup_iters = distillation_warmup_iters
        self.normalizer = normalizer
        self.normalizer_power = normalizer_power
        self.teacher_precision = teacher_precision
        self.attach_teacher(None)

    @classmethod
    def from_config(cls, cfg):
        distill = cfg.SAD.DISTILL
        loss = None
        if distill.LOSS != "none":
            loss = partial(
                DISTILLATION_LOSSES[distill.LOSS],
                gamma=distill.GAMMA,
                beta=distill.BETA,
                form=distill.FORM,
                alpha=distill.ALPHA,
            )
        return {
            **super().from_config(cfg),
            "distillation_loss": loss,
            "distillation_weight": distill.WEIGHT,
            "distillation_warmup_iters": distill.WARMUP_ITERS,
            "normalizer": distill.NORMALIZER,
            "normalizer_power": distill.NORMALIZER_POWER,
            "teacher_precision": cfg.SAD.TEACHER.PRECISION,
        }

    def attach_teacher(self, teacher) -> None:
        """Hang in a frozen RetinaNet, see `sad.teacher.build_teacher`.

        Raises:
            UserError: its classes or anchors are not the student's.
        """
        if teacher is not None:
            check_same_logits(self, teacher)
        # Past nn.Module.__setattr__, which would make it a submodule.
        object.__setattr__(self, "teacher", teacher)

    def _apply(self, fn, *args, **kwargs):
        # .to(), .half(), .cuda() and so on reach the teacher too, train() and state_dict() do not.
        if self.teacher is not None:
            self.teacher._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def forward(self, batched_inputs: list[dict]):
        """As RetinaNet.forward; in training each dict also has `hard_targets` and `soft_targets`.

        Returns:
            in training {"loss_cls", "loss_box_reg"} and, unless distillation is off,
            "loss_distill"; else the detections of each image.
        """
        if not self.training:
            return super().forward(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        features = [features[name] for name in self.head_in_features]
        logits, deltas = self._transpose_dense_predictions(
            self.head(features), [self.num_classes, 4]
        )
        anchors = self.anchor_generator(features)

        hard = [i for i, item in enumerate(batched_inputs) if item["hard_targets"]]
        gt_labels, gt_boxes = self.label_anchors(
            anchors, [batched_inputs[i]["instances"].to(self.device) for i in hard]
        )
        losses = self.hard_target_losses(hard, anchors, logits, gt_labels, deltas, gt_boxes)
        if self.distillation_loss is not None:
            losses["loss_distill"] = self.soft_target_loss(
                batched_inputs,
                torch.cat(logits, dim=1),
                dict(zip(hard, gt_labels, strict=True)),
                images.tensor.shape[-2:],
            )
        return losses

    def hard_target_losses(self, hard, anchors, logits, gt_labels, deltas, gt_boxes):
        """FL + L_loc of the images whose positions in the batch are `hard`."""
        if not hard:
            # Zeros of the graph: every parameter still gets a gradient, as DDP demands.
            return {
                "loss_cls": sum(level[:0].sum() for level in logits),
                "loss_box_reg": sum(level[:0].sum() for level in deltas),
            }
        if len(hard) < len(logits[0]):
            logits = [level[hard] for level in logits]
            deltas = [level[hard] for level in deltas]
        return self.losses(anchors, logits, gt_labels, deltas, gt_boxes)

    def soft_target_loss(
        self,
        batched_inputs: list[dict],
        student_logits: Tensor,
        gt_labels: dict[int, Tensor],
        padded_shape: tuple[int, int],
    ) -> Tensor:
        """ADL, or whatever SAD.DISTILL.LOSS names, over the images with soft targets.

        Args:
            student_logits: (N, R, K)
            gt_labels: position in the batch -> (R,) labels of the anchors, -1 for ignored. Images
                without hard targets have none, and none of their anchors is ignored.
            padded_shape: (height, width) of the batch, which decides on the anchors.
        """
        soft = [i for i, item in enumerate(batched_inputs) if item["soft_targets"]]
        if not soft:
            return student_logits[:0].sum()
        if self.teacher is None:
            raise RuntimeError("distillation is on but attach_teacher has not been called")
        teacher_logits = class_logits(  # (S, R, K)
            self.teacher,
            [batched_inputs[i] for i in soft],
            self.input_format,
            self.teacher_precision,
            padded_shape,
        )
        background = student_logits.new_full(
            student_logits.shape[1:2], self.num_classes, dtype=torch.long
        )
        labels = torch.stack([gt_labels.get(i, background) for i in soft])  # (S, R)
        if self.normalizer == "teacher_power":
            normalizer = teacher_power_normalizer(teacher_logits, self.normalizer_power)
        else:
            normalizer = foreground_normalizer(labels, self.num_classes)
        used = labels >= 0
        with torch.autocast(student_logits.device.type, enabled=False):
            loss = self.distillation_loss(student_logits[soft][used], teacher_logits[used]).sum()
        return self.current_weight() * loss / normalizer

    def current_weight(self) -> float:
        """The factor of the distillation loss at this iteration."""
        iteration = get_event_storage().iter
        rise = min(1.0, (iteration + 1) / max(1, self.distillation_warmup_iters))
        return self.distillation_weight * rise
