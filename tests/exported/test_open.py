"""One way to all exported files."""

import pytest
import torch
from safetensors.torch import save_file

from exported_files import assert_same, batch, tame_teacher, write_onnx, write_weights
from sad.config.load import get_sad_cfg
from sad.exported.open import check_as_card, is_exported, open_exported, read_card
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


def test_a_suffix_may_have_capitals(toy, tmp_path):
    path = write_onnx(*tame_teacher(toy), tmp_path / "X.ONNX")
    assert is_exported(path) and read_card(path).class_names == ["light", "dark"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INPUT.FORMAT", "RGB"),
        ("MODEL.PIXEL_MEAN", [0.0, 0.0, 0.0]),
        ("MODEL.PIXEL_STD", [58.0, 57.0, 57.0]),
    ],
)
def test_weights_with_a_card_go_into_a_network_of_the_same_pixels(toy, tmp_path, key, value):
    path = write_weights(*tame_teacher(toy), tmp_path / "x.safetensors")
    config = toy.path("teacher.yaml")
    check_as_card(get_sad_cfg(config, ["INPUT.MIN_SIZE_TEST", 32]), path)
    other = get_sad_cfg(config, [key, value])
    check_as_card(other, toy.path("teacher.pth"))  # which says nothing of them
    with pytest.raises(UserError, match=key):
        check_as_card(other, path)
