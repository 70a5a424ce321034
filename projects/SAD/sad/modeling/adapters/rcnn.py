"""Faster R-CNN (arXiv 1506.01497) with an FPN or without, Detectron2's own GeneralizedRCNN."""

from collections.abc import Sequence

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import build_anchor_generator
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from ...utils.precision import autocast
from .adapter import Adapter
from .rcnn_rules import RULES, check_together


class FasterRCNNAdapter(Adapter):
    """Of StandardROIHeads with FastRCNNOutputLayers, on the proposals of an RPN."""

    RULES = RULES
    learns_by_overlap = True

    def check(self, cfg) -> None:
        super().check(cfg)
        check_together(cfg)

    def num_classes(self, model) -> int:
        return model.roi_heads.num_classes

    def anchored(self, model) -> nn.Module:
        return model.proposal_generator

    def new_anchor_generator(self, cfg, model) -> nn.Module:
        shapes = model.backbone.output_shape()
        levels = model.proposal_generator.in_features
        return build_anchor_generator(cfg, [ShapeSpec(stride=shapes[x].stride) for x in levels])

    def second_stage(
        self, model, features: dict[str, Tensor], boxes: Sequence[Boxes]
    ) -> tuple[Tensor, Tensor]:
        """What the box head says of boxes, B of them in all N images.

        Args:
            features: the backbone's maps of N images.
            boxes: of each image, in its pixels.
        Returns:
            class logits (B, K + 1), the background last, and deltas (B, 4 K), or (B, 4) where the
            classes share them.
        """
        heads = model.roi_heads
        pooled = heads.box_pooler([features[name] for name in heads.box_in_features], list(boxes))
        return heads.box_predictor(heads.box_head(pooled))

    @torch.inference_mode()
    def detect(self, model, batch: list[dict], precision: str = "float32") -> list[Instances]:
        images = model.preprocess_image(batch)
        with autocast(model.device, precision):
            features = model.backbone(images.tensor)
            proposals, _ = model.proposal_generator(images, features)
            boxes = [one.proposal_boxes for one in proposals]
            outputs = self.second_stage(model, features, boxes)
        logits, deltas = (x.float() for x in outputs)
        found, _ = model.roi_heads.box_predictor.inference((logits, deltas), proposals)
        return [
            detector_postprocess(instances, item["height"], item["width"])
            for instances, item in zip(found, batch, strict=True)
        ]
