"""What a teacher that is given was trained on."""

import shutil

import pytest
from detectron2.config import CfgNode

from sad.config.load import get_sad_cfg
from sad.pipeline.data import read_data
from sad.pipeline.taught import find_taught
from users_data import make_images, user_with_both, write_coco


@pytest.fixture
def data(tmp_path):
    return read_data(**user_with_both(tmp_path))


def teacher(tmp_path, images):
    """The config of one that was trained on copies of these images."""
    folder = tmp_path / "taught"
    folder.mkdir()
    for name in images:
        shutil.copy(tmp_path / "images" / name, folder / f"its_{name}")
    truth = {f"its_{name}": [] for name in images}
    cfg = get_sad_cfg()
    cfg.DATASETS.TRAIN = ("mine",)
    json_file = str(write_coco(tmp_path / "taught.json", truth))
    cfg.DATASETS.REGISTER.mine = CfgNode({"JSON": json_file, "IMAGES": str(folder)})
    return cfg


def test_copies_count(data, tmp_path):
    names = [image["file_name"] for image in data.sets["train"].images]
    assert find_taught(data, teacher(tmp_path, names[3:7])) == {3, 4, 5, 6}
    assert not data.notes


def test_sets_that_it_has_seen_are_noted(data, tmp_path):
    truth = make_images(tmp_path / "images", 3, seed=9)
    data.sets["val"] = read_data(
        labeled=str(write_coco(tmp_path / "val.json", truth)), images=str(tmp_path / "images")
    ).sets["train"]
    assert find_taught(data, teacher(tmp_path, list(truth)[:2])) == set()
    (note,) = data.notes
    assert "2 of the 3 images of val" in note


def test_where_nobody_knows(data):
    cfg = get_sad_cfg()
    cfg.DATASETS.TRAIN = ("coco_2017_train",)
    for trained in (cfg, get_sad_cfg()):
        data.notes.clear()
        assert find_taught(data, trained) == set() and "not known" in data.notes[0]
