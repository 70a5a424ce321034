"""Focal and distillation loss of the class logits, and their gradient, in one pass over memory.

Written as expressions, the two losses make autograd keep some twenty tensors as large as the logits
for backward. Here the forward computes loss and gradient piece by piece, each piece small enough
for the caches, and keeps the gradient alone. `sad.losses.distillation` has the same losses, to be
read; a loss without a slope of its own in SLOPES is differentiated by autograd, piece by piece.
"""

from collections.abc import Callable, Iterator
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .distillation import (
    DISTILLATION_LOSSES,
    Inside,
    agreed_outside,
    at_least_float32,
    top_alone,
)

# Letters as in sad.losses.distillation: x, z logits of student and teacher, p, q their sigmoids.
# Elements of a piece: on a CPU what stays in a core's cache, on a GPU what fills the machine.
PIECE = {"cpu": 1 << 16, "cuda": 1 << 24}


def focal_slope(p: Tensor, softplus: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Focal loss p^gamma * -log(1-p) of a background term, and its derivative by x (Eq. 1).

    A foreground term is the same of -x, with the derivative's sign turned.
    """
    weight = p.pow(gamma)
    return weight * softplus, weight * (gamma * (1 - p) * softplus + p)


def _kl_and_entropy(x: Tensor, z: Tensor, softplus: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """KL(T||S) = -log(1-p) - q x - T(q), T(q), and q."""
    q = z.sigmoid()
    entropy = F.softplus(z) - q * z
    return (softplus - q * x - entropy).clamp_min_(0), entropy, q


def kl_slope(x: Tensor, z: Tensor, p: Tensor, softplus: Tensor, **_) -> tuple[Tensor, Tensor]:
    """KL(T||S) (Eq. 2) and its derivative p - q."""
    kl, _, q = _kl_and_entropy(x, z, softplus)
    return kl, p - q


def adl_slope(
    x: Tensor, z: Tensor, p: Tensor, softplus: Tensor, *, gamma: float, beta: float, **_
) -> tuple[Tensor, Tensor]:
    """ADL = w^gamma KL with w = 1 - exp(-(KL + beta T)) (Eq. 6, 7), and its derivative
    (w^gamma + gamma w^(gamma-1) (1-w) KL) (p - q).
    """
    kl, entropy, q = _kl_and_entropy(x, z, softplus)
    easy = torch.expm1(-(kl + beta * entropy))  # -w
    w = (-easy).clamp_min_(torch.finfo(x.dtype).tiny)  # see adaptive_distillation_loss
    weight = w.pow(gamma)
    slope = (weight + gamma * w.pow_(gamma - 1) * (1 + easy) * kl) * (p - q)
    return weight * kl, slope


SLOPES = {"adl": adl_slope, "kl": kl_slope}


class FusedClassLosses:
    """FL + the distillation loss of a config, both as sums over anchors and classes."""

    def __init__(
        self,
        name: str,
        *,
        focal_alpha: float,
        focal_gamma: float,
        top: float = 0.0,
        compiled: bool = False,
        **options,
    ):
        """
        Args:
            name: of `sad.losses.distillation.DISTILLATION_LOSSES`.
            focal_alpha, focal_gamma: the focal loss's; a negative alpha balances nothing.
            top: the share of each image's anchors that keep the teacher's scores, see `top_alone`.
            compiled: let torch.compile make one kernel of a piece.
            options: gamma, beta, form and alpha of the distillation loss.
        """
        balanced = focal_alpha >= 0
        self.positive_weight = focal_alpha if balanced else 1.0
        self.negative_weight = 1 - focal_alpha if balanced else 1.0
        self.focal_gamma = focal_gamma
        self.top = top
        self.plain = DISTILLATION_LOSSES[name]
        self.options = options
        self.of_piece = torch.compile(self.piece) if compiled else self.piece
        self.slope = SLOPES.get(name) if options.get("form", "kl") == "kl" else None
        self.compiled = compiled

    def __call__(
        self,
        student: list[Tensor],
        teacher: list[Tensor] | None,
        labels: Tensor,
        hard: list[int],
        soft: list[int],
        focal_factor: Tensor | float,
        distill_factor: Tensor | float,
        inside: Inside | None = None,
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            student: logits of each level, (N, R_l, K), of any floating type.
            teacher: those of the images with soft targets, (S, R_l, K); None if there are none.
            labels: (N, R), R the sum of all R_l; K is background, -1 left out of both losses.
            hard, soft: positions among N of the images with hard and with soft targets, rising.
            focal_factor, distill_factor: what each sum is multiplied by.
            inside: see `agreed_outside`.
        Returns:
            focal and distillation loss, to be added: they share one gradient, so backward must
            reach both alike.
        """
        if teacher:
            teacher = agreed_outside(top_alone(teacher, self.top), student, soft, inside)
        one = at_least_float32(student[0].new_ones(()))
        factors = [one * factor for factor in (focal_factor, distill_factor)]
        return _Fused.apply(self, teacher, labels, hard, soft, factors, *student)

    def has_one_kernel(self, x: Tensor) -> bool:
        """Whether all is computed by one kernel of a GPU; autograd would need a second."""
        return self.compiled and self.slope is not None and x.is_cuda

    def piece(self, x, z, labels, is_hard: bool, factors, out: Tensor) -> Tensor:
        """Add up a piece.

        Args:
            x: (M, K) logits of the student; z: the teacher's, None without soft targets.
            labels: (M,)
            factors: of the focal and of the distillation loss.
            out: (M, K), where the gradient goes.
        Returns:
            (2,) both losses
        """
        x = at_least_float32(x)
        p, softplus = x.sigmoid(), F.softplus(x)
        counted = labels >= 0
        loss = distill = x.new_zeros(())
        gradient = 0
        if is_hard:
            # A compiler makes one kernel of the selection, and a GPU starts few kernels for it.
            one_formula = self.compiled or x.is_cuda
            focal = self.focal_by_selection if one_formula else self.focal_by_correction
            rows, gradient = focal(x, p, softplus, labels)
            loss = factors[0] * (rows * counted).sum()
            gradient = gradient.mul_(factors[0])
        if z is not None:
            terms, slope = self.distillation(x, at_least_float32(z), p, softplus, labels)
            distill = factors[1] * (terms.sum(1) * counted).sum()
            gradient = slope.mul_(factors[1]).add_(gradient)
        torch.mul(gradient, counted[:, None], out=out)
        return torch.stack([loss, distill])

    def focal_by_selection(self, x, p, softplus, labels) -> tuple[Tensor, Tensor]:
        """Focal loss of each row, (M,), and its derivative, (M, K)."""
        positive = labels[:, None] == torch.arange(x.shape[1], device=x.device)
        of_turned = torch.where(positive, 1 - p, p), torch.where(positive, softplus - x, softplus)
        loss, slope = focal_slope(*of_turned, self.focal_gamma)
        weight = torch.where(positive, self.positive_weight, self.negative_weight)
        turned_back = torch.where(positive, -self.positive_weight, self.negative_weight)
        return loss.mul_(weight).sum(1), slope.mul_(turned_back)

    def focal_by_correction(self, x, p, softplus, labels) -> tuple[Tensor, Tensor]:
        """The same in fewer steps over all elements, but more over some of them."""
        loss, slope = focal_slope(p, softplus, self.focal_gamma)
        rows = self.negative_weight * loss.sum(1)
        slope.mul_(self.negative_weight)
        # All terms were taken for background; put the one right that is not, in foreground rows.
        column = labels.clamp(0, x.shape[1] - 1)[:, None]
        turned = -x.gather(1, column)
        right, right_slope = focal_slope(turned.sigmoid(), F.softplus(turned), self.focal_gamma)
        change = self.positive_weight * right - self.negative_weight * loss.gather(1, column)
        slope_change = -self.positive_weight * right_slope - slope.gather(1, column)
        foreground = ((labels >= 0) & (labels < x.shape[1]))[:, None]
        slope.scatter_add_(1, column, slope_change * foreground)
        return rows + (change * foreground)[:, 0], slope

    def distillation(self, x, z, p, softplus, labels) -> tuple[Tensor, Tensor]:
        """Distillation loss of each element and its derivative, both (M, K)."""
        if self.slope:
            return self.slope(x, z, p, softplus, **self.options)
        x = x.detach().requires_grad_()
        background = torch.where(labels < 0, x.shape[1], labels)
        with torch.enable_grad():
            terms = self.plain(x, z, background, **self.options)
            (slope,) = torch.autograd.grad(terms.sum(), x)
        return terms.detach(), slope


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, losses: FusedClassLosses, teacher, labels, hard, soft, factors, *student):
        # float16 must wait for the loss scaler's factor; autograd casts what backward returns.
        kinds = [torch.float32 if x.dtype == torch.float16 else x.dtype for x in student]
        gradients = [  # not empty_like: rows lie in order
            x.new_empty(x.shape, dtype=kind) for x, kind in zip(student, kinds, strict=True)
        ]
        total = factors[0].new_zeros(2)
        of_level = labels.split([x.shape[1] for x in student], dim=1)
        for level, (x, gradient) in enumerate(zip(student, gradients, strict=True)):
            for images, is_hard, of_teacher in _kinds(len(x), hard, soft):
                if not (is_hard or of_teacher):
                    gradient[images] = 0
                    continue
                arguments = [x[images], of_level[level][images], gradient[images]]
                if of_teacher:
                    arguments.append(teacher[level][of_teacher])
                # A GPU's kernel writes nothing but the gradient, so that a whole level is a piece.
                for x_, labels_, out, *z in _pieces(arguments, losses.has_one_kernel(x)):
                    total += losses.of_piece(
                        x_, z[0] if z else None, labels_, is_hard, factors, out
                    )
        ctx.save_for_backward(*gradients)
        return total[0], total[1]

    @staticmethod
    @once_differentiable
    def backward(ctx, of_focal, of_distill):
        gradients = ctx.saved_tensors
        _check_alike(of_focal, of_distill)
        if of_focal.is_cuda or of_focal != 1:  # a GPU is not waited for
            for gradient in gradients:
                gradient.mul_(of_focal)
        return (None,) * 6 + gradients


