"""The box term of two-stage detectors: the teacher's boxes, in the regions where they are good
enough to be learned (TAR).
"""

import torch
from detectron2.config import CfgNode as CN
from detectron2.utils.events import get_event_storage
from torch import Tensor

from ..losses.boxes import BOX_LOSSES
from ..losses.regions import BOX_GATES, deltas_of_class, encoded_alike, overlaps
from ..utils.rules import at_least, one_of
from .regions import Regions
from .term import Outputs, Targets, Term


class ROIBoxTerm(Term):
    """The sum of LOSS over the foreground regions whose GATE is open, divided by DIVISOR.

    Student and teacher answer for the same regions, each with the box of the region's class.
    """

    need = frozenset({"roi_deltas"})
    RULES = Term.RULES | {
        "LOSS": one_of(*BOX_LOSSES),
        "SMOOTH_L1_BETA": at_least(0),
        "GATE": one_of(*BOX_GATES),
        "DIVISOR": one_of("all", "fg", "gated"),
    }

    @classmethod
    def add_keys(cls, node: CN) -> None:
        super().add_keys(node)
        # The loss of each region: "smooth_l1" (of the four deltas) or "giou" (1 - GIoU of the two
        # boxes).
        node.LOSS = "smooth_l1"
        # Where the smooth L1 loss turns from a parabola to a line; 0 is the plain L1 loss.
        node.SMOOTH_L1_BETA = 0.0
        # The teacher's box is learned where it overlaps with the object more than the region does
        # ("proposal", Eq. 5 of TAR as reported), more than the student's box does ("student"), more
        # than "both", or "always".
        node.GATE = "proposal"
        # The sum is divided by the number of all sampled regions ("all", as the detector's own box
        # loss), of the foreground ones ("fg") or of those whose gate is open ("gated").
        node.DIVISOR = "all"

    @classmethod
    def idle_keys(cls, node: CN) -> dict[str, str]:
        idle = super().idle_keys(node)
        return idle if node.LOSS == "smooth_l1" else idle | {"SMOOTH_L1_BETA": f"LOSS {node.LOSS}"}

    def attach(self, adapter, student, teacher) -> None:
        self.transform, self.transform_of_teacher = (
            model.roi_heads.box_predictor.box2box_transform for model in (student, teacher)
        )

    def forward(self, student: Outputs, teacher: Outputs, targets: Targets) -> Tensor:
        of_all = Regions.of(targets)
        foreground = of_all.classes < targets.num_classes
        regions = of_all.select(foreground)
        ours, theirs = (
            deltas_of_class(torch.cat(outputs.roi_deltas)[foreground], regions.classes)
            for outputs in (student, teacher)
        )
        theirs = encoded_alike(theirs, regions.boxes, self.transform_of_teacher, self.transform)
        gate = self._open_gates(ours.detach(), theirs, regions)
        counts = {"all": len(of_all), "fg": len(regions), "gated": int(gate.sum())}
        storage, images = get_event_storage(), len(targets.labels)
        storage.put_scalar("roi_box/num_foreground", counts["fg"] / images)
        # Of ground truth that was appended to the proposals the gate "proposal" is never open.
        storage.put_scalar("roi_box/open_gates", counts["gated"] / max(1, counts["fg"]))
        loss = BOX_LOSSES[self.options.LOSS](
            ours[gate],
            theirs[gate],
            regions.boxes[gate],
            self.transform,
            beta=self.options.SMOOTH_L1_BETA,
        )
        return images * loss.sum() / max(1, counts[self.options.DIVISOR])

    def _open_gates(self, ours: Tensor, theirs: Tensor, regions: Regions) -> Tensor:
        """(M,), from deltas (M, 4)."""
        boxes = [self.transform.apply_deltas(deltas, regions.boxes) for deltas in (theirs, ours)]
        found = [overlaps(x, regions.truth, regions.sizes) for x in (*boxes, regions.boxes)]
        # What a broken teacher says is to break the loss, not to shut the gate.
        broken = ~theirs.isfinite().all(dim=1)
        return broken | BOX_GATES[self.options.GATE](*found)
