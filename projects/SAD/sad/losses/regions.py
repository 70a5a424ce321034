"""Losses between what two second stages say of the same regions, and the gates that choose regions.

Letters: M regions, K classes, x and z logits of student and teacher (M, K + 1), the background's
last, p and q their probabilities. Where the heads are sigmoid ones (USE_SIGMOID_CE), the last logit
has no meaning and is left out. All computes in float32 (float64 stays float64), and no gradient
goes to the teacher.

SAD.DISTILL.ROI_CLASS.LOSS names a function of CLASS_LOSSES, PROPOSALS one of CLASS_GATES, and
SAD.DISTILL.ROI_BOX.GATE one of BOX_GATES.
"""

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes
from detectron2.structures.boxes import matched_pairwise_iou
from torch import Tensor

from .distillation import at_least_float32, kl_divergence

# --- classes -------------------------------------------------------------------------------------


def log_missing(logits: Tensor) -> Tensor:
    """log(1 - p) of softmax probabilities, (M, K + 1); finite where p rounds to 1.

    No class but the largest has a p above 1/2. Of that one 1 - p is the sum of the others' p.
    """
    top = F.one_hot(logits.argmax(dim=1), logits.shape[1]).bool()
    others = logits.masked_fill(top, -torch.inf).logsumexp(dim=1) - logits.logsumexp(dim=1)
    p = logits.softmax(dim=1).masked_fill(top, 0)
    return torch.where(top, others[:, None], torch.log1p(-p))


def binary_cross_entropy(student: Tensor, teacher: Tensor, *, sigmoid: bool, **_) -> Tensor:
    """-(q log p + (1-q) log(1-p)), the mean over all classes and, of softmax heads, background."""
    x, z = at_least_float32(student), at_least_float32(teacher.detach())
    if sigmoid:
        x, z = x[:, :-1], z[:, :-1]
        return F.binary_cross_entropy_with_logits(x, z.sigmoid(), reduction="none").mean(dim=1)
    q = z.softmax(dim=1)
    return -(q * x.log_softmax(dim=1) + (1 - q) * log_missing(x)).mean(dim=1)


def kl_of_temperature(
    student: Tensor, teacher: Tensor, *, sigmoid: bool, temperature: float, **_
) -> Tensor:
    """T^2 KL(q || p) of probabilities of logits / T; of sigmoid heads the sum over the classes."""
    x, z = (at_least_float32(logits) / temperature for logits in (student, teacher.detach()))
    if sigmoid:
        return temperature**2 * kl_divergence(x[:, :-1], z[:, :-1]).sum(dim=1)
    log_p, log_q = x.log_softmax(dim=1), z.log_softmax(dim=1)
    kl = F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * kl


def logit_l2(student: Tensor, teacher: Tensor, *, sigmoid: bool, **_) -> Tensor:
    """(x - z)^2, the mean over what binary_cross_entropy takes it over."""
    difference = at_least_float32(student) - at_least_float32(teacher.detach())
    return (difference[:, :-1] if sigmoid else difference).square().mean(dim=1)


# Of the logits of student and teacher and the keywords sigmoid and temperature: (M,).
CLASS_LOSSES = {"bce": binary_cross_entropy, "kl": kl_of_temperature, "l2": logit_l2}


def probabilities(logits: Tensor, sigmoid: bool) -> Tensor:
    """(M, K), of the classes alone."""
    logits = at_least_float32(logits.detach())
    return logits[:, :-1].sigmoid() if sigmoid else logits.softmax(dim=1)[:, :-1]


def decided(logits: Tensor, sigmoid: bool) -> Tensor:
    """(M,) the class that a head decides for, K for background: to a sigmoid head that is where no
    class has 1/2.
    """
    if not sigmoid:
        return logits.argmax(dim=1)
    best, at = logits[:, :-1].max(dim=1)
    return torch.where(best > 0, at, logits.shape[1] - 1)


def _teacher_better(student: Tensor, teacher: Tensor, classes: Tensor, sigmoid: bool) -> Tensor:
    p, q = (probabilities(logits, sigmoid) for logits in (student, teacher))
    column = classes.clamp_max(p.shape[1] - 1)[:, None]
    return (q.gather(1, column) > p.gather(1, column))[:, 0]


def _foreground(student: Tensor, classes: Tensor) -> Tensor:
    return classes < student.shape[1] - 1


# Of the logits of student and teacher, the regions' classes (M,), K for background, and whether the
# heads are sigmoid ones: (M,) bool.
CLASS_GATES = {
    "all": lambda x, z, classes, sigmoid: torch.ones_like(classes, dtype=torch.bool),
    "fg": lambda x, z, classes, sigmoid: _foreground(x, classes),
    "teacher_right": lambda x, z, classes, sigmoid: decided(z, sigmoid) == classes,
    "fg_teacher_right": lambda x, z, classes, sigmoid: (
        _foreground(x, classes) & (decided(z, sigmoid) == classes)
    ),
    "fg_teacher_better": lambda x, z, classes, sigmoid: (
        _foreground(x, classes) & _teacher_better(x, z, classes, sigmoid)
    ),
}


# --- boxes ---------------------------------------------------------------------------------------


def deltas_of_class(deltas: Tensor, classes: Tensor) -> Tensor:
    """Those that a head emits for the class of each region.

    Args:
        deltas: (M, 4 K), or (M, 4) of a head that is class-agnostic.
        classes: (M,), none of them background.
    Returns:
        (M, 4)
    """
    if deltas.shape[1] == 4:
        return deltas
    rows = torch.arange(len(deltas), device=deltas.device)
    return deltas.view(len(deltas), deltas.shape[1] // 4, 4)[rows, classes]


def encoded_alike(deltas: Tensor, boxes: Tensor, transform, wanted) -> Tensor:
    """The deltas with which the transform `wanted` makes of each box what `transform` makes of it.

    Args:
        deltas, boxes: (M, 4)
        transform, wanted: Detectron2's Box2BoxTransform.
    """
    if transform.weights == wanted.weights:
        return deltas
    return wanted.get_deltas(boxes, transform.apply_deltas(deltas, boxes))


def overlaps(boxes: Tensor, truth: Tensor, sizes: Tensor) -> Tensor:
    """(M,) IoU of each box, clipped to its image as for detections, with the box of its object.

    Args:
        boxes, truth: (M, 4)
        sizes: (M, 2), (height, width) of the images.
    """
    height, width = sizes.to(boxes).unbind(dim=1)
    limits = torch.stack([width, height, width, height], dim=1)
    clipped = boxes.clamp_min(0).minimum(limits)
    # Nothing over nothing where both are empty: no overlap.
    return matched_pairwise_iou(Boxes(clipped), Boxes(truth)).nan_to_num(0.0)


# Of the IoU with the object of the teacher's box, the student's box and the region itself, each
# (M,): (M,) bool, whether the teacher's box is to be learned.
BOX_GATES = {
    "proposal": lambda teacher, student, region: teacher > region,
    "student": lambda teacher, student, region: teacher > student,
    "both": lambda teacher, student, region: (teacher > region) & (teacher > student),
    "always": lambda teacher, student, region: torch.ones_like(teacher, dtype=torch.bool),
}
