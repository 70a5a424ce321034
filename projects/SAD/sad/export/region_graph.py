"""Faster R-CNN as a function of tensors.

Shapes: N images of height H and width W, R anchors of all levels (R_l of one), L levels,
k candidates of a level, P proposals of an image, K classes, C = K, or 1 where they share boxes.
"""

import torch
from detectron2.modeling.poolers import assign_boxes_to_levels
from detectron2.structures import Boxes
from torch import Tensor

from ..utils.errors import UserError
from .detection_graph import DetectionGraph, anchors_of, best_of_level, clip, decode, take
from .suppression import NOTHING, suppress


class RegionGraph(DetectionGraph):
    """Every image has P proposals, of which those that the RPN does not find are NOTHING, and each
    proposal is pooled from all levels, as a box without area where it is another level's.
    """

    INNER = (
        *("anchor_boxes", "anchor_logits"),  # decoded (N, R, 4), and objectness (N, R)
        *("proposals", "proposal_logits"),  # (N, P, 4), clipped, and (N, P)
        *("region_boxes", "region_scores"),  # decoded (N, P, C, 4), and (N, P, K)
    )

    def __init__(self, model, nms: bool = True):
        """
        Raises:
            UserError: not `nms`, or the pooling is none that ONNX and torch.export know.
        """
        if not nms:
            raise UserError(
                "a Faster R-CNN cannot end before its suppression, as its proposals need one: "
                "export it with --nms graph"
            )
        heads, rpn = model.roi_heads, model.proposal_generator
        if any(type(x).__name__ != "ROIAlign" for x in heads.box_pooler.level_poolers):
            raise UserError(
                "a Faster R-CNN with MODEL.ROI_BOX_HEAD.POOLER_TYPE ROIPool cannot be exported as "
                "a graph, only one with ROIAlign or ROIAlignV2: --format safetensors takes it"
            )
        k = rpn.pre_nms_topk[False]
        num_proposals = min(rpn.post_nms_topk[False], k * len(rpn.in_features))
        most = num_proposals * heads.num_classes
        super().__init__(model, min(heads.box_predictor.test_topk_per_image, most))
        self.k, self.num_proposals = k, num_proposals

    @property
    def strides(self) -> list[int]:
        return self.model.proposal_generator.anchor_generator.strides

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[-2:]
        features = self.model.backbone(self.normalized(images))
        levels = self.anchor_levels(features)
        proposals, logits = self.propose(levels, height, width)
        boxes, scores = self.judge(features, proposals)
        found = self.select(boxes, scores, logits > NOTHING, height, width)
        dense = (torch.cat(of_levels, dim=1) for of_levels in zip(*levels, strict=True))
        return *found, *dense, proposals, logits, boxes, scores

    def anchor_levels(self, features: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Of each level all decoded boxes (N, R_l, 4) and objectness logits (N, R_l)."""
        rpn = self.model.proposal_generator
        maps = [features[name] for name in rpn.in_features]
        found = []
        for level, (logits, deltas) in enumerate(zip(*rpn.rpn_head(maps), strict=True)):
            # (N, A, rows, columns) and (N, 4 A, rows, columns), of A anchors at each place.
            n, _, rows, columns = deltas.shape
            deltas = deltas.reshape(n, -1, 4, rows, columns).permute(0, 3, 4, 1, 2).flatten(1, 3)
            anchors = anchors_of(rpn.anchor_generator, level, maps[level])
            boxes = decode(rpn.box2box_transform, deltas, anchors)
            found.append((boxes, logits.permute(0, 2, 3, 1).flatten(1)))
        return found

    def propose(self, levels: list, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The RPN's proposals (N, P, 4), clipped to the image, and their logits (N, P)."""
        rpn, boxes, logits = self.model.proposal_generator, [], []
        for of_level, of_boxes in levels:
            best, order = best_of_level(of_boxes, self.k)
            place = torch.minimum(order, order * 0 + of_level.shape[1] - 1)
            boxes.append(clip(take(of_level, place), height, width))
            logits.append(best)
        boxes, logits = torch.stack(boxes, dim=1), torch.stack(logits, dim=1)  # (N, L, k)
        sides = boxes[..., 2:] - boxes[..., :2]
        logits = torch.where(sides.amin(dim=-1) > rpn.min_box_size, logits, NOTHING)
        keep = self._suppress(boxes, logits, rpn.nms_thresh)
        logits = torch.where(keep, logits, NOTHING).flatten(1)
        logits, order = logits.topk(self.num_proposals, dim=1)
        boxes = take(boxes.flatten(1, 2), order)
        return torch.where((logits > NOTHING)[..., None], boxes, 0.0), logits

    def judge(self, features: dict[str, Tensor], proposals: Tensor) -> tuple[Tensor, Tensor]:
        """What the box head says of them: boxes (N, P, C, 4) and scores (N, P, K)."""
        heads, (n, p) = self.model.roi_heads, proposals.shape[:2]
        predictor = heads.box_predictor
        pooled = self._pool([features[name] for name in heads.box_in_features], proposals)
        logits, deltas = predictor(heads.box_head(pooled))
        decoded = predictor.box2box_transform.apply_deltas(deltas, proposals.reshape(-1, 4))
        scores = logits.sigmoid() if predictor.use_sigmoid_ce else logits.softmax(dim=-1)
        return decoded.reshape(n, p, -1, 4), scores[:, :-1].reshape(n, p, -1)

    def _pool(self, maps: list[Tensor], proposals: Tensor) -> Tensor:
        """(N P, channels, rows, columns) as ROIPooler has it, without asking how many a level has.

        Args:
            proposals: (N, P, 4)
        """
        pooler, (n, p) = self.model.roi_heads.box_pooler, proposals.shape[:2]
        boxes = proposals.reshape(-1, 4)
        of_boxes = assign_boxes_to_levels(
            [Boxes(boxes)],
            pooler.min_level,
            pooler.max_level,
            pooler.canonical_box_size,
            pooler.canonical_level,
        )
        image = torch.arange(n, dtype=proposals.dtype, device=proposals.device)
        image = image[:, None].expand(-1, p).reshape(-1, 1)
        pooled = 0.0
        for level, (align, features) in enumerate(zip(pooler.level_poolers, maps, strict=True)):
            here = (of_boxes == level)[:, None]
            # What has no area takes no time, but may be given a value all the same.
            values = align(features, torch.cat((image, torch.where(here, boxes, 0.0)), dim=1))
            pooled = pooled + torch.where(here[..., None, None], values, 0.0)
        return pooled

    def select(
        self, boxes: Tensor, scores: Tensor, is_proposal: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The detections, see `forward`.

        Args:
            boxes, scores: see `judge`.
            is_proposal: (N, P)
        """
        predictor, (n, p, k) = self.model.roi_heads.box_predictor, scores.shape
        threshold = predictor.test_score_thresh
        real = is_proposal[..., None] & (scores > threshold)
        scores = torch.where(real, scores, NOTHING).transpose(1, 2)  # (N, K, P)
        boxes = clip(boxes, height, width).transpose(1, 2).expand(-1, k, -1, -1)
        keep = self._suppress(boxes, scores, predictor.test_nms_thresh)
        scores = torch.where(keep, scores, NOTHING).flatten(1)
        labels = torch.arange(k, device=scores.device)[:, None].expand(n, -1, p).flatten(1)
        boxes = boxes.flatten(1, 2)
        return self.best_detections(boxes, scores, labels, height, width, threshold)

    def _suppress(self, boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
        """Which are kept of (N, G, M) candidates, those of each of G groups by themselves."""
        flat = scores.flatten(0, 1)
        keep = suppress(boxes.flatten(0, 1), flat, torch.zeros_like(flat).long(), 1, threshold)
        return keep.reshape(scores.shape)
