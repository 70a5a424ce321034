"""The numbers a network may compute in, by name."""

import pytest
import torch

from sad.utils.precision import PRECISIONS, autocast


@pytest.mark.parametrize(("name", "bits"), [("float32", 32), ("bfloat16", 16), ("float16", 16)])
def test_a_name_is_torchs(name, bits):
    assert PRECISIONS[name] is getattr(torch, name)
    assert torch.finfo(PRECISIONS[name]).bits == bits


def test_a_network_computes_in_them():
    layer, image = torch.nn.Linear(2, 2), torch.zeros(1, 2)
    for name in ("float32", "bfloat16"):
        with autocast(image.device, name):
            assert layer(image).dtype is PRECISIONS[name]
