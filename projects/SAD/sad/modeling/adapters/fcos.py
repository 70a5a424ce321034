"""FCOS (arXiv 1904.01355), Detectron2's own, which has no name in its configs there."""

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import FCOS as Detectron2FCOS
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.meta_arch.fcos import FCOSHead
from torch import Tensor

from ...terms.term import Outputs, Targets
from .dense import DenseAdapter


@META_ARCH_REGISTRY.register()
def FCOS(cfg):
    """Detectron2's FCOS from a yaml: MODEL.RETINANET.* where the two detectors are alike (as in
    Detectron2's own FCOS config), MODEL.FCOS.* for the rest.
    """
    backbone = build_backbone(cfg, ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN)))
    retinanet = cfg.MODEL.RETINANET
    shapes = [backbone.output_shape()[name] for name in retinanet.IN_FEATURES]
    head = FCOSHead(
        input_shape=shapes,
        num_classes=retinanet.NUM_CLASSES,
        conv_dims=[shapes[0].channels] * retinanet.NUM_CONVS,
        prior_prob=retinanet.PRIOR_PROB,
        norm=retinanet.NORM,
    )
    model = Detectron2FCOS(
        backbone=backbone,
        head=head,
        head_in_features=retinanet.IN_FEATURES,
        num_classes=retinanet.NUM_CLASSES,
        center_sampling_radius=cfg.MODEL.FCOS.CENTER_SAMPLING_RADIUS,
        focal_loss_alpha=retinanet.FOCAL_LOSS_ALPHA,
        focal_loss_gamma=retinanet.FOCAL_LOSS_GAMMA,
        test_score_thresh=retinanet.SCORE_THRESH_TEST,
        test_topk_candidates=retinanet.TOPK_CANDIDATES_TEST,
        test_nms_thresh=retinanet.NMS_THRESH_TEST,
        max_detections_per_image=cfg.TEST.DETECTIONS_PER_IMAGE,
        pixel_mean=cfg.MODEL.PIXEL_MEAN,
        pixel_std=cfg.MODEL.PIXEL_STD,
    )
    model.input_format = cfg.INPUT.FORMAT  # as RetinaNet has it
    return model


class FCOSAdapter(DenseAdapter):
    """One anchor a cell, the size of its stride, and a centerness each."""

    first_normalizer = 300
    learns_by_overlap = False  # an object is learned from the cells in its middle
    emits = DenseAdapter.emits | {"centerness"}

    def new_anchor_generator(self, cfg, model):
        strides = [shape.stride for shape in self.feature_shapes(model)]
        return DefaultAnchorGenerator(
            sizes=[[stride] for stride in strides], aspect_ratios=[1.0], strides=strides
        )

    def _all(self, model, features) -> dict[str, list[Tensor]]:
        return dict(zip(("logits", "deltas", "centerness"), model.head(features), strict=True))

    def _some(self, model, features, need) -> dict[str, list[Tensor]]:
        maps = super()._some(model, features, need)
        if "centerness" in need:
            head = model.head
            maps["centerness"] = [head.ctrness(head.bbox_subnet(level)) for level in features]
        return maps

    def detection_losses(
        self, model, outputs: Outputs, targets: Targets, foreground: int, normalizer: float,
        class_loss: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        losses = super().detection_losses(
            model, outputs, targets, foreground, normalizer, class_loss
        )
        centerness = self._centerness_loss(model, outputs.centerness, targets) / normalizer
        return {**losses, "loss_fcos_ctr": centerness}

    def _named(self, class_loss: Tensor, box_loss: Tensor) -> dict[str, Tensor]:
        return {"loss_fcos_cls": class_loss, "loss_fcos_loc": box_loss}

    def _box_loss_kind(self, model) -> dict:
        return {"box_reg_loss_type": "giou"}

    def _centerness_loss(self, model, centerness: list[Tensor], targets: Targets) -> Tensor:
        if not targets.hard:
            return sum(level[:0].sum() for level in centerness)
        foreground = targets.foreground[targets.hard]
        wanted = model.compute_ctrness_targets(targets.anchors, targets.boxes)
        return F.binary_cross_entropy_with_logits(
            torch.cat(centerness, dim=1)[targets.hard, :, 0][foreground],
            wanted[foreground],
            reduction="sum",
        )

    def least_logit(self, threshold: float) -> float:
        return torch.logit(torch.tensor(threshold**2)).item()  # where the centerness is 1

    def scores(self, logits: Tensor, centerness: Tensor | None) -> Tensor:
        return (logits.sigmoid() * centerness.sigmoid()).sqrt()
