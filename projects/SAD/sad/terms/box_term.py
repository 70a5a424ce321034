"""The box term: the teacher's boxes, anchor by anchor, as far as it believes in an object there."""

import torch
from detectron2.config import CfgNode as CN
from detectron2.structures import Boxes
from detectron2.structures.boxes import matched_pairwise_iou
from torch import Tensor

from ..losses.boxes import BOX_LOSSES
from ..losses.distillation import best_scores
from ..utils.rules import at_least, one_of
from .term import Outputs, Targets, Term


class BoxTerm(Term):
    """Sum over anchors of m l(student's box, teacher's box), divided by the sum of m.

    m is the teacher's largest class score at the anchor, l is what LOSS names. All anchors count,
    also those that the hard targets ignore; with ANCHORS better, the foreground anchors alone are
    in the divisor, and of these the better ones in the sum.
    """

    need = frozenset({"logits", "deltas"})
    need_of_student = frozenset({"deltas"})
    RULES = Term.RULES | {
        "LOSS": one_of(*BOX_LOSSES),
        "SMOOTH_L1_BETA": at_least(0),
        "ANCHORS": one_of("all", "better"),
    }

    @classmethod
    def add_keys(cls, node: CN) -> None:
        super().add_keys(node)
        # The loss of each anchor: "giou" (1 - GIoU of the two boxes) or "smooth_l1" (of the four
        # deltas that the two heads emit).
        node.LOSS = "giou"
        # Where the smooth L1 loss turns from a parabola to a line; 0 is the plain L1 loss.
        node.SMOOTH_L1_BETA = 0.0
        # "all" anchors, or of the foreground anchors those where the teacher's box is "better":
        # it overlaps with the hard target's box more than the student's does.
        node.ANCHORS = "all"

    @classmethod
    def idle_keys(cls, node: CN) -> dict[str, str]:
        idle = super().idle_keys(node)
        return idle if node.LOSS == "smooth_l1" else idle | {"SMOOTH_L1_BETA": f"LOSS {node.LOSS}"}

    @classmethod
    def why_hard_targets(cls, node: CN) -> str:
        if node.ANCHORS == "better":
            return "ANCHORS better compares with hard targets"
        return ""

    def attach(self, adapter, student, teacher) -> None:
        self.transform = student.box2box_transform

    def divisor(self, teacher: Outputs, targets: Targets) -> Tensor:
        belief = best_scores(teacher.logits)
        return belief.sum() if self.options.ANCHORS == "all" else belief[targets.foreground].sum()

    def forward(self, student: Outputs, teacher: Outputs, targets: Targets) -> Tensor:
        ours, theirs = (torch.cat(outputs.deltas, dim=1) for outputs in (student, teacher))
        anchors = Boxes.cat(targets.anchors).tensor.expand_as(ours)
        belief = best_scores(teacher.logits)
        if self.options.ANCHORS == "better":
            used = self._better(ours, theirs, anchors, targets)
            ours, theirs, anchors, belief = (x[used] for x in (ours, theirs, anchors, belief))
        loss = BOX_LOSSES[self.options.LOSS](
            ours.reshape(-1, 4),
            theirs.reshape(-1, 4),
            anchors.reshape(-1, 4),
            self.transform,
            beta=self.options.SMOOTH_L1_BETA,
        )
        return (belief.flatten() * loss).sum()

    @torch.no_grad()
    def _better(self, ours: Tensor, theirs: Tensor, anchors: Tensor, targets: Targets) -> Tensor:
        """(S, R), whether the teacher's box fits better; only where there is one to fit."""
        better = torch.zeros_like(targets.foreground)
        for image, boxes in zip(targets.hard, targets.boxes, strict=True):
            of_object = targets.foreground[image]
            truth = Boxes(boxes[of_object])
            overlaps = [
                matched_pairwise_iou(
                    Boxes(
                        self.transform.apply_deltas(
                            deltas[image, of_object], anchors[image, of_object]
                        )
                    ),
                    truth,
                )
                for deltas in (ours, theirs)
            ]
            better[image, of_object] = overlaps[1] > overlaps[0]
        return better
