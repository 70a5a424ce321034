"""Options of an export that do not go together; the sentences are in tests/mistakes/export.py."""

import dataclasses

import pytest

from sad.export import request
from sad.export.request import SUFFIXES, Request, check
from sad.utils.errors import UserError


@pytest.fixture
def good(tmp_path):
    weights = tmp_path / "x.pth"
    weights.touch()
    return Request(
        config_file="x.yaml", weights=str(weights), format="onnx", output=str(tmp_path / "x.onnx")
    )


def test_what_goes_together_passes(good, monkeypatch):
    monkeypatch.setattr(request, "has_cpp_compiler", lambda: True)
    check(good)
    check(dataclasses.replace(good, int8=True, calibration_images="images", dtype="float32"))
    check(dataclasses.replace(good, nms=False))
    for kind, suffix in SUFFIXES.items():
        check(dataclasses.replace(good, format=kind, output=f"x{suffix}"))


def test_a_compiler_that_is_not_there_is_told_at_once(good, monkeypatch):
    monkeypatch.setattr(request, "has_cpp_compiler", lambda: False)
    with pytest.raises(UserError, match="needs a C"):
        check(dataclasses.replace(good, format="aotinductor", output="x.pt2"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"output": "x.pt2"},
        {"weights": "absent.pth"},
        {"format": "torch", "output": "x.pt2", "int8": True},
        {"format": "torch", "output": "x.pt2", "nms": False},
        {"format": "safetensors", "output": "x.safetensors", "dtype": "float32"},
        {"int8": True, "nms": False},
        {"calibration_images": "images"},
    ],
)
def test_what_does_not_is_refused(good, wrong):
    with pytest.raises(UserError):
        check(dataclasses.replace(good, **wrong))
