"""What a data.yaml says, written on this machine or on another."""

import os

import pytest
from PIL import Image

import layouts_made as made
from sad.layouts.data_yaml import (
    images_of,
    is_listed,
    is_there,
    leads_somewhere,
    names_for,
    names_in,
    read_names,
)
from sad.utils.errors import UserError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, dog]", {0: "cat", 1: "dog"}),
        ("names:\n- no\n- 3\n- 'null'", {0: "no", 1: "3", 2: "null"}),
        ("names: {0: cat, 1: on}", {0: "cat", 1: "on"}),
        ("names: {1: cat, 5: dog}", {1: "cat", 5: "dog"}),
        ("\ufeffnc: 1\nnames: ['a: b']", {0: "a: b"}),
    ],
)
def test_names_are_texts_by_their_numbers(text, names, tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_names(str(path)) == names


def test_names_of_a_text_are_its_lines(tmp_path):
    (tmp_path / "obj.names").write_text("cat\r\nno dog\n\n")
    assert read_names(str(tmp_path / "obj.names")) == {0: "cat", 1: "no dog"}


@pytest.mark.parametrize(
    "text",
    [
        *("nc: 3", "names:", "names: []", "names: cat", "names: {a: cat}", "names: [[a], b]"),
        *("", "- a", "a: [", "a: !!python/object/apply:os.system [ls]\nnc: 1"),
    ],
)
def test_yamls_without_names_are_refused(text, tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="data.yaml") as raised:
        read_names(str(path))
    assert "\n" not in str(raised.value)


def test_the_file_of_names_is_found_here_or_above(tmp_path):
    inner = tmp_path / "labels" / "train"
    inner.mkdir(parents=True)
    (tmp_path / "hyp.yaml").write_text("lr: 1")
    assert names_in(str(tmp_path)) is None
    with pytest.raises(UserError, match="classes.txt"):
        names_for(str(inner))
    (tmp_path / "labels" / "classes.txt").write_text("cat")
    assert names_in(str(tmp_path)) == names_for(str(inner)) == str(tmp_path / "labels/classes.txt")
    (tmp_path / "pets.yml").write_text("names: [cat]")
    assert names_in(str(tmp_path)) == str(tmp_path / "pets.yml")
    (tmp_path / "cars.yaml").write_text("names: [car]")
    with pytest.raises(UserError, match="cars.yaml, pets.yml"):
        names_in(str(tmp_path))
    (tmp_path / "data.yaml").write_text("names: [cat]")
    assert names_in(str(tmp_path)) == str(tmp_path / "data.yaml")


@pytest.fixture
def sets(tmp_path):
    """A function that writes a data.yaml beside train/images and valid/images; its path."""
    for name in ("train/images/a.jpg", "train/images/s/b.jpg", "valid/images/c.jpg"):
        made.save(tmp_path / name, (8, 8), [])

    def write(text):
        (tmp_path / "data.yaml").write_text(f"names: [cat]\n{text}")
        return str(tmp_path / "data.yaml")

    return write


def found(path, part="train") -> set:
    index, among, absent = images_of(path, part)
    assert not absent
    root = os.path.dirname(path)
    return {os.path.relpath(os.path.join(index.root, name), root) for name in among}


TRAIN = {"train/images/a.jpg", "train/images/s/b.jpg"}


@pytest.mark.parametrize(
    "text",
    [
        *("train: train/images", "train: ../train/images", "train: ./train/images/"),
        *("train: C:\\Users\\me\\pets\\train\\images", "train: /home/me/pets/train/images"),
        *("path: ../nowhere\ntrain: train/images", "path: train\ntrain: images"),
        *("path: D:\\pets\ntrain: train\\images", "train: [train/images]"),
    ],
)
def test_paths_lead_to_what_lies_beside_the_yaml(text, sets):
    path = sets(text + "\nval: valid/images\ntest:")
    assert found(path) == TRAIN
    assert is_listed(path, "train") and not is_listed(path, "test")
    assert leads_somewhere(path) and is_there(path, "val") and not is_there(path, "test")


def test_several_folders_and_absolute_ones_are_one_set(sets, tmp_path):
    path = sets(f"train: [train/images/s, {tmp_path}/valid/images]")
    assert found(path) == {"train/images/s/b.jpg", "valid/images/c.jpg"}


def test_a_list_of_images_is_a_set(sets, tmp_path):
    path = sets("train: train.txt")
    lines = ["./train/images/a.jpg", f"{tmp_path}/valid/images/c.jpg", "D:\\x\\b.jpg"]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    assert found(path) == {"train/images/a.jpg", "valid/images/c.jpg", "train/images/s/b.jpg"}
    (tmp_path / "train.txt").write_text("a.jpg\ngone.jpg")
    assert images_of(path, "train")[1:] == (["train/images/a.jpg"], ["gone.jpg"])


@pytest.mark.parametrize("train", ["train.txt", "train/images", "train/images/s"])
def test_a_list_whose_folder_is_missing_takes_no_images_of_another_part(train, sets, tmp_path):
    path = sets(f"train: {train}\nval: val.txt")
    (tmp_path / "train.txt").write_text("./train/images/s/b.jpg")
    (tmp_path / "val.txt").write_text("./gone/s2/b.jpg\n./gone/s2/x.jpg\n./valid/images/c.jpg")
    made.save(tmp_path / "train/images/s/x.jpg", (8, 8), [])  # in a folder of train
    _, among, absent = images_of(path, "val")
    assert [name.rpartition("/")[2] for name in among] == ["c.jpg"]
    assert absent == ["./gone/s2/b.jpg", "./gone/s2/x.jpg"]


def test_paths_that_lead_nowhere_or_both_to_one_place_are_refused(sets):
    path = sets("train: elsewhere/pictures\nval: valid/images")
    with pytest.raises(UserError, match="elsewhere/pictures"):
        images_of(path, "train")
    assert found(path, "val") == {"valid/images/c.jpg"}
    path = sets("train: valid/images\nval: E:\\v\\valid\\images")
    with pytest.raises(UserError, match="train and val both lead"):
        images_of(path, "val")
    path = sets("train: valid/images\nval: valid/images")  # which the user means
    assert found(path, "val") == {"valid/images/c.jpg"}


@pytest.mark.parametrize("train", ["C:\\Users\\new\\set\\images\\train", "..\\new\\images\\train"])
def test_windows_paths_in_double_quotes(train, tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "train" / "a.png")
    (tmp_path / "data.yaml").write_text(f'names: [a]\ntrain: "{train}"\n')
    _, among, _ = images_of(str(tmp_path / "data.yaml"), "train")
    assert [name.rpartition("/")[2] for name in among] == ["a.png"]
