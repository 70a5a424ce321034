"""Which layout a path has, and in which folder its images lie."""

import os
import shutil

import pytest

from sad.data.coco_json import CocoJson
from sad.layouts.recognise import coco_jsons, images_for, index_listed, recognise
from sad.utils.errors import UserError
from users_data import make_images, write_coco, write_voc, write_yolo


@pytest.fixture
def truth(tmp_path):
    return make_images(tmp_path / "images", 4, seed=6)


def test_each_layout_is_recognised(truth, tmp_path):
    path = write_coco(tmp_path / "coco" / "labels.json", truth)
    assert recognise(str(path)) == recognise(str(path.parent)) == "coco"
    shutil.copytree(tmp_path / "images", tmp_path / "yolo" / "images")
    path = write_yolo(tmp_path / "yolo", truth)
    assert recognise(str(path)) == recognise(str(path.parent)) == "yolo"
    folder = write_voc(tmp_path / "voc", truth)
    assert recognise(str(folder)) == "voc"


def test_two_layouts_in_one_folder(truth, tmp_path):
    write_yolo(tmp_path, truth)
    write_voc(tmp_path, truth)
    with pytest.raises(UserError, match="several layouts.*--layout yolo or --layout voc"):
        recognise(str(tmp_path))
    assert recognise(str(tmp_path), "voc") == "voc"


@pytest.mark.parametrize(
    ("path", "layout", "said"),
    [
        ("absent", None, "absent do not exist"),
        ("images", None, "no labels in"),
        ("images/6_000.png", None, "no json, yaml, xml or folder"),
        ("images", "coko", "'coko', it must be one of"),
        ("labels.json", "voc", "holds no Pascal VOC's xmls, it looks like a COCO json"),
    ],
)
def test_mistakes(path, layout, said, truth, tmp_path):
    write_coco(tmp_path / "labels.json", truth)
    with pytest.raises(UserError, match=said):
        recognise(str(tmp_path / path), layout)


@pytest.mark.parametrize("place", [".", "annotations", "images"])
def test_images_of_a_json(place, truth, tmp_path):
    path = str(write_coco(tmp_path / place / "labels.json", truth))
    assert index_listed(path, CocoJson.content_of(path)).names == sorted(truth)
    assert coco_jsons(os.path.dirname(path)) == [path]


def test_images_that_are_nowhere(truth, tmp_path):
    path = str(write_coco(tmp_path / "a" / "b" / "c" / "labels.json", truth))
    with pytest.raises(UserError, match="6_000.png.*--images"):
        index_listed(path, CocoJson.content_of(path))


def test_images_beside_labels(truth, tmp_path):
    write_voc(tmp_path, truth)
    assert images_for(str(tmp_path / "Annotations")) == str(tmp_path / "images")
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "images" / "train").mkdir()
    shutil.move(tmp_path / "images" / "6_000.png", tmp_path / "images" / "train")
    assert images_for(str(tmp_path / "labels" / "train")) == str(tmp_path / "images" / "train")
