"""The sets of a folder are found by their names."""

import json

import pytest

from sad.layouts.parts import image_sets, part_folders, part_jsons
from sad.utils.errors import UserError


def test_folders_are_sets_by_their_names(tmp_path):
    for name in ("Train", "validation", "unlabelled", "other", "images/test"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "test").write_text("no folder")
    wanted = {"train": "Train", "val": "validation", "unlabeled": "unlabelled"}
    wanted = {name: str(tmp_path / folder) for name, folder in wanted.items()}
    assert part_folders(str(tmp_path)) == wanted
    (tmp_path / "labels").mkdir()
    assert part_folders(str(tmp_path)) == wanted | {"test": str(tmp_path / "images" / "test")}
    (tmp_path / "valid").mkdir()
    with pytest.raises(UserError, match="valid"):
        part_folders(str(tmp_path))


def test_jsons_are_sets_by_the_words_in_their_names(tmp_path):
    (tmp_path / "annotations").mkdir()
    for name in ("instances_train2017", "my-val", "latest", "constrained"):
        (tmp_path / "annotations" / f"{name}.json").write_text('{"images": [], "annotations": []}')
    (tmp_path / "annotations" / "image_info_test.json").write_text('{"images": []}')
    found = {name: path.rpartition("/")[2] for name, path in part_jsons(str(tmp_path)).items()}
    assert found == {"train": "instances_train2017.json", "val": "my-val.json"}
    (tmp_path / "train.json").write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(UserError, match="instances_train2017"):
        part_jsons(str(tmp_path))


def test_lists_of_voc_name_images_without_endings(tmp_path):
    place = tmp_path / "ImageSets" / "Main"
    place.mkdir(parents=True)
    assert image_sets(str(tmp_path)) == {}
    (place / "trainval.txt").write_text("a\nb.c.jpg\n\nfolder/d.PNG\n")
    (place / "cat_train.txt").write_text("a -1\n")
    assert image_sets(str(tmp_path)) == {"train": ["a", "b.c", "d"]}
    (place / "val.txt").write_text("d")
    assert image_sets(str(tmp_path)) == {"train": ["a", "b.c"], "val": ["d"]}
    (place / "train.txt").write_text("a")
    assert image_sets(str(tmp_path)) == {"train": ["a"], "val": ["d"]}
