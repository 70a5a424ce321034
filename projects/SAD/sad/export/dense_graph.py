"""RetinaNet and FCOS as functions of tensors.

Shapes: N images of height H and width W, R anchors of all levels (R_l of one), K classes,
k candidates of a level.
"""

import torch
from torch import Tensor

from ..modeling.adapters import adapter_of
from .detection_graph import DetectionGraph, anchors_of, best_of_level, decode, take
from .suppression import NOTHING, suppress


class DenseGraph(DetectionGraph):
    """Detectron2 takes what is above the score threshold and of it the best k of a level. Here the
    best k of a level come first, and those of them that are not above the threshold count as
    nothing, which is the same set.
    """

    INNER = ("all_boxes", "all_scores")  # decoded (N, R, 4), and (N, R, K)

    def __init__(self, model, nms: bool = True):
        most = model.test_topk_candidates * len(model.anchor_generator.strides)
        super().__init__(model, min(model.max_detections_per_image, most))
        self.k = model.test_topk_candidates
        self.nms = nms
        self.adapter = adapter_of(model)

    @property
    def strides(self) -> list[int]:
        return self.model.anchor_generator.strides

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        levels = self.levels(images)
        dense = tuple(torch.cat(of_levels, dim=1) for of_levels in zip(*levels, strict=True))
        if not self.nms:
            return dense
        return *self.select(levels, images.shape[-2], images.shape[-1]), *dense

    def levels(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of each level all decoded boxes (N, R_l, 4) and scores (N, R_l, K)."""
        outputs = self.adapter.outputs(self.model, self.normalized(images))
        centerness = outputs.centerness or [None] * len(outputs.logits)
        generator, transform = self.model.anchor_generator, self.model.box2box_transform
        return [
            (
                decode(transform, deltas, anchors_of(generator, level, features)),
                self.adapter.scores(logits, of_anchor),
            )
            for level, (logits, deltas, of_anchor, features) in enumerate(
                zip(outputs.logits, outputs.deltas, centerness, outputs.features, strict=True)
            )
        ]

    def split(self, boxes: Tensor, scores: Tensor, height: int, width: int) -> list:
        """By level, what `forward` returns without `nms` of images of this size; see `levels`."""
        padded = tuple(side + -side % self.stride for side in (height, width))
        sizes = self.adapter.level_sizes(self.model, padded)
        cells = self.model.anchor_generator.cell_anchors
        counts = [
            rows * columns * len(cell) for (rows, columns), cell in zip(sizes, cells, strict=True)
        ]
        return list(zip(boxes.split(counts, dim=1), scores.split(counts, dim=1), strict=True))

    def select(
        self, levels: list[tuple[Tensor, Tensor]], height: int, width: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The detections, see `forward`.

        Args:
            levels: see `levels`.
        """
        boxes, scores, labels = (
            torch.cat(x, dim=1) for x in zip(*(self._best(*level) for level in levels), strict=True)
        )
        threshold = self.model.test_score_thresh
        scores = torch.where(scores > threshold, scores, NOTHING)
        keep = suppress(boxes, scores, labels, self.model.num_classes, self.model.test_nms_thresh)
        scores = torch.where(keep, scores, NOTHING)
        return self.best_detections(boxes, scores, labels, height, width, threshold)

    def _best(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The k best of a level: boxes (N, k, 4), scores (N, k) and labels (N, k)."""
        num_classes = self.model.num_classes
        best, order = best_of_level(scores.flatten(1), self.k)
        anchor = torch.minimum(order // num_classes, (order * 0 + boxes.shape[1] - 1))
        return take(boxes, anchor), best, order % num_classes
