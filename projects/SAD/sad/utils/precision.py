"""The numbers that a network may compute in."""

import torch

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """In which a network computes in these numbers.

    Args:
        precision: a name in PRECISIONS.
    """
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
