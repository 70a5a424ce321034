"""The class term: the teacher's logits as soft targets (Eq. 2 to 8)."""

from functools import partial

import torch
from detectron2.config import CfgNode as CN
from torch import Tensor

from ..losses.distillation import (
    DISTILLATION_LOSSES,
    FORMS,
    agreed_outside,
    best_scores,
    foreground_count,
    options_of,
    teacher_power,
    top_alone,
)
from ..losses.fused import FusedClassLosses, sum_in_pieces
from ..utils.compat import can_compile_for
from ..utils.rules import above, at_least, one_of, within
from .term import Outputs, Targets, Term


class ClassTerm(Term):
    """ADL, or what LOSS names, of all anchors that the hard targets do not ignore."""

    need = frozenset({"logits"})
    RULES = Term.RULES | {
        "LOSS": one_of(*DISTILLATION_LOSSES),
        "GAMMA": at_least(0),
        "BETA": at_least(0),
        "FORM": one_of(*FORMS),
        "ALPHA": within(0, 1),
        "TOP": within(0, 1),
        "NORMALIZER": one_of("teacher_power", "foreground", "elements", "best_score"),
        "NORMALIZER_POWER": above(0),
        "COMPILE": one_of("gpu", "always", "never"),
    }

    @classmethod
    def add_keys(cls, node: CN) -> None:
        super().add_keys(node)
        # Factor of the term in Eq. 8, which the paper does not name; 0.5 is what the
        # released code's ALPHA makes of its factor 1.
        node.WEIGHT = 0.5
        # The loss of each class of each anchor: "adl" (Eq. 7), "kl" (Eq. 2), "fdl" (Eq. 4), "l2"
        # (squared difference of the logits) or "qfl" (|q - p|^GAMMA times the cross entropy).
        node.LOSS = "adl"
        # gamma and beta of Eq. 6. The released code writes 1 - beta, and has 0: a BETA of 1.0.
        node.GAMMA = 2.0
        node.BETA = 1.5
        # What the weight of Eq. 6 modulates: "kl" (Eq. 7) or "cross_entropy" (as released, ALPHA
        # balances its two halves).
        node.FORM = "kl"
        node.ALPHA = 0.5
        # Share of each image's anchors, those with the teacher's best scores, at which its scores
        # are learned; at the others they count as 0. A TOP of 0 learns them at all anchors.
        node.TOP = 0.0
        # The sum over anchors and classes is divided by "teacher_power" (the sum of
        # q^NORMALIZER_POWER, about how many anchors the teacher believes in), "foreground" (the
        # number of foreground anchors), "elements" (the number of summands: their mean) or
        # "best_score" (the sum over anchors of the largest q of an anchor).
        node.NORMALIZER = "teacher_power"
        node.NORMALIZER_POWER = 1.8
        # Focal and distillation loss and their gradient in one pass over the logits
        # (losses/fused.py). False computes them as written in losses/distillation.py, at several
        # times the memory and time.
        node.FUSED = True
        # Where torch.compile makes one kernel of the one pass, in some seconds: "gpu" (on a GPU, if
        # torch is 2.8 or newer, and Triton, a C compiler and Python's headers are there), "always"
        # (on a CPU it needs a C++ compiler) or "never". Nothing else is compiled.
        node.COMPILE = "gpu"

    @classmethod
    def idle_keys(cls, node: CN) -> dict[str, str]:
        idle = super().idle_keys(node)
        if node.FORM == "kl":
            idle["ALPHA"] = "FORM kl"
        if node.NORMALIZER != "teacher_power":
            idle["NORMALIZER_POWER"] = f"NORMALIZER {node.NORMALIZER}"
        if not node.FUSED:
            idle["COMPILE"] = "FUSED False"
        if node.LOSS == "l2":
            idle["TOP"] = "LOSS l2"  # a score of 0 has no logit
        read = options_of(node.LOSS) if node.LOSS in DISTILLATION_LOSSES else ()
        unread = {"GAMMA", "BETA", "FORM", "ALPHA"} - {option.upper() for option in read}
        return idle | {key: f"LOSS {node.LOSS}" for key in sorted(unread)}

    @classmethod
    def why_hard_targets(cls, node: CN) -> str:
        if node.LOSS == "fdl":
            return "LOSS fdl weights by hard targets"
        if node.NORMALIZER == "foreground":
            return "NORMALIZER foreground counts hard targets"
        return ""

    def __init__(self, options: CN, max_iter: int):
        super().__init__(options, max_iter)
        self.kernel = {key.lower(): options[key] for key in ("GAMMA", "BETA", "FORM", "ALPHA")}
        self.loss = partial(DISTILLATION_LOSSES[options.LOSS], **self.kernel)

    def attach(self, adapter, student, teacher) -> None:
        if self.options.FUSED:
            self.fused = FusedClassLosses(
                self.options.LOSS,
                focal_alpha=student.focal_loss_alpha,
                focal_gamma=student.focal_loss_gamma,
                top=self.options.TOP,
                compiled=self._is_compiled(student.device),
                **self.kernel,
            )

    def _is_compiled(self, device: torch.device) -> bool:
        if self.options.COMPILE == "gpu":
            return can_compile_for(device)
        return self.options.COMPILE == "always"

    def divisor(self, teacher: Outputs, targets: Targets) -> Tensor:
        if self.options.NORMALIZER == "teacher_power":
            power = partial(teacher_power, power=self.options.NORMALIZER_POWER)
            return sum_in_pieces(power, top_alone(teacher.logits, self.options.TOP))
        if self.options.NORMALIZER == "best_score":
            return best_scores(top_alone(teacher.logits, self.options.TOP)).sum()
        if self.options.NORMALIZER == "foreground":
            return foreground_count(targets.labels, targets.num_classes)
        return (targets.labels >= 0).sum() * targets.num_classes

    def forward(self, student: Outputs, teacher: Outputs, targets: Targets) -> Tensor:
        used = targets.labels >= 0
        theirs = top_alone(teacher.logits, self.options.TOP)
        theirs = agreed_outside(theirs, student.logits, range(len(used)), teacher.inside)
        return self.loss(
            torch.cat(student.logits, dim=1)[used],
            torch.cat(theirs, dim=1)[used],
            targets.labels[used],
        ).sum()
