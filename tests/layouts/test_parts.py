"""Where train, val and test lie in a folder that holds all of them."""

import pytest

from sad.layouts.parts import image_sets, part_folders, part_jsons
from sad.utils.errors import UserError
from users_data import make_images, write_coco


def test_folders(tmp_path):
    for name in ("train", "Valid", "testing", "unlabelled", "other"):
        (tmp_path / name).mkdir()
    found = {name: path.rpartition("/")[2] for name, path in part_folders(str(tmp_path)).items()}
    assert found == {
        "train": "train",
        "val": "Valid",
        "test": "testing",
        "unlabeled": "unlabelled",
    }
    (tmp_path / "validation").mkdir()
    with pytest.raises(UserError, match="names of one set"):
        part_folders(str(tmp_path))


def test_folders_below_images(tmp_path):
    for name in ("images/train", "images/val", "labels/train"):
        (tmp_path / name).mkdir(parents=True)
    assert part_folders(str(tmp_path)) == {
        "train": str(tmp_path / "images" / "train"),
        "val": str(tmp_path / "images" / "val"),
    }


def test_jsons(tmp_path):
    truth = make_images(tmp_path / "images", 2, seed=1)
    for name in ("instances_train2017", "instances_val2017", "classes"):
        write_coco(tmp_path / "annotations" / f"{name}.json", truth)
    found = part_jsons(str(tmp_path))
    assert {name: path.rpartition("/")[2] for name, path in found.items()} == {
        "train": "instances_train2017.json",
        "val": "instances_val2017.json",
    }
    write_coco(tmp_path / "annotations" / "more_train.json", truth)
    with pytest.raises(UserError, match="several COCO jsons of one set"):
        part_jsons(str(tmp_path))


def test_lists_of_images(tmp_path):
    folder = tmp_path / "ImageSets" / "Main"
    folder.mkdir(parents=True)
    (folder / "trainval.txt").write_text("a\nb.jpg\n")
    (folder / "test.txt").write_text("c.1\n")
    assert image_sets(str(tmp_path)) == {"train": ["a", "b"], "test": ["c.1"]}
    (folder / "train.txt").write_text("a\n")
    assert image_sets(str(tmp_path))["train"] == ["a"]
