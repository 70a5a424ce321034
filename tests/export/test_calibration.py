"""Which images int8 is calibrated on."""

import pytest
import torch
from PIL import Image

from sad.export import calibration
from sad.export.calibration import calibration_images
from sad.utils.errors import UserError


def test_a_folder_or_the_unlabelled_set(toy, monkeypatch):
    cfg = toy.cfg("SAD.yaml")
    for found in (
        list(calibration_images(cfg)),
        list(calibration_images(toy.cfg("teacher.yaml"), toy.path("unlabeled"))),
    ):
        assert len(found) == 6
        assert {x.dtype for x in found} == {torch.uint8}
        assert all(x.shape[0] == 3 and min(x.shape[1:]) <= 64 for x in found)
    monkeypatch.setattr(calibration, "MOST", 4)
    assert len(list(calibration_images(cfg))) == 4


def test_what_cannot_be_read_is_left_out(toy, tmp_path, log):
    (tmp_path / "a.png").write_bytes(b"no image")
    Image.new("RGB", (64, 48)).save(tmp_path / "b.png")
    cfg = toy.cfg("teacher.yaml")
    assert len(list(calibration_images(cfg, str(tmp_path)))) == 1
    assert any("a.png is left out" in line for line in log)
    (tmp_path / "b.png").unlink()
    with pytest.raises(UserError, match="none of the images"):
        list(calibration_images(cfg, str(tmp_path)))


def test_without_images_it_is_said_at_once(toy, tmp_path):
    cfg = toy.cfg("teacher.yaml")
    with pytest.raises(UserError, match="DATASETS.UNLABELED names none"):
        calibration_images(cfg)
    with pytest.raises(UserError, match="no images"):
        calibration_images(cfg, str(tmp_path))
