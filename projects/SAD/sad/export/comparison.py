"""Numbers and detections of two programs, compared; detections as sets.

Two programs may differ where a comparison of theirs is closer than rounding: such detections are
excepted, and counted.

Shapes: R candidates, K classes.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..utils.errors import UserError

BOX = 0.01  # pixels; of boxes larger than 1,000 pixels a hundred-thousandth
SCORE = 1e-4  # of logits beyond 1 as much of their size
NEAR = 1e-4  # to a threshold, or to each other; the same of logits
MOST_EXCEPTED = 0.05  # of what is compared as sets; FEW may be in any case
FEW = 10


class Candidates(NamedTuple):
    """What the detections of an image are chosen of, and how."""

    boxes: Tensor  # (R, 4), as the suppression sees them
    scores: Tensor  # (R, K), -inf where a candidate is none of the class
    groups: list[int]  # how many of R there are in each group
    topk: int  # the best of each group alone go on
    by_group: bool  # whether candidates suppress only those of their own group
    score_threshold: float
    nms_threshold: float
    min_side: float  # in pixels, of boxes that are clipped
    most: int  # detections


@dataclass
class Comparison:
    """What was compared, and the largest differences that were found."""

    batches: list[str] = field(default_factory=list)  # number and size of the images of each
    box: float = 0.0  # pixels, or for large boxes as much as is 1 in 100,000
    score: float = 0.0
    proposals: int = 0
    detections: int = 0
    excepted: int = 0  # of either side, close to a threshold or a tie

    def __str__(self) -> str:
        proposals = f"{self.proposals} proposals and " if self.proposals else ""
        return (
            f"{len(self.batches)} batches ({', '.join(self.batches)}): all boxes within "
            f"{self.box:.1g} px and all scores within {self.score:.1g}; {proposals}"
            f"{self.detections} detections match, {self.excepted} beside a threshold or a tie are "
            "excepted"
        )

    def add_numbers(self, found: Tensor, wanted: Tensor, what: str) -> None:
        """Compare all boxes (..., 4) or all scores of the batch that was named last.

        Raises:
            UserError: they differ.
        """
        if found.shape != wanted.shape:
            raise UserError(
                f"the file is not its detector: {tuple(found.shape)} {what} instead of "
                f"{tuple(wanted.shape)} on images of {self.batches[-1]}"
            )
        if not found.numel():
            return
        is_box = what.endswith("boxes")
        most = (_box_difference if is_box else _score_difference)(found, wanted).max().item()
        if not most <= (BOX if is_box else SCORE):  # NaN is no agreement either
            raise UserError(
                f"the file is not its detector: before suppression {what} differ by {most:.3g}"
                f"{' px' if is_box else ''} on images of {self.batches[-1]}"
            )
        if is_box:
            self.box = max(self.box, most)
        else:
            self.score = max(self.score, most)

    def add_set(
        self, found: Instances, wanted: Instances, candidates: Candidates, what: str
    ) -> None:
        """Compare the detections or proposals of an image.

        Raises:
            UserError: one has no partner, and nothing explains it.
        """
        matched = _match(found, wanted, candidates)
        if matched.left:
            raise UserError(
                f"the file is not its detector: of {len(wanted)} {what} in an image of "
                f"{wanted.image_size[0]} x {wanted.image_size[1]}, {matched.left} are found by one "
                "of them alone, and none is beside a threshold or a tie"
            )
        setattr(self, what, getattr(self, what) + matched.pairs)
        self.excepted += matched.excepted

    def check_excepted(self) -> None:
        """
        Raises:
            UserError: so many are excepted that the rest proves nothing.
        """
        compared = self.proposals + self.detections + self.excepted
        if self.excepted > max(FEW, MOST_EXCEPTED * compared):
            raise UserError(
                f"the file cannot be proved: {self.excepted} of {compared} detections lie beside a "
                "threshold or a tie, as those of a detector that is hardly trained do; give "
                "weights that tell objects apart"
            )


class _Matched(NamedTuple):
    pairs: int
    excepted: int  # detections of either side without a partner, close to a threshold or a tie
    left: int  # the same, with nothing that explains it


def _match(found: Instances, wanted: Instances, candidates: Candidates) -> _Matched:
    """Detections of one image as sets; what has no partner must be excepted."""
    apart = _box_difference(found.pred_boxes.tensor[:, None], wanted.pred_boxes.tensor[None])
    apart = apart.amax(dim=-1) / BOX
    apart = apart.maximum(_score_difference(found.scores[:, None], wanted.scores[None]) / SCORE)
    apart[found.pred_classes[:, None] != wanted.pred_classes] = np.inf
    same = (apart <= 1).numpy()
    ours, theirs = linear_sum_assignment(~same)
    paired = same[ours, theirs]
    alone = [
        sorted(set(range(len(side))) - set(of_pairs[paired].tolist()))
        for side, of_pairs in ((found, ours), (wanted, theirs))
    ]
    unpaired = Instances.cat([found[alone[0]], wanted[alone[1]]])
    last = [x.scores.min().item() for x in (found, wanted) if len(x) >= max(1, candidates.most)]
    explained = _explained(unpaired, last, candidates) if len(unpaired) else 0
    return _Matched(int(paired.sum()), explained, len(unpaired) - explained)


def _box_difference(found: Tensor, wanted: Tensor) -> Tensor:
    """(..., 4) pixels; of a box beyond 1,000 pixels, as much as is 1 in 100,000 of it counts as
    0.01."""
    size = (wanted[..., 2:] - wanted[..., :2]).abs().amax(dim=-1).maximum(wanted.abs().amax(dim=-1))
    return (found - wanted).abs() / (size / 1000).clamp(min=1)[..., None]


def _score_difference(found: Tensor, wanted: Tensor) -> Tensor:
    """Of probabilities, and of logits beyond 1 relative to their size."""
    return (found - wanted).abs() / wanted.abs().clamp(min=1)


def _explained(unpaired: Instances, last: list[float], candidates: Candidates) -> int:
    """How many detections lie beside a threshold or a tie, or next to one that does.

    Args:
        last: the lowest score of each side that has no room for more.
    """
    boxes, scores, groups, _, by_group, threshold, nms_threshold, min_side, _ = candidates
    places = _places(unpaired, boxes, scores)
    raw, classes = Boxes(boxes[places]), unpaired.pred_classes
    own = scores[places, classes]
    margin = NEAR * own.abs().clamp(min=1)
    group = torch.arange(len(groups)).repeat_interleave(torch.tensor(groups))
    limits = [_ends(candidates)[group[places]], *own.new_tensor([threshold, *last])]
    near = torch.stack([(own - limit).abs() <= margin for limit in limits]).any(dim=0)
    group = group if by_group else torch.zeros_like(group)
    sides = unpaired.pred_boxes.tensor[:, 2:] - unpaired.pred_boxes.tensor[:, :2]
    near |= sides.amin(dim=1) <= min_side + BOX  # hardly within the image
    for i, label in enumerate(classes.tolist()):
        # Whoever might suppress it: of its class, not worse, and overlapping as much as that.
        rivals = scores[:, label] >= max((own[i] - margin[i]).item(), threshold)
        rivals &= group == group[places[i]]
        rivals[places[i]] = False
        iou = pairwise_iou(raw[i], Boxes(boxes[rivals]))[0]
        tied = scores[rivals, label] <= own[i] + margin[i]
        near[i] |= bool(((iou - nms_threshold).abs() <= NEAR).any())
        near[i] |= bool(((iou > nms_threshold - NEAR) & tied).any())
    # One that is kept or not changes what it overlaps with, and so on.
    linked = pairwise_iou(raw, raw) > nms_threshold - NEAR
    linked &= (classes[:, None] == classes) & (group[places][:, None] == group[places])
    for _ in range(len(near)):
        near |= (linked & near).any(dim=1)
    return int(near.sum())


def _places(detections: Instances, boxes: Tensor, scores: Tensor) -> Tensor:
    """Which candidate each detection is: the nearest by box, clipped, and score."""
    seen = clipped(boxes, detections.image_size)
    apart = _box_difference(detections.pred_boxes.tensor[:, None], seen[None]).amax(dim=-1) / BOX
    own = scores[:, detections.pred_classes].T
    return apart.maximum(_score_difference(detections.scores[:, None], own) / SCORE).argmin(dim=1)


def clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(R, 4) boxes to an image."""
    copy = Boxes(boxes.clone())
    copy.clip(size)
    return copy.tensor


def _ends(candidates: Candidates) -> Tensor:
    """Of each group the score at which the list of its best ends; -inf where all go on."""
    k, groups = candidates.topk, candidates.scores.split(candidates.groups)
    ends = [
        x.flatten().topk(k).values[-1] if x.numel() > k else x.new_tensor(-torch.inf)
        for x in groups
    ]
    return torch.stack(ends)
