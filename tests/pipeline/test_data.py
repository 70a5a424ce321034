"""The user's images: read, split, kept apart, and written down."""

import json
import os
import shutil

import pytest
from PIL import Image

from sad.data.datasets import load_coco_set
from sad.pipeline.data import read_data, unlabeled_root, write_data
from sad.pipeline.split import split_off
from sad.pipeline.unlabeled import sift_unlabeled
from sad.utils.errors import UserError
from users_data import (
    CLASSES,
    make_images,
    names_of,
    user_with_both,
    write_coco,
    write_yolo,
)


def test_val_and_test_follow_the_classes_of_train(tmp_path):
    arguments = user_with_both(tmp_path)
    content = json.loads((tmp_path / "labels.json").read_text())
    content["categories"] = [{"id": 1, "name": "light"}, {"id": 2, "name": "dark"}]
    (tmp_path / "val.json").write_text(json.dumps(content))
    data = read_data(**arguments, val=str(tmp_path / "val.json"))
    assert data.sets["val"].classes == data.sets["train"].classes == CLASSES
    assert [x["category_id"] for x in data.sets["val"].annotations] == [
        3 - x["category_id"] for x in data.sets["train"].annotations
    ]
    content["categories"][0]["name"] = "bright"
    (tmp_path / "val.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="'light' and 'bright'"):
        read_data(**arguments, val=str(tmp_path / "val.json"))


def test_images_of_the_same_names_are_not_those_of_another_set(tmp_path):
    arguments = user_with_both(tmp_path)
    content = json.loads((tmp_path / "labels.json").read_text())
    for box in content["annotations"]:
        box["bbox"] = [1, 1, 2, 2]
    (tmp_path / "test.json").write_text(json.dumps(content))
    message = r"test\.json \(test\).*1_000.*another folder\? Give --data"
    with pytest.raises(UserError, match=message):
        read_data(**arguments, test=str(tmp_path / "test.json"))
    # One that was corrected is none of another folder, nor are boxes that were rounded.
    content = json.loads((tmp_path / "labels.json").read_text())
    for box in content["annotations"]:
        box["bbox"][0] += 0.5
    content["annotations"][0]["bbox"] = [1, 1, 2, 2]
    (tmp_path / "test.json").write_text(json.dumps(content))
    assert read_data(**arguments, test=str(tmp_path / "test.json")).sets["test"].images


def test_images_of_val_lie_beside_its_labels_first(tmp_path):
    """Also where those to train on have the same names."""
    arguments = user_with_both(tmp_path)
    names = sorted(os.listdir(tmp_path / "images"))[:5]
    truth = make_images(tmp_path / "val" / "made", 5, seed=7)
    for one, name in zip(sorted(truth), names, strict=True):
        os.rename(tmp_path / "val" / "made" / one, tmp_path / "val" / name)
    renamed = dict(zip(names, (truth[x] for x in sorted(truth)), strict=True))
    labels = write_coco(tmp_path / "val" / "labels.json", renamed)
    data = read_data(**arguments, val=str(labels))
    assert data.sets["val"].image_root == str(tmp_path / "val")
    assert names_of(data.sets["val"]) == set(names)


@pytest.mark.slow
def test_a_yaml_gives_the_set_that_is_asked_for_however_it_is_spelled(tmp_path, monkeypatch):
    for name, count in (("train", 12), ("held", 5)):
        write_yolo(tmp_path, make_images(tmp_path / "images" / name, count, seed=count))
        os.rename(tmp_path / "labels", tmp_path / name)
    (tmp_path / "labels").mkdir()
    for name in ("train", "held"):
        os.rename(tmp_path / name, tmp_path / "labels" / name)
    text = "train: images/train\nval: images/held\nnames: [dark, light]\n"
    (tmp_path / "data.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    for val in ("data.yaml", "./data.yaml", str(tmp_path / "data.yaml")):
        found = read_data(labeled="data.yaml", val=val)
        assert len(found.sets["train"].images) == 12 and len(found.sets["val"].images) == 5
        assert not found.notes
    assert "--val data.yaml" in read_data(labeled="data.yaml").notes[0]


def test_one_set_to_choose_by_and_to_test_on_is_noted(tmp_path):
    arguments = user_with_both(tmp_path)
    labels = arguments["labeled"]
    data = read_data(**arguments, val=labels, test=labels)
    assert data.sets["test"] is data.sets["val"] and "val and test are the same" in data.notes[0]


def test_known_images_are_left_out_of_the_unlabelled(tmp_path):
    arguments = user_with_both(tmp_path, unlabeled=5)
    data = read_data(**arguments)
    split_off(data, 0)
    of_test = data.sets["test"].images[0]["file_name"]
    shutil.copy(tmp_path / "images" / "1_000.png", tmp_path / "more" / "the_same.png")
    Image.open(tmp_path / "images" / of_test).save(tmp_path / "more" / "alike.jpg", quality=85)
    data = read_data(**arguments)
    split_off(data, 0)
    sift_unlabeled(data)
    left = {os.path.basename(path) for path in data.unlabeled}
    assert left == {f"2_{number:03}.png" for number in range(5)}
    assert len(data.notes) == 4  # split, too few, identical, near-identical


def test_images_without_labels_are_unlabelled_where_no_folder_is_named(tmp_path):
    truth = make_images(tmp_path / "images", 24, seed=1)
    write_yolo(tmp_path, truth)
    for number in range(3):
        os.unlink(tmp_path / "labels" / f"1_{number:03}.txt")
    data = read_data(labeled=str(tmp_path / "data.yaml"))
    assert sorted(map(os.path.basename, data.unlabeled)) == [f"1_{n:03}.png" for n in range(3)]
    assert all(map(os.path.isfile, data.unlabeled))


def digests(arguments) -> dict[str, str]:
    data = read_data(**arguments)
    return data.label_digests() | data.image_digests()


def test_digests_follow_contents(tmp_path):
    arguments = user_with_both(tmp_path)
    before = digests(arguments)
    os.utime(tmp_path / "labels.json", (1, 1))
    assert digests(arguments) == before
    content = json.loads((tmp_path / "labels.json").read_text())
    content["annotations"][0]["bbox"][2] += 1
    (tmp_path / "labels.json").write_text(json.dumps(content))
    changed = digests(arguments)
    assert {key for key in before if before[key] != changed[key]} == {"the labels of train"}
    os.unlink(tmp_path / "more" / "2_001.png")
    fewer = digests(arguments)
    assert {key for key in fewer if fewer[key] != changed[key]} == {"the unlabelled images"}


def test_what_is_written_is_what_training_reads(tmp_path):
    data = read_data(**user_with_both(tmp_path))
    (tmp_path / "more" / "broken.png").write_bytes(b"no image")
    data.unlabeled.append(str(tmp_path / "more" / "broken.png"))
    split_off(data, 0)
    sift_unlabeled(data)
    write_data(data, str(tmp_path / "data"))
    for name, labels in data.sets.items():
        path = str(tmp_path / "data" / f"{name}.json")
        dicts = load_coco_set(f"written_{name}", path, labels.image_root)
        assert len(dicts) == len(labels.images)
        assert sum(len(x["annotations"]) for x in dicts) == len(labels.annotations)
    listed = json.loads((tmp_path / "data" / "unlabeled.json").read_text())["images"]
    root = unlabeled_root(data)
    assert [os.path.join(root, x["file_name"]) for x in listed] == data.unlabeled
    assert len(listed) == 4
    assert any("broken.png" in note for note in data.notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labeled": "absent.json"}, "absent.json do"),
        ({"unlabeled": "absent"}, "absent is no folder"),
        ({"labeled": None}, "no labelled images"),
    ],
)
def test_mistakes(change, said, tmp_path, monkeypatch):
    arguments = user_with_both(tmp_path) | change
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        read_data(**arguments)
