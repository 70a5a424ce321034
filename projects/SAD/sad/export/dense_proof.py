"""What Detectron2 computes of a RetinaNet or FCOS, beside what a file does."""

import torch
from detectron2.structures import Instances
from torch import Tensor

from ..modeling.adapters import adapter_of
from .comparison import Candidates, Comparison


@torch.no_grad()
def compare_dense(
    model, images: Tensor, inner: tuple[Tensor, ...], proof: Comparison
) -> list[tuple[Instances, Candidates]]:
    """Compare all anchors with Detectron2's own padding, anchors and decoding.

    Returns:
        Detectron2's detections of each image, and what it had to choose from.
    """
    adapter, batch = adapter_of(model), [{"image": image} for image in images]
    outputs = adapter.outputs(model, model.preprocess_image(batch).tensor)
    anchors = torch.cat([x.tensor for x in model.anchor_generator(outputs.features)])
    logits, deltas = torch.cat(outputs.logits, dim=1), torch.cat(outputs.deltas, dim=1)
    centerness = torch.cat(outputs.centerness, dim=1) if outputs.centerness else None
    boxes = torch.stack([model.box2box_transform.apply_deltas(x, anchors) for x in deltas])
    scores = adapter.scores(logits, centerness)
    proof.add_numbers(inner[0], boxes, "boxes")
    proof.add_numbers(inner[1], scores, "scores")
    candidates = [
        Candidates(
            boxes=of_image,
            scores=of_boxes,
            groups=[x.shape[1] for x in outputs.logits],
            topk=model.test_topk_candidates,
            by_group=False,
            score_threshold=model.test_score_thresh,
            nms_threshold=model.test_nms_thresh,
            min_side=0.0,
            most=model.max_detections_per_image,
        )
        for of_image, of_boxes in zip(boxes, scores, strict=True)
    ]
    wanted = [x["instances"] for x in model(batch)]
    return list(zip(wanted, candidates, strict=True))
