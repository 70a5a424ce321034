"""Held-out images are none of the training images, unlabelled ones none of the labelled."""

import json
import shutil
from pathlib import Path

import pytest

from sad.calibration.images import draw_unlabeled, read_held_out
from sad.utils.errors import UserError

NAMES = ["light", "dark"]


@pytest.fixture
def cfg(toy):
    return toy.cfg("teacher.yaml")


def held_out(cfg, teacher_files, **changes):
    json_file, image_root = changes.get("val", teacher_files["val"])
    labeled_json = changes.get("labeled_json", teacher_files["labeled_json"])
    return read_held_out(cfg, json_file, image_root, labeled_json, changes.get("names", NAMES))


def changed(path: str, tmp_path: Path, change) -> str:
    content = json.loads(Path(path).read_text())
    change(content)
    (tmp_path / "changed.json").write_text(json.dumps(content))
    return str(tmp_path / "changed.json")


def test_held_out_images(cfg, teacher_files):
    found = held_out(cfg, teacher_files)
    assert [image["image_id"] for image in found.images] == [10, 20, 30, 40, 50, 60]
    assert all(Path(image["file_name"]).is_file() for image in found.images)
    assert len(found.labels) == 10 and found.trained_on == 0
    assert [category["name"] for category in found.categories] == NAMES
    other = held_out(cfg, teacher_files, names=NAMES[::-1])
    assert [category["id"] for category in other.categories] == [5, 2]
    some = found.only(found.images[:2])
    assert len(some.images) == 2 and {x["image_id"] for x in some.labels} == {10, 20}


def test_training_images_are_none(cfg, teacher_files, toy, tmp_path):
    """The training json itself, a copy of it, and copies of some of its images."""
    labeled = toy.path("annotations/labeled.json")
    with pytest.raises(UserError, match="was trained on .*labeled.json: give a json of held-out"):
        held_out(cfg, teacher_files, val=(labeled, toy.path("labeled")))
    copy = shutil.copy(labeled, tmp_path / "copy.json")
    with pytest.raises(UserError, match="trained on all images of .*copy.json"):
        held_out(cfg, teacher_files, val=(copy, toy.path("labeled")))
    shutil.copytree(teacher_files["val"][1], tmp_path / "images")
    shutil.copy(toy.root / "labeled" / "000002.png", tmp_path / "images" / "000002.png")
    found = held_out(cfg, teacher_files, val=(teacher_files["val"][0], str(tmp_path / "images")))
    assert found.trained_on == 1
    assert [image["image_id"] for image in found.images] == [10, 30, 40, 50, 60]
    assert len(found.labels) == 8


def test_bad_held_out_sets(cfg, teacher_files, tmp_path):
    json_file, image_root = teacher_files["val"]
    empty = changed(json_file, tmp_path, lambda content: content.update(annotations=[]))
    for val, sentence in (
        ((json_file, "nowhere"), "image folder nowhere .* does not exist"),
        (("nowhere.json", image_root), "nowhere.json cannot be opened"),
        ((empty, image_root), "no boxes to measure the teacher by: there are no annotations"),
    ):
        with pytest.raises(UserError, match=sentence):
            held_out(cfg, teacher_files, val=val)
    with pytest.raises(UserError, match="have other classes"):
        held_out(cfg, teacher_files, names=["light", "gray"])
    outside = changed(
        json_file, tmp_path, lambda content: content["images"][0].update(file_name="../a.png")
    )
    with pytest.raises(UserError, match="lies outside"):
        held_out(cfg, teacher_files, val=(outside, image_root))


def drawn(cfg, teacher_files, limit=100, seed=0, known=None, **changes):
    image_root = changes.get("image_root", teacher_files["unlabeled"])
    labeled_json = teacher_files["labeled_json"]
    json_file = changes.get("image_json")
    return draw_unlabeled(cfg, image_root, json_file, labeled_json, known or {}, limit, seed)


def test_unlabelled_images_are_drawn_by_seed(cfg, teacher_files):
    everything = drawn(cfg, teacher_files)
    assert everything.total == len(everything.images) == 6 and not everything.unreadable
    sizes = [(image["width"], image["height"]) for image in everything.images]
    assert sizes[:4] == [(64, 48), (48, 64), (64, 64), (80, 48)]
    draws = [drawn(cfg, teacher_files, 3, seed).images for seed in (0, 0, 1)]
    some = [[image["file_name"] for image in images] for images in draws]
    assert some[0] == some[1] == sorted(some[0]) and len(some[0]) == 3
    assert some[2] != some[0]
    assert drawn(cfg, teacher_files, 3).total == 6


def test_labelled_and_broken_images(cfg, teacher_files, toy, tmp_path):
    folder = tmp_path / "more"
    shutil.copytree(teacher_files["unlabeled"], folder)
    shutil.copy(toy.root / "labeled" / "000001.png", folder / "copy.png")
    (folder / "broken.png").write_bytes(b"no image")
    held = {"val.json": [str(folder / "000003.png")]}
    found = drawn(cfg, teacher_files, image_root=str(folder), known=held)
    assert (found.total, found.left_out, len(found.images)) == (6, 2, 5)
    assert list(found.unreadable) == [str(folder / "broken.png")]
    names = {Path(image["file_name"]).name for image in found.images}
    assert names == {f"{n:06d}.png" for n in (1, 2, 4, 5, 6)}


def test_nothing_but_broken_images(cfg, teacher_files, tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="none of 2 images .* can be read; the first is .*0.png"):
        drawn(cfg, teacher_files, image_root=str(tmp_path))


def test_list_of_unlabelled_images(cfg, teacher_files, toy):
    listed = toy.path("annotations/image_info.json")
    found = drawn(cfg, teacher_files, image_json=listed)
    assert len(found.images) == 6 and found.images[0]["width"] == 64
    with pytest.raises(UserError, match="image folder nowhere does not exist"):
        drawn(cfg, teacher_files, image_root="nowhere")
