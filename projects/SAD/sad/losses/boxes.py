"""Losses between the boxes that student and teacher find at the same anchors.

SAD.DISTILL.BOX.LOSS names a function of BOX_LOSSES, at the end of this file. Each takes the deltas
of student and teacher (M, 4), their anchors (M, 4), the transform that makes boxes of the two, and
keywords of which it names what it needs; it returns the loss of each anchor, (M,).
"""

from fvcore.nn import smooth_l1_loss
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss


def delta_smooth_l1(student: Tensor, teacher: Tensor, *, beta: float) -> Tensor:
    """Smooth L1 of the four deltas, summed. A teacher of another scale has the same deltas."""
    return smooth_l1_loss(student, teacher.detach(), beta=beta).sum(dim=-1)


def generalized_iou(student: Tensor, teacher: Tensor, anchors: Tensor, transform) -> Tensor:
    """1 - GIoU of the boxes that the deltas make of the anchors; NaN where the deltas are."""
    ours, theirs = (transform.apply_deltas(x, anchors) for x in (student, teacher.detach()))
    return generalized_box_iou_loss(ours, theirs)


BOX_LOSSES = {
    "giou": lambda x, z, anchors, transform, **_: generalized_iou(x, z, anchors, transform),
    "smooth_l1": lambda x, z, anchors, transform, *, beta: delta_smooth_l1(x, z, beta=beta),
}
