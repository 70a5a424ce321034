"""What a distiller knows of a batch before the student's forward."""

from dataclasses import dataclass

from detectron2.structures import ImageList, Instances
from torch import Tensor

from ..terms.term import Outputs, Targets


@dataclass
class PreparedBatch:
    """All that the losses of N images need besides the student's outputs."""

    images: ImageList
    targets: Targets
    foreground: int  # anchors that are to find an object
    factors: dict[str, float]  # of each term, at this iteration
    soft: list[int]  # positions in the batch of the S images with soft targets; none at factors 0
    teacher: Outputs | None = None  # of these S images
    normalizer: float = 1.0  # of the detection losses
    divisors: dict[str, Tensor | float] | None = None  # of each term

    def shared(self) -> dict[int, Instances]:
        """The teacher's proposals, where it was asked for any, by the image's position."""
        proposals = self.teacher and self.teacher.proposals
        return dict(zip(self.soft, proposals, strict=True)) if proposals else {}
