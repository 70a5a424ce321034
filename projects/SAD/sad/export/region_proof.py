"""What Detectron2 computes of a Faster R-CNN, beside what a file does.

Shapes: N images, R anchors of all levels, P proposals, K classes, as in `sad.export.region_graph`.
"""

import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor

from ..modeling.adapters import adapter_of
from .comparison import NEAR, Candidates, Comparison, clipped
from .suppression import NOTHING


@torch.no_grad()
def compare_regions(
    model, images: Tensor, inner: tuple[Tensor, ...], proof: Comparison
) -> list[tuple[Instances, Candidates]]:
    """Compare all anchors, the proposals as sets, and what the box head says of the file's own
    proposals: which of two boxes that score alike is proposed may be a matter of rounding.

    Returns:
        Detectron2's detections of each image, of the file's proposals, and what it had to choose
        from.
    """
    given = model.preprocess_image([{"image": image} for image in images])
    features = model.backbone(given.tensor)
    anchor_boxes, anchor_logits, *proposals, region_boxes, region_scores = inner
    is_real = proposals[1] > NOTHING
    of_file = [
        Instances(size, proposal_boxes=Boxes(boxes[real]), objectness_logits=logits[real])
        for size, boxes, logits, real in zip(given.image_sizes, *proposals, is_real, strict=True)
    ]
    _compare_proposals(model, given, features, (anchor_boxes, anchor_logits), of_file, proof)
    outputs = adapter_of(model).second_stage(
        model, features, [one.proposal_boxes for one in of_file]
    )
    predictor = model.roi_heads.box_predictor
    boxes = [x.unflatten(1, (-1, 4)) for x in predictor.predict_boxes(outputs, of_file)]
    scores = [x[:, :-1] for x in predictor.predict_probs(outputs, of_file)]
    proof.add_numbers(region_boxes[is_real], torch.cat(boxes), "region boxes")
    proof.add_numbers(region_scores[is_real], torch.cat(scores), "region scores")
    found, _ = predictor.inference(outputs, of_file)
    return [
        (detector_postprocess(one, *one.image_size), _regions(predictor, *of_image, one.image_size))
        for one, *of_image in zip(found, boxes, scores, strict=True)
    ]


def _compare_proposals(
    model,
    given: ImageList,
    features: dict[str, Tensor],
    anchors: tuple[Tensor, Tensor],
    of_file: list[Instances],
    proof: Comparison,
) -> None:
    """
    Args:
        anchors: the file's decoded boxes (N, R, 4) and logits (N, R).
        of_file: its proposals.
    """
    rpn = model.proposal_generator
    maps = [features[name] for name in rpn.in_features]
    logits, boxes = [], []
    grids = rpn.anchor_generator(maps)
    for grid, of_level, deltas in zip(grids, *rpn.rpn_head(maps), strict=True):
        n, _, rows, columns = deltas.shape
        deltas = deltas.view(n, -1, 4, rows, columns).permute(0, 3, 4, 1, 2).reshape(n, -1, 4)
        decoded = [rpn.box2box_transform.apply_deltas(x, grid.tensor) for x in deltas]
        boxes.append(torch.stack(decoded))
        logits.append(of_level.permute(0, 2, 3, 1).flatten(1))
    groups = [x.shape[1] for x in logits]
    boxes, logits = torch.cat(boxes, dim=1), torch.cat(logits, dim=1)
    proof.add_numbers(anchors[0], boxes, "anchor boxes")
    proof.add_numbers(anchors[1], logits, "anchor logits")
    wanted, _ = rpn(given, features)
    for found, other, of_image, of_boxes in zip(of_file, wanted, boxes, logits, strict=True):
        candidates = Candidates(
            boxes=clipped(of_image, other.image_size),
            scores=of_boxes[:, None],
            groups=groups,
            topk=rpn.pre_nms_topk[False],
            by_group=True,
            score_threshold=-torch.inf,
            nms_threshold=rpn.nms_thresh,
            min_side=rpn.min_box_size,
            most=rpn.post_nms_topk[False],
        )
        proof.add_set(_as_detections(found), _as_detections(other), candidates, "proposals")


def _as_detections(proposals: Instances) -> Instances:
    """Of one class."""
    return Instances(
        proposals.image_size,
        pred_boxes=proposals.proposal_boxes,
        scores=proposals.objectness_logits,
        pred_classes=torch.zeros(len(proposals), dtype=torch.long),
    )


def _regions(predictor, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> Candidates:
    """What is above the threshold, or beside it: the rest is not seen by the suppression.

    Args:
        boxes, scores: (P, K or 1, 4) and (P, K), of an image.
    """
    region, label = (scores > predictor.test_score_thresh - 2 * NEAR).nonzero().unbind(dim=1)
    own = scores.new_full((len(region), scores.shape[1]), -torch.inf)
    own[torch.arange(len(region)), label] = scores[region, label]
    boxes = boxes.expand(-1, scores.shape[1], -1)[region, label]
    return Candidates(
        boxes=clipped(boxes, size),
        scores=own,
        groups=[len(boxes)],
        topk=own.numel(),
        by_group=False,
        score_threshold=predictor.test_score_thresh,
        nms_threshold=predictor.test_nms_thresh,
        min_side=0.0,
        most=predictor.test_topk_per_image,
    )
