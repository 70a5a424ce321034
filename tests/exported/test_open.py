"""One way to all exported files."""

import pytest
import torch
from safetensors.torch import save_file

from exported_files import assert_same, batch, tame_teacher, write_onnx, write_weights
from sad.exported.open import is_exported, open_exported, read_card
from sad.utils.errors import UserError


@pytest.mark.slow
def test_every_format_is_opened_by_its_name(toy, tmp_path):
    model, cfg = tame_teacher(toy)
    images = batch((50, 70), (64, 64))
    for path in (
        write_onnx(model, cfg, tmp_path / "x.onnx", threshold=0.25),
        write_weights(model, cfg, tmp_path / "x.safetensors", threshold=0.25),
    ):
        assert is_exported(path)
        assert read_card(path).threshold == 0.25
        detector = open_exported(path)
        assert detector.class_names == detector.card.class_names == ["light", "dark"]
        for image in images:
            assert_same(detector([image]), model([image]))


def test_other_files_are_none(toy, tmp_path):
    bare = str(tmp_path / "bare.safetensors")
    save_file({"x": torch.zeros(1)}, bare)
    for path in (bare, toy.path("teacher.pth"), str(tmp_path / "absent.safetensors"), "", "x.pkl"):
        assert not is_exported(path)
        with pytest.raises(UserError):
            open_exported(path)
        with pytest.raises(UserError):
            read_card(path)
    assert is_exported("absent.onnx")  # a word on it is open_exported's to say
    with pytest.raises(UserError, match="absent.onnx does not exist"):
        open_exported("absent.onnx")
