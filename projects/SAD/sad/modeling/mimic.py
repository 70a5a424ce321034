"""Feature mimic: L2 between the FPN maps of student and teacher (Table 1's baseline)."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.distillation import at_least_float32


class FeatureMimic(nn.Module):
    """Mean squared difference of the FPN maps, after 1x1 adapters where the channels differ.

    The adapters train with the student as a part of it, but are no part of its state: a checkpoint
    keeps them in a section of their own, and the student's stays a plain RetinaNet.
    """

    def __init__(self, student_channels: list[int], teacher_channels: list[int]):
        """
        Args:
            student_channels, teacher_channels: of each FPN level.
        """
        super().__init__()
        self.adapters = nn.ModuleList(
            nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1)
            for ours, theirs in zip(student_channels, teacher_channels, strict=True)
        )
        self.register_load_state_dict_post_hook(_expect_nothing_from_the_student)

    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """
        Args:
            student, teacher: (N, C, h, w) maps of each level; C may differ between the two.
        Returns:
            the mean over the levels of the mean over all elements of a level.
        """
        levels = [
            F.mse_loss(adapter(at_least_float32(x)), at_least_float32(z))
            for adapter, x, z in zip(self.adapters, student, teacher, strict=True)
        ]
        return sum(levels) / len(levels)

    def state_dict(self, *args, prefix="", destination=None, **kwargs):
        if prefix:  # asked for by the student
            return destination
        return super().state_dict(*args, **kwargs)


def _expect_nothing_from_the_student(module, incompatible_keys) -> None:
    names = [name for name, _ in module.named_parameters()]
    incompatible_keys.missing_keys[:] = [
        key
        for key in incompatible_keys.missing_keys
        if key in names or not key.endswith(tuple(f"mimic.{name}" for name in names))
    ]
