"""Focal and distillation loss of the class logits with their gradient: as written, and in one pass.

"plain" is the readable way, the expressions of `sad.losses.distillation` and Detectron2's
focal loss, in float32 with autograd. "lean" is what a careful user writes: one expression of
the logits, no masks copied, everything once. The floor is the memory traffic that no way can do
without: both logits are read, the gradient is written.
"""

import torch
import torch.nn.functional as F
from fvcore.nn import sigmoid_focal_loss

from ...losses.distillation import adaptive_distillation_loss
from ...losses.fused import FusedClassLosses
from ...utils.clock import take_turns
from .timing import Options, Table, compare, peak_memory

ALPHA, FOCAL_GAMMA, GAMMA, BETA = 0.25, 2.0, 2.0, 1.5
FACTORS = 0.01, 0.005
# (images, anchors of each level, classes): 2 x 1.5e7 logits, and COCO at 600 x 800 pixels with
# batch 16 on one GPU, 2 x 1.2e8.
SIZES = {"small": (8, (17856, 4464, 1116), 80), "coco": (16, (67500, 17100, 4275, 1170, 315), 80)}


def make_batch(size: str, device: str):
    """Student's and teacher's logits of each level and the labels, as in the middle of training."""
    images, anchors, classes = SIZES[size]
    generator = torch.Generator(device).manual_seed(0)

    def logits():
        return [
            2 * torch.randn(images, n, classes, device=device, generator=generator) - 5
            for n in anchors
        ]

    labels = torch.full((images, sum(anchors)), classes, device=device)
    lot = torch.rand(labels.shape, device=device, generator=generator)
    labels[lot < 0.004] = -1
    foreground = lot > 0.997
    labels[foreground] = torch.randint(
        classes, (int(foreground.sum()),), device=device, generator=generator
    )
    return logits(), logits(), labels


def plain(student, teacher, labels):
    """As Detectron2's RetinaNet.losses and `sad.terms.class_term` write it."""
    x, z = torch.cat(student, dim=1), torch.cat(teacher, dim=1)
    counted = labels >= 0
    target = F.one_hot(labels[counted], x.shape[-1] + 1)[:, :-1].to(x.dtype)
    focal = sigmoid_focal_loss(x[counted], target, ALPHA, FOCAL_GAMMA, "sum")
    distill = adaptive_distillation_loss(x[counted], z[counted], gamma=GAMMA, beta=BETA)
    return FACTORS[0] * focal + FACTORS[1] * distill.sum()


def lean(student, teacher, labels):
    """Level by level, in terms of the logits alone, each of softplus and sigmoid computed once."""
    total = 0
    of_level = labels.split([level.shape[1] for level in student], dim=1)
    for x, z, label in zip(student, teacher, of_level, strict=True):
        counted = (label >= 0)[..., None]
        positive = label[..., None] == torch.arange(x.shape[-1], device=x.device)
        p, softplus, q = x.sigmoid(), F.softplus(x), z.sigmoid()
        cross_entropy = torch.where(positive, softplus - x, softplus)
        missing = torch.where(positive, 1 - p, p)
        balance = torch.where(positive, ALPHA, 1 - ALPHA)
        focal = balance * missing.square() * cross_entropy
        entropy = F.softplus(z) - q * z
        kl = softplus - q * x - entropy
        distill = torch.expm1(-(kl + BETA * entropy)).square() * kl
        total = total + ((FACTORS[0] * focal + FACTORS[1] * distill) * counted).sum()
    return total


def one_pass(compiled: bool):
    losses = FusedClassLosses(
        "adl",
        focal_alpha=ALPHA,
        focal_gamma=FOCAL_GAMMA,
        compiled=compiled,
        gamma=GAMMA,
        beta=BETA,
        form="kl",
    )

    def way(student, teacher, labels):
        everything = list(range(len(labels)))
        return sum(losses(student, teacher, labels, everything, everything, *FACTORS))

    return way


def run(options: Options) -> Table:
    student, teacher, labels = make_batch(options.size, options.device)
    student = [level.requires_grad_() for level in student]
    ways = {
        "plain": plain,
        "lean": lean,
        "lean, torch.compile": torch.compile(lean),
        "one pass": one_pass(compiled=False),
        "one pass, torch.compile": one_pass(compiled=True),
    }
    gradients = {}

    def arm(way):
        def step():
            for level in student:
                level.grad = None
            way(student, teacher, labels).backward()

        return step

    outs = [torch.empty_like(level) for level in student]

    def floor():
        for x, z, out in zip(student, teacher, outs, strict=True):
            torch.add(x.detach(), z, out=out)

    arms = {name: arm(way) for name, way in ways.items()}
    for name, function in arms.items():
        function()
        gradients[name] = torch.cat([level.grad for level in student], dim=1)
    times = take_turns(
        {**arms, "floor: read both, write one": floor}, options.rounds, options.device
    )
    rows = compare(times, "plain")
    logits_tensor = sum(level.numel() * level.element_size() for level in student)
    exact = gradients["plain"]
    for name, function in arms.items():
        for level in student:
            level.grad = None
        memory = peak_memory(function, options.device)
        rows[name]["peak memory, logits tensors"] = memory / logits_tensor
        rows[name]["largest gradient error"] = (
            (gradients[name] - exact).abs().max() / exact.abs().max()
        ).item()
    millions = sum(level.numel() for level in student) / 1e6
    return Table(
        "Losses of the class logits and their gradient",
        rows,
        [f"2 x {millions:.1f} million logits in float32.", *__doc__.split("\n\n")[1:]],
        options.rounds,
    )
