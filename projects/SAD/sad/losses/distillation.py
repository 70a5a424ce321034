"""Distillation losses of SAD (arXiv 1901.00366), as free functions of tensors.

Every class of every anchor is a binary problem. Letters used here and in the paper:
    x, z   logit of the student, of the teacher
    p, q   sigmoid(x), sigmoid(z)
"The released code" is github.com/Tangshitao/Semi-supervised-Adaptive-Distillation, in it
caffe2/modules/detectron/sigmoid_adaptive_distillation_loss_op.cu and pow_sum_op.cu; docs/method.md
says in what it differs from the paper.

All functions work elementwise on logits of one shape, compute in float32 (float64 stays float64),
stay finite for any logits in [-100, 100], and send no gradient to the teacher.

SAD.DISTILL.CLASS.LOSS names a function of DISTILLATION_LOSSES, at the end of this file.
"""

import inspect
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FORMS = ("kl", "cross_entropy")


def at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def kl_divergence(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL(T||S) = q log(q/p) + (1-q) log((1-q)/(1-p)), Eq. 2; as a loss, all anchors count alike."""
    x, z = at_least_float32(student_logits), at_least_float32(teacher_logits.detach())
    positive = z.sigmoid() * (F.logsigmoid(z) - F.logsigmoid(x))
    negative = (-z).sigmoid() * (F.logsigmoid(-z) - F.logsigmoid(-x))
    kl = positive + negative
    # Rounding alone makes it negative: lift the value to 0, keep the gradient p - q.
    return kl + (-kl.detach()).clamp_min(0)


def teacher_entropy(teacher_logits: Tensor) -> Tensor:
    """T(q) = -(q log q + (1-q) log(1-q)), below Eq. 6: the teacher's uncertainty, in [0, log 2]."""
    z = at_least_float32(teacher_logits.detach())
    return -(z.sigmoid() * F.logsigmoid(z) + (-z).sigmoid() * F.logsigmoid(-z))


def balanced_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, alpha: float) -> Tensor:
    """-(alpha q log p + (1-alpha) (1-q) log(1-p)): what the released code has in place of KL."""
    x, z = at_least_float32(student_logits), at_least_float32(teacher_logits.detach())
    return -(
        alpha * z.sigmoid() * F.logsigmoid(x) + (1 - alpha) * (-z).sigmoid() * F.logsigmoid(-x)
    )


