"""Sets that are split off the labelled images: seeded, whole groups, every class left to learn."""

import pytest
from PIL import Image

from sad.pipeline.data import read_data
from sad.pipeline.split import split_off
from sad.utils.errors import UserError
from users_data import CLASSES, make_images, names_of, user_with_both, write_coco


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "sizes"),
    [(30, {"train": 26, "val": 4, "test": 4}), (200, {"train": 140, "val": 30, "test": 30})],
)
def test_sets_that_are_split_off(count, sizes, tmp_path):
    data = read_data(**user_with_both(tmp_path, count))
    split_off(data, seed=0)
    assert {name: len(labels.images) for name, labels in data.sets.items()} == sizes
    train, val, test = (names_of(data.sets[name]) for name in ("train", "val", "test"))
    assert not train & val and len(train | val | test) == count
    assert (val == test) is (count < 200) and data.notes
    again = read_data(**user_again(tmp_path))
    split_off(again, seed=0)
    assert names_of(again.sets["val"]) == val
    other = read_data(**user_again(tmp_path))
    split_off(other, seed=1)
    assert names_of(other.sets["val"]) != val
    for labels in data.sets.values():
        ids = {image["id"] for image in labels.images}
        assert {x["image_id"] for x in labels.annotations} <= ids


def user_again(folder):
    return {
        "labeled": str(folder / "labels.json"),
        "images": str(folder / "images"),
        "unlabeled": str(folder / "more"),
    }


def test_copies_stay_on_one_side(tmp_path):
    truth = make_images(tmp_path / "images", 30, seed=1)
    for name in list(truth)[:15]:
        copy = f"copy_{name.removesuffix('.png')}.jpg"
        Image.open(tmp_path / "images" / name).save(tmp_path / "images" / copy, quality=90)
        truth[copy] = truth[name]
    labels = write_coco(tmp_path / "labels.json", truth)
    for seed in range(3):
        data = read_data(labeled=str(labels), images=str(tmp_path / "images"))
        split_off(data, seed)
        for of_set in (data.sets["train"], data.sets["val"]):
            found = names_of(of_set)
            for name in list(truth)[:15]:
                copy = f"copy_{name.removesuffix('.png')}.jpg"
                assert (name in found) is (copy in found)


def test_a_camera_that_stands_still(tmp_path):
    (tmp_path / "images").mkdir()
    scene = Image.effect_noise((64, 64), 60).convert("RGB")
    truth = {}
    for number in range(24):
        frame = scene.copy()
        frame.paste((number * 10, 0, 0), (number, number, number + 8, number + 8))
        frame.save(tmp_path / "images" / f"{number:02}.png")
        truth[f"{number:02}.png"] = [(CLASSES[0], number, number, number + 8, number + 8)]
    labels = str(write_coco(tmp_path / "labels.json", truth))
    data = read_data(labeled=labels, images=str(tmp_path / "images"))
    with pytest.raises(UserError, match="camera that stands still.* or --fixed-camera"):
        split_off(data, 0)
    data = read_data(labeled=labels, images=str(tmp_path / "images"))
    split_off(data, 0, fixed_camera=True)
    assert len(data.sets["val"].images) == 4 and "this camera" in " ".join(data.notes)


def test_changed_copies_of_an_export_stay_on_one_side(tmp_path):
    """They are mirrored or turned, and have the name of what they were made from."""
    truth = make_images(tmp_path / "images", 90, seed=1)
    for number, name in enumerate(list(truth)):
        new = f"photo_{number // 3}_png.rf.{number:08x}.png"
        (tmp_path / "images" / name).rename(tmp_path / "images" / new)
        truth[new] = truth.pop(name)
    labels = write_coco(tmp_path / "labels.json", truth)
    data = read_data(labeled=str(labels), images=str(tmp_path / "images"))
    split_off(data, 0)
    train, val = (
        {name.partition(".rf.")[0] for name in names_of(data.sets[x])} for x in ("train", "val")
    )
    assert train and val and not train & val


def test_equal_names_in_other_folders_are_no_copies(tmp_path):
    truth = make_images(tmp_path / "images", 30, seed=1)
    for number, name in enumerate(list(truth)):
        folder = tmp_path / "images" / f"camera{number}"
        folder.mkdir()
        (tmp_path / "images" / name).rename(folder / "1.png")
        truth[f"camera{number}/1.png"] = truth.pop(name)
    labels = write_coco(tmp_path / "labels.json", truth)
    data = read_data(labeled=str(labels), images=str(tmp_path / "images"))
    split_off(data, 0)
    assert len(data.sets["val"].images) == 4


def test_what_the_teacher_was_trained_on_stays(tmp_path):
    data = read_data(**user_with_both(tmp_path))
    taught = {image["file_name"] for image in data.sets["train"].images[:20]}
    split_off(data, 0, stay=range(20))
    assert taught <= names_of(data.sets["train"]) and names_of(data.sets["val"])
    again = read_data(**user_again(tmp_path))
    with pytest.raises(UserError, match="the teacher was trained on 30 of the 30 .* give --val"):
        split_off(again, 0, stay=range(30))


@pytest.mark.slow
def test_the_last_box_of_a_class_stays_to_be_learned(tmp_path):
    truth = make_images(tmp_path / "images", 30, seed=1)
    rare = list(truth)[7]
    for name, boxes in truth.items():
        label = "light" if name == rare else "dark"
        truth[name] = [(label, *corners) for _, *corners in boxes]
    labels = write_coco(tmp_path / "labels.json", truth)
    for seed in range(8):
        data = read_data(labeled=str(labels), images=str(tmp_path / "images"))
        split_off(data, seed)
        assert rare in names_of(data.sets["train"])


@pytest.mark.slow
def test_images_without_objects_are_shared_out_too(tmp_path):
    truth = make_images(tmp_path / "images", 60, seed=1)
    for name in list(truth)[:48]:
        truth[name] = []  # as far as anybody has labelled them
    labels = write_coco(tmp_path / "labels.json", truth)
    for seed in range(5):
        data = read_data(labeled=str(labels), images=str(tmp_path / "images"))
        split_off(data, seed)
        val = data.sets["val"]
        assert len(val.images) == 9  # 15 % of 12 and of 48
        assert len({x["image_id"] for x in val.annotations}) == 2


@pytest.mark.parametrize("boxes", [0, 1])
def test_hardly_any_boxes(boxes, tmp_path):
    truth = make_images(tmp_path / "images", 24, seed=1)
    for name in list(truth)[boxes:]:
        truth[name] = []
    labels = write_coco(tmp_path / "labels.json", truth)
    data = read_data(labeled=str(labels), images=str(tmp_path / "images"))
    said = "too few boxes to split some off for val: give --val" if boxes else "holds no boxes"
    with pytest.raises(UserError, match=said):
        split_off(data, 0)


def test_hardly_any_labels(tmp_path):
    data = read_data(**user_with_both(tmp_path, 12))
    with pytest.raises(UserError, match="none to test on: give --test"):
        split_off(data, 0)
    test = write_coco(tmp_path / "test" / "labels.json", make_images(tmp_path / "test", 3, 9))
    data = read_data(**user_again(tmp_path), test=str(test))
    split_off(data, 0)
    assert data.sets["val"] is data.sets["test"] and len(data.sets["train"].images) == 12
