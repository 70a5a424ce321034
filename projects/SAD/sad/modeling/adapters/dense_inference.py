"""Detections of a dense detector, those of a whole batch in few steps.

Detectron2 takes the scores of all logits, and finds the best of each level of each image by itself:
where the network is fast (on a GPU, in bfloat16, or on small images) that takes as long as the
network. Here only what reaches the score threshold becomes a score, level by level for all images.
"""

from collections.abc import Callable

import torch
from detectron2.layers import batched_nms
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor

from ...terms.term import Outputs
from ...utils.precision import autocast


@torch.inference_mode()
def detect(
    adapter,
    model,
    batch: list[dict],
    precision: str,
    heed: Callable[[Outputs], None] | None = None,
) -> list[Instances]:
    """See `DenseAdapter.detect`."""
    images = model.preprocess_image(batch)
    with autocast(model.device, precision):
        outputs = adapter.outputs(model, images.tensor)
    if heed:
        heed(outputs)
    anchors = model.anchor_generator(outputs.features)
    centerness = outputs.centerness or [None] * len(anchors)
    levels = zip(anchors, outputs.logits, outputs.deltas, centerness, strict=True)
    found = zip(*[_candidates(model, adapter, *level) for level in levels], strict=True)
    image, *columns = map(torch.cat, found)
    order = image.sort(stable=True).indices
    counts = image.bincount(minlength=len(batch)).tolist()
    columns = [column[order].split(counts) for column in columns]
    results = []
    for item, size, boxes, scores, classes in zip(batch, images.image_sizes, *columns, strict=True):
        keep = batched_nms(boxes, scores, classes, model.test_nms_thresh)
        keep = keep[: model.max_detections_per_image]
        instances = Instances(
            size, pred_boxes=Boxes(boxes[keep]), scores=scores[keep], pred_classes=classes[keep]
        )
        results.append(detector_postprocess(instances, item["height"], item["width"]))
    return results


def _candidates(
    model, adapter, anchors: Boxes, logits: Tensor, deltas: Tensor, centerness: Tensor | None
) -> tuple[Tensor, ...]:
    """What reaches the score threshold in a level, the best `test_topk_candidates` of each image.

    Args:
        anchors, logits, deltas: R anchors, (N, R, K) and (N, R, 4) of N images and K classes.
        centerness: (N, R, 1) of an FCOS
    Returns:
        (C,) image, (C, 4) box, (C,) score and (C,) class, by image and falling score.
    """
    limit = adapter.least_logit(model.test_score_thresh)
    image, anchor, classes = (logits >= limit).nonzero(as_tuple=True)  # in the logits' precision
    if centerness is not None:
        centerness = centerness[image, anchor, 0].float()
    scores = adapter.scores(logits[image, anchor, classes].float(), centerness)
    above = scores > model.test_score_thresh
    image, anchor, classes, scores = (x[above] for x in (image, anchor, classes, scores))
    order = scores.sort(descending=True, stable=True).indices
    order = order[image[order].sort(stable=True).indices]
    image = image[order]
    rank = torch.arange(len(image), device=image.device) - torch.searchsorted(image, image)
    best = rank < model.test_topk_candidates
    image, order = image[best], order[best]
    anchor = anchor[order]
    boxes = model.box2box_transform.apply_deltas(
        deltas[image, anchor].float(), anchors.tensor[anchor]
    )
    return image, boxes, scores[order], classes[order]
