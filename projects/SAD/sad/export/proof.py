"""The proof that an exported file is its detector: both on the same images, number by number.

Before the suppression every box and every score is compared. After it, detections are compared as
sets. There two programs may differ where a comparison of theirs is closer than rounding: such
detections are excepted, and counted.

Shapes: N images, R anchors, K classes, as in `sad.export.graph`.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances, pairwise_iou
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..modeling.adapters import adapter_of
from ..utils.errors import UserError

BOX = 0.01  # pixels; of boxes larger than 1,000 pixels a hundred-thousandth
SCORE = 1e-4
NEAR = 1e-4  # to a threshold, or to each other


@dataclass
class Proof:
    """What was compared, and the largest differences that were found."""

    batches: list[str] = field(default_factory=list)  # number and size of the images of each
    box: float = 0.0  # pixels, or for large boxes as much as is 1 in 100,000
    score: float = 0.0
    detections: int = 0
    excepted: int = 0  # detections of either side, close to a threshold or a tie

    def __str__(self) -> str:
        return (
            f"{len(self.batches)} batches ({', '.join(self.batches)}): all boxes within "
            f"{self.box:.1g} px and all scores within {self.score:.1g}; {self.detections} "
            f"detections match, {self.excepted} beside a threshold or a tie are excepted"
        )


def check_batches(images: list[Tensor], divisibility: int) -> list[Tensor]:
    """Batches that a proof is made of: two sizes times two numbers of images, images without
    objects, and two of extreme shape.

    Args:
        images: some of the validation set, (3, H, W) uint8, resized as for the detector.
    Returns:
        (N, 3, H, W) uint8 each.
    """

    def resized(number: int, height: int, width: int) -> Tensor:
        chosen = [images[i % len(images)].float()[None] for i in range(number)]
        sized = [F.interpolate(x, (height, width), mode="bilinear") for x in chosen]
        return torch.cat(sized).round().clamp(0, 255).to(torch.uint8)

    draw = torch.Generator().manual_seed(0)
    height, width = images[0].shape[1:]
    step = max(divisibility, 1)
    smaller = max(height * 3 // 4, 1), width + step // 2 + 1
    return [
        *(resized(number, *size) for size in ((height, width), smaller) for number in (1, 3)),
        # Not of one grey: a group norm of what does not vary is rounding error alone.
        torch.randint(118, 139, (2, 3, height, width), generator=draw, dtype=torch.uint8),
        resized(1, max(height // 8, 1), 4 * width),
        resized(1, 4 * height, max(width // 8, 1)),
    ]


def prove(model, detect, dense, batches: list[Tensor]) -> Proof:
    """Compare a file with the detector that it was made of.

    Args:
        model: Detectron2's.
        detect: the file, called as Detectron2 calls a model; None where it ends before the
            suppression.
        dense: the file, (N, 3, H, W) -> all boxes (N, R, 4) and all scores (N, R, K) before the
            suppression.
    Raises:
        UserError: they differ, and where.
    """
    proof = Proof()
    for images in batches:
        where = f"{len(images)} x {images.shape[-2]} x {images.shape[-1]}"
        boxes, scores, sizes = _reference(model, images)
        given = dense(images)
        for found, wanted, what in zip(given, (boxes, scores), ("boxes", "scores"), strict=True):
            if found.shape != wanted.shape:
                raise UserError(
                    f"the file is not its detector: {tuple(found.shape)} {what} instead of "
                    f"{tuple(wanted.shape)} on images of {where}"
                )
        box = _box_difference(given[0], boxes).max().item()
        score = (given[1] - scores).abs().max().item()
        if not (box <= BOX and score <= SCORE):  # NaN is no agreement either
            raise UserError(
                f"the file is not its detector: before suppression boxes differ by {box:.3g} px "
                f"and scores by {score:.3g} on images of {where}"
            )
        proof.box, proof.score = max(proof.box, box), max(proof.score, score)
        proof.batches.append(where)
        if detect is None:
            continue
        batch = [{"image": image} for image in images]
        for i, (found, wanted) in enumerate(zip(detect(batch), model(batch), strict=True)):
            reference = boxes[i], scores[i], sizes
            _compare(model, found["instances"], wanted["instances"], reference, proof)
    return proof


@torch.no_grad()
def _reference(model, images: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """All boxes and scores by Detectron2's own padding, anchors and decoding, and how many anchors
    each level has."""
    adapter = adapter_of(model)
    given = model.preprocess_image([{"image": image} for image in images])
    outputs = adapter.outputs(model, given.tensor)
    anchors = torch.cat([x.tensor for x in model.anchor_generator(outputs.features)])
    logits, deltas = torch.cat(outputs.logits, dim=1), torch.cat(outputs.deltas, dim=1)
    centerness = torch.cat(outputs.centerness, dim=1) if outputs.centerness else None
    boxes = [model.box2box_transform.apply_deltas(x, anchors) for x in deltas]
    sizes = [x.shape[1] for x in outputs.logits]
    return torch.stack(boxes), adapter.scores(logits, centerness), sizes


def _box_difference(found: Tensor, wanted: Tensor) -> Tensor:
    """(..., 4) pixels; of a box beyond 1,000 pixels, as much as is 1 in 100,000 of it counts as
    0.01."""
    size = (wanted[..., 2:] - wanted[..., :2]).abs().amax(dim=-1).maximum(wanted.abs().amax(dim=-1))
    return (found - wanted).abs() / (size / 1000).clamp(min=1)[..., None]


def _compare(model, found: Instances, wanted: Instances, reference: tuple, proof: Proof) -> None:
    """Detections of one image as sets; what has no partner must be excepted.

    Args:
        reference: (R, 4) boxes and (R, K) scores of the image before the suppression, and how many
            anchors each level has.
    Raises:
        UserError: a detection has no partner, and nothing explains it.
    """
    apart = _box_difference(found.pred_boxes.tensor[:, None], wanted.pred_boxes.tensor[None])
    apart = apart.amax(dim=-1) / BOX
    apart = apart.maximum((found.scores[:, None] - wanted.scores).abs() / SCORE)
    apart[found.pred_classes[:, None] != wanted.pred_classes] = np.inf
    same = (apart <= 1).numpy()
    ours, theirs = linear_sum_assignment(~same)
    paired = same[ours, theirs]
    proof.detections += int(paired.sum())
    alone = [
        sorted(set(range(len(side))) - set(of_pairs[paired].tolist()))
        for side, of_pairs in ((found, ours), (wanted, theirs))
    ]
    unpaired = Instances.cat([found[alone[0]], wanted[alone[1]]])
    if len(unpaired):
        left = len(unpaired) - _explained(model, unpaired, wanted, *reference)
        if left:
            raise UserError(
                f"the file is not its detector: of {len(wanted)} detections in an image of "
                f"{wanted.image_size[0]} x {wanted.image_size[1]}, {left} are found by one of them "
                "alone, and none is beside a threshold or a tie"
            )
        proof.excepted += len(unpaired)


def _explained(model, unpaired: Instances, wanted: Instances, boxes, scores, sizes) -> int:
    """How many detections lie beside a threshold or a tie, or next to one that does."""
    places = _places(unpaired, boxes, scores)
    raw, classes = Boxes(boxes[places]), unpaired.pred_classes
    own = scores[places, classes]
    limits = [model.test_score_thresh, *_ends(model, scores, sizes, wanted)]
    near = torch.stack([(own - limit).abs() <= NEAR for limit in limits]).any(dim=0)
    sides = unpaired.pred_boxes.tensor[:, 2:] - unpaired.pred_boxes.tensor[:, :2]
    near |= sides.amin(dim=1) <= BOX  # hardly within the image
    for i, label in enumerate(classes.tolist()):
        # Whoever might suppress it: of its class, not worse, and overlapping as much as that.
        rivals = scores[:, label] >= max(own[i].item() - NEAR, model.test_score_thresh)
        rivals[places[i]] = False
        iou = pairwise_iou(raw[i], Boxes(boxes[rivals]))[0]
        tied = scores[rivals, label] <= own[i] + NEAR
        near[i] |= bool(((iou - model.test_nms_thresh).abs() <= NEAR).any())
        near[i] |= bool(((iou > model.test_nms_thresh - NEAR) & tied).any())
    # One that is kept or not changes what it overlaps with, and so on.
    linked = pairwise_iou(raw, raw) > model.test_nms_thresh - NEAR
    linked &= classes[:, None] == classes
    for _ in range(len(near)):
        near |= (linked & near).any(dim=1)
    return int(near.sum())


def _places(detections: Instances, boxes: Tensor, scores: Tensor) -> Tensor:
    """Which anchor each detection is of: the nearest box, clipped, among those of its score."""
    clipped = Boxes(boxes.clone())
    clipped.clip(detections.image_size)
    apart = torch.cdist(detections.pred_boxes.tensor, clipped.tensor, p=torch.inf)
    apart += 1e6 * (scores[:, detections.pred_classes].T - detections.scores[:, None]).abs()
    return apart.argmin(dim=1)


def _ends(model, scores: Tensor, sizes: list[int], wanted: Instances) -> list[float]:
    """The scores at which lists of the best end: of the candidates of each level, and of all."""
    levels = [level.flatten() for level in scores.split(sizes)]
    k = model.test_topk_candidates
    ends = [level.topk(k).values[-1].item() for level in levels if len(level) > k]
    full = len(wanted) >= model.max_detections_per_image
    return [*ends, wanted.scores.min().item()] if full else ends
