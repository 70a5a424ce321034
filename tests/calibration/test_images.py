"""Held-out images without those that were trained on; unlabelled ones drawn by lot."""

import shutil

import pytest

from judged_teacher import untrained
from sad.calibration.images import draw_unlabeled, read_held_out
from sad.config.load import get_sad_cfg
from sad.data.datasets import register_from_config

NAMES = ["light", "dark"]


@pytest.fixture
def cfg(toy, tmp_path):
    config, labeled = untrained(toy, tmp_path)
    cfg = get_sad_cfg(config)
    register_from_config(cfg)
    return cfg, labeled


def test_held_out(toy, cfg):
    cfg, labeled = cfg
    json_file = toy.path("annotations/labeled.json")
    found = read_held_out(cfg, json_file, toy.path("labeled"), labeled, NAMES)
    assert len(found.images) == 6 and found.trained_on == 0
    assert [category["name"] for category in found.categories] == NAMES
    some = found.only(found.images[:2])
    assert len(some.images) == 2
    assert {x["image_id"] for x in some.labels} <= {x["image_id"] for x in some.images}


def test_drawn_images(toy, cfg, tmp_path):
    cfg, labeled = cfg
    root = tmp_path / "more"
    shutil.copytree(toy.path("unlabeled"), root)
    (root / "broken.png").write_bytes(b"none")
    shutil.copy(next((root).glob("*.png")), tmp_path / "known.png")
    known = {"val": [str(tmp_path / "known.png")]}
    found = draw_unlabeled(cfg, str(root), None, labeled, known, 99, 0)
    paths = {image["file_name"] for image in found.images}
    assert str(root / "broken.png") in found.unreadable
    assert len(paths) + len(found.unreadable) == found.total
    few = [draw_unlabeled(cfg, str(root), None, labeled, known, 2, seed) for seed in (0, 0, 1)]
    assert few[0] == few[1] and len(few[0].images) + len(few[0].unreadable) == 2
    assert found.left_out >= 1
