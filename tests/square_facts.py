"""Facts of labelled images whose boxes are squares of one size."""

import dataclasses

import torch

from sad.pipeline.facts import Facts


def facts(side=640, box=100.0, count=300, **changes) -> Facts:
    """Square boxes of one size on square images."""
    rng = torch.Generator().manual_seed(0)
    corner = torch.rand(200, 2, generator=rng, dtype=torch.float64) * (side - box)
    boxes = torch.cat([corner, corner + box], dim=1)
    sizes = torch.full((200, 2), float(side), dtype=torch.float64)
    found = Facts(["cat", "dog"], count, 1000, boxes, sizes, side, most_boxes=5)
    return dataclasses.replace(found, **changes)
