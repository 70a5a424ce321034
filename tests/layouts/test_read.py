"""Labels of each layout, with what is odd in real sets, are read as what is true of them."""

import shutil

import pytest
import yaml

import layouts_made as made
from sad.layouts.read import read_folder, read_labels
from sad.utils.errors import UserError
from users_data import CLASSES, boxes_of, make_images, write_coco, write_voc, write_yolo

PATHS = {"coco": ("", "labels.json"), "yolo": ("", "data.yaml"), "voc": ("", "Annotations")}


@pytest.fixture(scope="module", params=list(made.MAKERS))
def odd(request, tmp_path_factory):
    """(layout, folder, what is true): read-only."""
    folder = tmp_path_factory.mktemp("odd")
    return request.param, folder, made.MAKERS[request.param](folder)


def test_odd_sets_are_read_right_or_what_is_left_out_is_named(odd):
    layout, folder, truth = odd
    for inner in PATHS[layout]:
        labels = read_labels(str(folder / inner))
        for image in labels.images:  # VOC's folder holds that of its images
            image["file_name"] = image["file_name"].removeprefix("JPEGImages/")
        made.check(labels, truth)
        assert "nobody.jpg" in {name.rpartition("/")[2] for name in labels.unlabeled}


def folder_of(path, layout, inner="{part}"):
    """train, valid, test and unlabelled images below a folder, as exporters write them."""
    for seed, part in enumerate(("train", "valid", "test")):
        below = path / inner.format(part=part)
        truth = make_images(below / "images" if layout == "yolo" else below, 3 + seed, seed)
        if layout == "coco":
            write_coco(below / "_annotations.coco.json", truth)
        elif layout == "yolo":
            write_yolo(below, truth)
        else:
            write_voc(below, truth)
    make_images(path / "unlabeled", 2, seed=9)
    return path


@pytest.mark.parametrize("layout", ["coco", "yolo", "voc"])
def test_a_folder_that_holds_all(layout, tmp_path):
    found = read_folder(str(folder_of(tmp_path / "all", layout)))
    assert found.pop("unlabeled") == str(tmp_path / "all" / "unlabeled")
    assert {name: len(labels.images) for name, labels in found.items()} == {
        "train": 3,
        "val": 4,
        "test": 5,
    }
    assert len({tuple(labels.classes) for labels in found.values()}) == 1


def test_parts_that_a_yaml_lists(tmp_path):
    for seed, part in enumerate(("train", "val")):
        truth = make_images(tmp_path / "images" / part, 3 + seed, seed)
        write_yolo(tmp_path / "made" / part, truth)
        shutil.move(tmp_path / "made" / part / "labels", tmp_path / "labels" / part)
    content = {"names": CLASSES, "train": "images/train", "val": "images/val", "path": "/elsewhere"}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(content))
    shutil.rmtree(tmp_path / "made")
    found = read_folder(str(tmp_path))
    assert {name: len(x.images) for name, x in found.items()} == {"train": 3, "val": 4}
    assert len(read_labels(str(tmp_path / "data.yaml"), part="val").images) == 4
    assert read_folder(str(tmp_path / "data.yaml")).keys() == found.keys()


def test_a_folder_without_parts_is_one_set(tmp_path):
    write_yolo(tmp_path, make_images(tmp_path / "images", 3, seed=1))
    assert list(read_folder(str(tmp_path))) == ["train"]
    with pytest.raises(UserError, match="is no folder"):
        read_folder(str(tmp_path / "absent"))


def test_one_truth_in_three_layouts(tmp_path):
    truth = make_images(tmp_path / "images", 12, seed=7)
    paths = [
        write_coco(tmp_path / "labels.json", truth),
        write_yolo(tmp_path, truth),
        write_voc(tmp_path, truth),
    ]
    found = [boxes_of(read_labels(str(path), str(tmp_path / "images"))) for path in paths]
    assert found[0] == found[1] == found[2] == {name: sorted(x) for name, x in truth.items()}
