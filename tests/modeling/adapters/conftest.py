"""Images of several sizes, as an evaluation hands them to a detector."""

import pytest
import torch


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randint(256, (3, *size), dtype=torch.uint8, generator=generator),
            "height": 2 * size[0],
            "width": 3 * size[1],
        }
        for size in [(64, 64), (48, 64), (64, 40)]
    ]
