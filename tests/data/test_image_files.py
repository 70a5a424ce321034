"""Folders of images: what a listing takes, skips and says; images of a data set that are absent."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from sad.data import image_files
from sad.data.image_files import absent, check_every_image, check_images, find_images
from sad.utils.errors import UserError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_hidden_files_thumbnails_and_copies_are_skipped_and_said_in_one_line(tmp_path, log):
    touch(tmp_path, "b.png", "a/c.JPG", "a/d.jpeg", "a/deeper/e.tiff", "folder.png/f.webp")
    touch(tmp_path, "._b.png", "a/.hidden.jpg", "notes.txt", "a/list.json", "Thumbs.db", "png")
    touch(tmp_path, ".ipynb_checkpoints/b-checkpoint.png", "a/@eaDir/c.JPG/thumb.jpg")
    touch(tmp_path, "__MACOSX/._b.png", ".thumbnails/1.png", "#recycle/x.png", "$RECYCLE.BIN/y.png")
    expected = ["a/c.JPG", "a/d.jpeg", "a/deeper/e.tiff", "b.png", "folder.png/f.webp"]
    assert find_images(str(tmp_path)) == expected
    (line,) = log
    for part in (
        f"{tmp_path}: 5 images",
        "1 .png",
        "1 .jpg",
        "1 .webp",
        "4 files of other endings",
    ):
        assert part in line
    assert "2 hidden files (._b.png)" in line
    assert "6 hidden or housekeeping folders (#recycle)" in line


def test_names_that_no_json_takes_and_pipes_are_skipped(tmp_path, log):
    """What is listed here comes back in a json, which training reads."""
    touch(tmp_path, "a b.png", "ü%20.png", "new\nline.png", "tab\t/c.png", "caf\udce9.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert find_images(str(tmp_path)) == ["a b.png", "ü%20.png"]
    assert "3 names that no json takes" in log[0] and log[0].isprintable()
    assert "1 pipes" in log[0]


def test_linked_folders_are_followed_once(tmp_path, log):
    root, other = tmp_path / "root", tmp_path / "other"
    touch(root, "a/1.png")
    touch(other, "2.png", "b/3.png")
    (root / "a" / "up").symlink_to(root)  # would lead round and round
    (root / "A").symlink_to(root / "a")  # before the folder itself, by name
    (root / "linked").symlink_to(other)
    (root / "4.png").symlink_to(other / "2.png")
    (root / "5.png").symlink_to(root / "nowhere.png")  # is for the reader to say
    names = ["4.png", "5.png", "a/1.png", "linked/2.png", "linked/b/3.png"]
    assert find_images(str(root)) == names
    assert "2 links to folders that are listed already" in log[0]


def test_a_folder_without_images_says_what_is_in_it(tmp_path):
    touch(tmp_path, "a.dcm", "._b.png")
    with pytest.raises(
        UserError, match=r"no images in .*skipped: 1 files of other endings \(a.dcm"
    ):
        find_images(str(tmp_path))
    with pytest.raises(UserError, match="there are no images in"):
        find_images(str(tmp_path / "absent"))


def test_what_is_absent_is_found_by_listing(tmp_path, monkeypatch):
    touch(tmp_path, *(f"{folder}/{n}.png" for folder in "ab" for n in range(50)))
    names = [f"{folder}/{n}.png" for folder in "abc" for n in range(51)]
    listed, asked = [], []
    scandir, isfile = os.scandir, os.path.isfile
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    monkeypatch.setattr(os.path, "isfile", lambda path: asked.append(path) or isfile(path))
    missing = absent(str(tmp_path / name) for name in names)
    assert [names[i] for i in missing] == ["a/50.png", "b/50.png", *names[102:]]
    # No question for a file that is there: they take minutes on a network.
    assert len(listed) == 3 and len(asked) == len(missing)


def test_a_name_that_the_file_system_knows_by_another_is_there(tmp_path, monkeypatch):
    """Capitals on macOS and Windows."""
    touch(tmp_path, "A.png")
    monkeypatch.setattr(os.path, "isfile", lambda path: path.lower().endswith("a.png"))
    assert absent([str(tmp_path / "a.png"), str(tmp_path / "b.png")]) == [1]


@pytest.fixture
def images(tmp_path):
    """Dicts of 8 images."""
    for number in range(8):
        Image.new("L", (30, 20)).save(tmp_path / f"{number}.png")
    return [
        {"file_name": str(tmp_path / f"{number}.png"), "width": 30, "height": 20}
        for number in range(8)
    ]


def test_files_that_are_listed_twice_are_said(images, log):
    check(images)
    assert not log
    check([*images, *images[2:4]])
    (line,) = log
    assert "cells: 2 files are listed more than once" in line and "2.png" in line


def check(images):
    check_images("cells", "cells.json", images, 1000)


def test_a_whole_set_passes(images):
    check(images)
    check([])


@pytest.mark.parametrize("there", ["3.JPG", "3.PNG", None])
def test_absent_images_are_counted_and_the_first_is_named(images, tmp_path, there):
    (tmp_path / "3.png").unlink()
    (tmp_path / "7.png").unlink()
    if there:
        (tmp_path / there).touch()
    with pytest.raises(UserError) as error:
        check(images)
    sentence = f"data set cells: 2 of 8 images of cells.json do not exist, the first is {tmp_path}"
    assert str(error.value).startswith(f"{sentence}/3.png")
    assert (f"there is {there}" in str(error.value)) == bool(there)


def test_one_of_a_few_must_be_readable(images, tmp_path):
    """Of those that are spread over the set: broken files may lie together."""
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes(b"")
    check(images)  # such files are counted when they are met
    Image.fromarray(np.zeros((20, 30), np.float32)).save(tmp_path / "7.png", "TIFF")
    with pytest.raises(UserError, match=r"cells: 6 of 6 images tried .*0\.png \(it is empty"):
        check(images)
    with pytest.raises(UserError, match=r"1 of 1 images tried .*7\.png \(its pixels are of mode F"):
        check(images[7:])


@pytest.mark.parametrize("decoded", [8, 7])
def test_every_image_of_a_test_set_must_be_readable(images, tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(image_files, "DECODED", decoded)
    check_every_image("cells", images, 1000)
    file = io.BytesIO()
    Image.new("L", (30, 20)).save(file, "JPEG")
    (tmp_path / "5.png").write_bytes(file.getvalue()[:-10])  # of which the header says nothing
    if decoded == 8:
        with pytest.raises(UserError, match=r"cells: 1 of 8 images .* first is .*5\.png"):
            check_every_image("cells", images, 1000)
    else:
        check_every_image("cells", images, 1000)
    (tmp_path / "5.png").write_bytes(b"")
    Image.new("L", (20, 30)).save(tmp_path / "6.png")
    with pytest.raises(UserError, match=r"cells: 2 of 8 images .*5\.png \(it is empty"):
        check_every_image("cells", images, 1000)
    with pytest.raises(UserError, match=r"6\.png \(it is 20 x 30 pixels, its annotations say 30"):
        check_every_image("cells", images[6:], 1000)


def test_sizes_that_the_annotations_have_the_wrong_way_round(images):
    turned = [{**image, "width": 20, "height": 30} for image in images]
    with pytest.raises(UserError, match="30 x 20 pixels, its annotations say 20 x 30; EXIF"):
        check(turned)
    with pytest.raises(UserError, match="30 x 20 pixels are more than DATALOADER.MAX_IMAGE_PIXELS"):
        check_images("cells", None, images, 599)


@pytest.mark.parametrize("name", [".", "deeper", "deeper/.."])
def test_a_folder_is_no_image(tmp_path, name):
    (tmp_path / "deeper").mkdir()
    assert absent([str(tmp_path / name), os.path.join(tmp_path, name)]) == [0, 1]
