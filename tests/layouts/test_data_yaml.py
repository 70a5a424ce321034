"""YOLO's data.yaml: names in all forms, and paths that were written on other machines."""

import pytest
import yaml

from sad.layouts.data_yaml import images_of, is_there, names_for, names_in, read_names
from sad.utils.errors import UserError
from users_data import make_images


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, no, 3]", {0: "cat", 1: "no", 2: "3"}),
        ("names: {0: cat, 2: dog}", {0: "cat", 2: "dog"}),
        ("names:\n  1: b\n  0: a", {1: "b", 0: "a"}),
    ],
)
def test_names(text, names, tmp_path):
    (tmp_path / "data.yaml").write_text(text)
    assert read_names(str(tmp_path / "data.yaml")) == names
    assert names_in(str(tmp_path)) == str(tmp_path / "data.yaml")
    below = tmp_path / "images" / "train"
    below.mkdir(parents=True)
    assert names_for(str(below)) == str(tmp_path / "data.yaml")


def test_names_a_line(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert read_names(names_in(str(tmp_path))) == {0: "cat", 1: "dog"}


@pytest.mark.parametrize("text", ["train: x", "names: 3", "names: {a: b}", "[1, 2]", "names: ["])
def test_yamls_without_names(text, tmp_path):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError, match="data.yaml"):
        read_names(str(tmp_path / "data.yaml"))
    with pytest.raises(UserError, match="nothing names the classes|names"):
        read_names(names_for(str(tmp_path)))


@pytest.mark.parametrize(
    "train",
    [
        "images/train",
        "../images/train",
        "C:\\data\\set\\images\\train",
        "/home/me/set/images/train",
        ["images/train"],
        "train.txt",
    ],
)
def test_paths(train, tmp_path):
    make_images(tmp_path / "images" / "train", 3, seed=1)
    make_images(tmp_path / "images" / "val", 2, seed=2)
    (tmp_path / "train.txt").write_text("".join(f"./images/train/1_00{n}.png\n" for n in range(4)))
    content = {"names": ["a"], "train": train, "val": "images/val", "test": "images/nowhere"}
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump(content))
    index, among, absent = images_of(str(path), "train")
    assert [name.rpartition("/")[2] for name in among] == [f"1_00{n}.png" for n in range(3)]
    assert len(absent) == (1 if train == "train.txt" else 0)
    assert is_there(str(path), "val") and not is_there(str(path), "test")
    with pytest.raises(UserError, match="test is images/nowhere"):
        images_of(str(path), "test")
