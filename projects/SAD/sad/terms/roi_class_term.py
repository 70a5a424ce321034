"""The class term of two-stage detectors: the teacher's scores of the regions that the student has
sampled (TAR).
"""

import torch
from detectron2.config import CfgNode as CN
from detectron2.utils.events import get_event_storage
from torch import Tensor

from ..losses.regions import CLASS_GATES, CLASS_LOSSES
from ..utils.rules import above, one_of
from .regions import Regions
from .term import Outputs, Targets, Term


class ROIClassTerm(Term):
    """The mean of LOSS over the regions that PROPOSALS names; 0 where there are none."""

    need = frozenset({"roi_logits"})
    RULES = Term.RULES | {
        "LOSS": one_of(*CLASS_LOSSES),
        "TEMPERATURE": above(0),
        "PROPOSALS": one_of(*CLASS_GATES),
    }

    @classmethod
    def add_keys(cls, node: CN) -> None:
        super().add_keys(node)
        # DeFeat's for bce; it has 2 for kl, which is a sum over the classes.
        node.WEIGHT = 10.0
        # The loss of each region: "bce" (binary cross entropy of each class's probability, the mean
        # over classes and background), "kl" (of the distribution over them) or "l2" (squared
        # difference of the logits, the mean over them).
        node.LOSS = "bce"
        # Logits are divided by it and the loss multiplied by its square.
        node.TEMPERATURE = 1.0
        # The regions that are learned: foreground ("fg"), foreground where the teacher decides for
        # the right class ("fg_teacher_right") or gives it more than the student does
        # ("fg_teacher_better"), all where it is right ("teacher_right"), or "all".
        node.PROPOSALS = "fg"

    @classmethod
    def idle_keys(cls, node: CN) -> dict[str, str]:
        idle = super().idle_keys(node)
        return idle if node.LOSS == "kl" else idle | {"TEMPERATURE": f"LOSS {node.LOSS}"}

    def attach(self, adapter, student, teacher) -> None:
        self.sigmoid = student.roi_heads.box_predictor.use_sigmoid_ce

    def forward(self, student: Outputs, teacher: Outputs, targets: Targets) -> Tensor:
        ours, theirs = (torch.cat(outputs.roi_logits) for outputs in (student, teacher))
        classes = Regions.of(targets).classes
        chosen = CLASS_GATES[self.options.PROPOSALS](ours, theirs, classes, self.sigmoid)
        count = int(chosen.sum())
        storage = get_event_storage()
        storage.put_scalar("roi_class/num_learned", count / len(targets.labels))
        pair, how = (ours[chosen], theirs[chosen]), {"sigmoid": self.sigmoid}
        if count:  # 0 where both agree, while bce has the teacher's entropy for its least value
            kl = CLASS_LOSSES["kl"](*(x.detach() for x in pair), temperature=1.0, **how)
            storage.put_scalar("roi_class/kl", kl.mean())
        loss = CLASS_LOSSES[self.options.LOSS](*pair, temperature=self.options.TEMPERATURE, **how)
        return len(targets.labels) * loss.sum() / max(1, count)