def adaptive_distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    gamma: float = 2.0,
    beta: float = 1.5,
    form: str = "kl",
    alpha: float = 0.5,
) -> Tensor:
    """ADL = (1 - exp(-(KL + beta T(q))))^gamma * KL, Eq. 6 and 7. beta = 0 is DW, Eq. 5.

    The gradient passes through the modulating weight, as in the released code.

    Args:
        student_logits, teacher_logits: tensors of one shape.
        gamma: how fast easy samples are weighted down; 0 leaves plain KL.
        beta: how much the teacher's uncertainty counts. The released code writes the exponent as
            BCE - beta_code T(q), which equals KL + (1 - beta_code) T(q): beta = 1 - beta_code.
        form: "kl" (the paper) or "cross_entropy" (the released code: the same weight in front of
            the balanced cross entropy).
        alpha: balance of the cross-entropy form; unused by "kl".
    Returns:
        the loss of each element, of the logits' shape.
    Raises:
        ValueError: unknown form, negative gamma or beta.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}, it must be one of {', '.join(FORMS)}")
    if gamma < 0 or beta < 0:
        raise ValueError(f"gamma is {gamma} and beta is {beta}, neither may be negative")
    kl = kl_divergence(student_logits, teacher_logits)
    exponent = kl + beta * teacher_entropy(teacher_logits)
    weight = -torch.expm1(-exponent)
    # A floor, since the slope of w^gamma is infinite at 0 for gamma < 1 and inf * 0 is NaN.
    weight = weight.clamp_min(torch.finfo(weight.dtype).tiny).pow(gamma)
    if form == "kl":
        return weight * kl
    return weight * balanced_cross_entropy(student_logits, teacher_logits, alpha)


def focal_distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    positive: Tensor,
    *,
    gamma: float = 2.0,
) -> Tensor:
    """FDL = (1 - p_t)^gamma * KL, Eq. 4: the focal loss's own weight, which the labels decide on.

    The gradient passes through the weight, as in the focal loss.

    Args:
        positive: bool, of the logits' shape: whether the hard label is this class. p_t is p where
            it is and 1 - p elsewhere.
    Raises:
        ValueError: negative gamma.
    """
    if gamma < 0:
        raise ValueError(f"gamma is {gamma}, it may not be negative")
    x = at_least_float32(student_logits)
    missing = torch.where(positive, -x, x).sigmoid()  # 1 - p_t
    weight = missing.clamp_min(torch.finfo(missing.dtype).tiny).pow(gamma)
    return weight * kl_divergence(student_logits, teacher_logits)


def logit_l2_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """(x - z)^2: logit mimic (section 4.1)."""
    return (at_least_float32(student_logits) - at_least_float32(teacher_logits.detach())).square()


def quality_focal_loss(
    student_logits: Tensor, teacher_logits: Tensor, *, gamma: float = 2.0
) -> Tensor:
    """QFL = |q - p|^gamma (-q log p - (1-q) log(1-p)) (arXiv 2006.04388), q the teacher's score.

    BCKD has it with gamma 1, Dense Teacher with gamma 2. The gradient passes through the weight.

    Raises:
        ValueError: negative gamma.
    """
    if gamma < 0:
        raise ValueError(f"gamma is {gamma}, it may not be negative")
    x, z = at_least_float32(student_logits), at_least_float32(teacher_logits.detach())
    gap = (z.sigmoid() - x.sigmoid()).abs()
    weight = gap.clamp_min(torch.finfo(gap.dtype).tiny).pow(gamma)  # as in ADL
    return weight * 2 * balanced_cross_entropy(x, z, alpha=0.5)


def best_scores(logits: list[Tensor]) -> Tensor:
    """(N, R), the largest class score of each anchor.

    Args:
        logits: (N, R_l, K) of each level.
    """
    best = torch.cat([level.amax(dim=2) for level in logits], dim=1)
    return at_least_float32(best).sigmoid()


NEVER = -80.0  # the logit of a score of 2e-35, which stands for 0; smaller ones compute slowly


def top_alone(logits: list[Tensor], share: float) -> list[Tensor]:
    """The logits of this share of each image's anchors, those with the largest scores, at least
    one; NEVER at the others. A share of 0 leaves them all.

    Args:
        logits: (N, R_l, K) of each level.
    """
    if share == 0:
        return logits
    best = torch.cat([level.amax(dim=2) for level in logits], dim=1)
    top = best.topk(max(1, round(share * best.shape[1])), dim=1).indices
    others = torch.ones_like(best, dtype=torch.bool).scatter_(1, top, False)
    of_level = others.split([level.shape[1] for level in logits], dim=1)
    return [
        level.masked_fill(other[..., None], NEVER)
        for level, other in zip(logits, of_level, strict=True)
    ]


# Of each level its (H, W) in the batch, and (h, w) of each of S images in it.
Inside = list[tuple[tuple[int, int], list[tuple[int, int]]]]


def agreed_outside(
    teacher: list[Tensor], student: list[Tensor], images: Sequence[int], inside: Inside | None
) -> list[Tensor]:
    """The teacher's logits, and in the cells outside an image that is smaller than its batch the
    student's own, from which nothing is learned.

    Args:
        teacher: (S, H x W x A, K) of each level.
        student: (N, H x W x A, K) of each level.
        images: positions of the S images among the N.
        inside: None where the teacher answers for all cells.
    """
    if inside is None:
        return teacher
    found = []
    for z, x, (size, of_images) in zip(teacher, student, inside, strict=True):
        z = z.clone()
        for theirs, image, (h, w) in zip(z, images, of_images, strict=True):
            if (h, w) != size:
                ours = x[image].detach().unflatten(0, (*size, -1))
                theirs = theirs.unflatten(0, (*size, -1))
                theirs[h:] = ours[h:]
                theirs[:h, w:] = ours[:h, w:]
        found.append(z)
    return found


def teacher_power(teacher_logits: Tensor, power: float = 1.8) -> Tensor:
    """Sum of q^power: about the number of anchors the teacher believes in (pow_sum_op.cu).

    The sum runs over all that is given: images, levels, anchors (ignored ones too) and classes.
    """
    q = at_least_float32(teacher_logits.detach()).sigmoid()
    return q.log2_().mul_(power).exp2_().sum()  # on a CPU in two thirds of q.pow(power)'s time


def foreground_count(gt_labels: Tensor, num_classes: int) -> Tensor:
    """Number of foreground anchors, what the focal loss is divided by.

    Args:
        gt_labels: integers; -1 is ignored, `num_classes` is background.
    """
    return ((gt_labels >= 0) & (gt_labels < num_classes)).sum()


def _adl(student_logits, teacher_logits, labels, *, gamma, beta, form, alpha):
    options = {"gamma": gamma, "beta": beta, "form": form, "alpha": alpha}
    return adaptive_distillation_loss(student_logits, teacher_logits, **options)


def _fdl(student_logits, teacher_logits, labels, *, gamma, **_):
    positive = F.one_hot(labels, student_logits.shape[-1] + 1)[..., :-1].bool()
    return focal_distillation_loss(student_logits, teacher_logits, positive, gamma=gamma)


# SAD.DISTILL.CLASS.LOSS names one of these: a function of the logits (M, K), the hard labels of the
# anchors (M,), K for background, and the keywords gamma, beta, form and alpha, of which each names
# what it needs. It returns the loss of each element, (M, K).
DISTILLATION_LOSSES = {
    "adl": _adl,
    "kl": lambda x, z, labels, **options: kl_divergence(x, z),
    "fdl": _fdl,
    "l2": lambda x, z, labels, **options: logit_l2_loss(x, z),
    "qfl": lambda x, z, labels, *, gamma, **options: quality_focal_loss(x, z, gamma=gamma),
}


def options_of(name: str) -> set[str]:
    """The keywords that a loss of DISTILLATION_LOSSES names: {"gamma"}."""
    parameters = inspect.signature(DISTILLATION_LOSSES[name]).parameters.values()
    return {x.name for x in parameters if x.kind is inspect.Parameter.KEYWORD_ONLY}
