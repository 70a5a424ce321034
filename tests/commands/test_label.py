"""`sad label`: the sets that it is given, by name or as files."""

import pytest
from detectron2.data import DatasetCatalog

from sad.commands.label import json_and_images
from sad.data.datasets import data_path
from sad.utils.errors import UserError
from toy import REPOSITORY, run_script


def test_files_of_a_registered_set():
    json_file, image_root = json_and_images("digits_labeled")
    assert json_file == data_path("digits/annotations/labeled.json")
    assert image_root == data_path("digits/labeled")


def test_an_unknown_set_is_named():
    with pytest.raises(UserError, match="forms is no registered data set"):
        json_and_images("forms")


def test_a_set_without_a_json_is_named():
    DatasetCatalog.register("made_in_code", list)
    try:
        with pytest.raises(UserError, match="made_in_code was not registered from a COCO json"):
            json_and_images("made_in_code")
    finally:
        DatasetCatalog.remove("made_in_code")


def test_a_json_beside_a_registered_set(toy, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        run_script(
            *(monkeypatch, REPOSITORY / "scripts" / "label_unlabeled.py"),
            *("--config-file", toy.path("teacher.yaml"), "--weights", toy.path("teacher.pth")),
            *("--dataset", "toy_unlabeled", "--json", toy.path("annotations/image_info.json")),
            *("--output", tmp_path / "boxes.json"),
        )
    assert exit_.value.code == 2
    assert "--json goes with --images" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