def _check_alike(of_focal: Tensor, of_distill: Tensor) -> None:
    message = (
        "the focal loss and loss_distill_class share one gradient and must be added with equal "
        "weights; set SAD.DISTILL.CLASS.FUSED False to use them apart"
    )
    if of_focal.is_cuda:
        torch._assert_async(of_focal == of_distill, message)
    elif not torch.equal(of_focal, of_distill):
        raise RuntimeError(message)


def _kinds(
    num_images: int, hard: list[int], soft: list[int]
) -> Iterator[tuple[slice, bool, slice | None]]:
    """Runs of images with the same targets: (their slice of the batch, whether they have hard
    targets, their slice of the teacher's batch or None).
    """
    for (is_hard, is_soft), run in groupby(range(num_images), lambda i: (i in hard, i in soft)):
        first, *others = run
        length = 1 + len(others)
        start = soft.index(first) if is_soft else None
        yield (
            slice(first, first + length),
            is_hard,
            slice(start, start + length) if is_soft else None,
        )


def _pieces(tensors: list[Tensor], whole: bool = False) -> Iterator[tuple[Tensor, ...]]:
    """Equal rows of tensors (images, anchors, ...), as (rows, ...); the first has the logits."""
    flat = [tensor.flatten(0, 1) for tensor in tensors]
    size = flat[0].numel() if whole else PIECE.get(flat[0].device.type, PIECE["cuda"])
    rows = max(1, size // flat[0].shape[1])
    return zip(*(tensor.split(rows) for tensor in flat), strict=True)


def sum_in_pieces(function: Callable[[Tensor], Tensor], levels: list[Tensor]) -> Tensor:
    """The sum of function(logits) over all levels, without more memory than a piece."""
    return sum(function(piece) for level in levels for (piece,) in _pieces([level]))
