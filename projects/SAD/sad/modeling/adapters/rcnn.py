"""Faster R-CNN (arXiv 1506.01497) with an FPN or without, Detectron2's own GeneralizedRCNN."""

from collections.abc import Callable, Collection, Sequence

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import build_anchor_generator
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from ...terms.term import Outputs, Targets
from ...utils.errors import UserError
from ...utils.precision import autocast
from .adapter import Adapter
from .rcnn_rules import RULES, check_together


class FasterRCNNAdapter(Adapter):
    """Of StandardROIHeads with FastRCNNOutputLayers, on the proposals of an RPN."""

    RULES = RULES
    learns_by_overlap = True
    shares_anchors = False
    emits = frozenset({"features", "roi_logits", "roi_deltas"})
    needs_hard_targets = True  # they choose the regions that a teacher is asked about

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
        return build_anchor_generator(cfg, [shapes[name] for name in levels])

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
        maps = [features[name] for name in heads.box_in_features]
        pooled = heads.box_pooler(maps, list(boxes))
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

    # --- distillation ---

    def must_agree(
        self, student, scale: float, need: Collection[str]
    ) -> dict[str, Callable[[nn.Module], object]]:
        """Anchors may differ: both are asked about boxes in pixels of one image."""
        if scale != 1:
            raise UserError(
                f"SAD.TEACHER.INPUT_SCALE is {scale:g}, it must be 1 for a Faster R-CNN, whose "
                "teacher is asked about the student's regions, in pixels"
            )
        of = {"number of classes": self.num_classes}
        if "features" in need:
            of["strides of the feature maps of MODEL.ROI_HEADS.IN_FEATURES"] = lambda model: [
                shape.stride for shape in self.feature_shapes(model)
            ]
        if "roi_logits" in need:
            of["class scores (MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE)"] = lambda model: (
                "sigmoids" if model.roi_heads.box_predictor.use_sigmoid_ce else "a softmax"
            )
        return of

    def feature_shapes(self, model) -> list[ShapeSpec]:
        shapes = model.backbone.output_shape()
        return [shapes[name] for name in model.roi_heads.box_in_features]

    def targets(self, model, padded_shape: tuple[int, int], batch: list[dict]) -> Targets:
        """Objects alone: the student matches and samples anchors and regions in its forward."""
        if not all(item["hard_targets"] for item in batch):
            raise ValueError("a Faster R-CNN learns from images with hard targets alone")
        return Targets(
            anchors=[],
            labels=torch.empty(len(batch), 0, dtype=torch.long, device=model.device),
            hard=list(range(len(batch))),
            boxes=[],
            num_classes=self.num_classes(model),
            objects=[item["instances"].to(model.device) for item in batch],
        )

    def teacher_outputs(self, model, images: ImageList, need: Collection[str]) -> Outputs:
        features = model.backbone(images.tensor)
        proposals = None
        if "proposals" in need:
            proposals, _ = model.proposal_generator(images, features)
        return Outputs([features[x] for x in model.roi_heads.box_in_features], proposals=proposals)

    def student_outputs(
        self, model, images: ImageList, targets: Targets, theirs: dict[int, Instances], share: str
    ) -> Outputs:
        """As GeneralizedRCNN.forward, whose box predictor is listened to."""
        features = model.backbone(images.tensor)
        proposals, losses = model.proposal_generator(images, features, targets.objects)
        for image, other in theirs.items():
            own = [] if share == "teacher" else [proposals[image]]
            proposals[image] = Instances.cat([*own, other])
        heard = []
        listening = model.roi_heads.box_predictor.register_forward_hook(
            lambda *call: heard.append(call[-1])
        )
        with listening:
            regions, of_regions = model.roi_heads(images, features, proposals, targets.objects)
        targets.regions = regions
        ((logits, deltas),) = heard
        counts = [len(x) for x in regions]
        return Outputs(
            features=[features[name] for name in model.roi_heads.box_in_features],
            roi_logits=list(logits.split(counts)),
            roi_deltas=list(deltas.split(counts)),
            losses={**of_regions, **losses},
        )

    def answer(self, model, outputs: Outputs, targets: Targets, need: Collection[str]) -> None:
        if not {"roi_logits", "roi_deltas"}.intersection(need):
            return
        features = dict(zip(model.roi_heads.box_in_features, outputs.features, strict=True))
        boxes = [region.proposal_boxes for region in targets.regions]
        logits, deltas = self.second_stage(model, features, boxes)
        counts = [len(x) for x in boxes]
        outputs.roi_logits, outputs.roi_deltas = logits.split(counts), deltas.split(counts)

    def normalizer(self, model, hard_images: float, foreground: float, forwards: int) -> float:
        return 1.0  # its losses are means already

    def detection_losses(
        self, model, outputs: Outputs, targets: Targets, foreground: int, normalizer: float,
        class_loss: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        return outputs.losses
