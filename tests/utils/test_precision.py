"""The numbers a network may compute in, by name."""

import pytest
import torch

from sad.utils.precision import PRECISIONS


@pytest.mark.parametrize(("name", "bits"), [("float32", 32), ("bfloat16", 16), ("float16", 16)])
def test_a_name_is_torchs(name, bits):
    assert PRECISIONS[name] is getattr(torch, name)
    assert torch.finfo(PRECISIONS[name]).bits == bits
