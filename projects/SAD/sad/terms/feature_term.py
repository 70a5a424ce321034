"""The feature term: the teacher's FPN maps (Table 1's feature map mimic)."""

import torch
from torch import Tensor, nn

from ..losses.features import mean_squared_difference
from .term import Outputs, Targets, Term


class FeatureTerm(Term):
    """Mean squared difference of the FPN maps, after 1x1 layers where the channels differ."""

    need = frozenset({"features"})

    def attach(self, adapter, student, teacher) -> None:
        pairs = zip(adapter.channels(student), adapter.channels(teacher), strict=True)
        self.layers = nn.ModuleList(
            nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1)
            for ours, theirs in pairs
        ).to(student.device)

    def divisor(self, teacher: Outputs, targets: Targets) -> Tensor:
        return torch.tensor(len(targets.labels), device=targets.labels.device)

    def forward(self, student: Outputs, teacher: Outputs, targets: Targets) -> Tensor:
        ours = [layer(level) for layer, level in zip(self.layers, student.features, strict=True)]
        return len(targets.labels) * mean_squared_difference(ours, teacher.features)
