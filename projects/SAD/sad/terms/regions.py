"""The regions of a batch that a student of two stages has sampled, in one tensor of each kind."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .term import Targets


@dataclass
class Regions:
    """M regions of all images."""

    boxes: Tensor  # (M, 4), those that the second stages start from
    classes: Tensor  # (M,), K for background
    truth: Tensor  # (M, 4), the box of the region's object; without meaning for background
    sizes: Tensor  # (M, 2), height and width of the region's image

    @classmethod
    def of(cls, targets: Targets) -> "Regions":
        of_images = targets.regions
        return cls(
            torch.cat([x.proposal_boxes.tensor for x in of_images]),
            torch.cat([x.gt_classes for x in of_images]),
            torch.cat(
                [(x.gt_boxes if x.has("gt_boxes") else x.proposal_boxes).tensor for x in of_images]
            ),
            torch.cat(
                [x.gt_classes.new_tensor([x.image_size]).expand(len(x), 2) for x in of_images]
            ),
        )

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, chosen: Tensor) -> "Regions":
        """Those of a mask (M,)."""
        return Regions(*(each[chosen] for each in vars(self).values()))
