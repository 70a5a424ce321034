"""Lists of images on disk: order, entries as given, sizes from files, what cannot be read."""

import json
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from sad.pseudo_labels.image_table import INDEX_ROW, ImageTable, list_folder, list_json
from sad.utils.errors import UserError
from toy import png_bomb

ENTRIES = [
    {"id": 30, "file_name": "ä.png", "width": 7, "height": 5, "license": {"name": "CC BY"}},
    {"id": 4, "file_name": "b.png", "width": 6.0, "height": 9},
    {"id": 12, "file_name": "c.png", "width": 3, "height": 2},
]


@pytest.fixture
def table(tmp_path):
    return ImageTable.write(str(tmp_path), ENTRIES)


def test_entries_come_as_they_were_given_in_the_order_of_their_ids(table):
    assert len(table) == 3
    assert list(table.entries(slice(None))) == [ENTRIES[1], ENTRIES[2], ENTRIES[0]]
    assert list(table.entries(np.array([2, 0]))) == [ENTRIES[0], ENTRIES[1]]
    assert table[1] == ENTRIES[2]
    assert table.index["height"].tolist() == [9, 2, 5]
    assert table.index["width"].tolist() == [6, 3, 7]


def test_ids_may_be_strings(tmp_path):
    table = ImageTable.write(str(tmp_path), [{**ENTRIES[0], "id": "f0"}, {**ENTRIES[1], "id": "a"}])
    assert [entry["id"] for entry in table.entries(slice(None))] == ["a", "f0"]


def test_other_processes_get_the_folder_s_name_alone(table):
    text = pickle.dumps(table)
    assert len(text) < 300
    assert pickle.loads(text)[0] == ENTRIES[1]
    os.unlink(os.path.join(table.folder, "images.npy"))
    with pytest.raises(UserError, match="images.npy is missing: .* all machines share"):
        pickle.loads(text)


def test_an_image_takes_20_bytes_of_memory():
    assert INDEX_ROW.itemsize == 20


def test_files_of_a_json_that_are_missing(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "images" / "c.png")
    (tmp_path / "info.json").write_text(json.dumps({"categories": [], "images": ENTRIES}))
    table, unreadable = list_json(
        str(tmp_path), str(tmp_path / "images"), str(tmp_path / "info.json")
    )
    assert unreadable == {0: "no such file", 2: "no such file"}
    assert table[1] == ENTRIES[2]


def test_a_folder_s_images_by_name_with_sizes_turned_as_exif_says(tmp_path):
    images = tmp_path / "images"
    (images / "a").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to look at it
    Image.new("L", (30, 20)).save(images / "z.png")
    Image.new("L", (30, 20)).save(images / "a" / "turned.JPG", exif=exif)
    (images / "m.png").write_bytes(b"no image")
    (images / "notes.txt").write_text("no image either")
    table, unreadable = list_folder(str(tmp_path), str(images))
    assert list(table.entries(slice(None))) == [
        {"id": 1, "file_name": "a/turned.JPG", "width": 20, "height": 30},
        {"id": 2, "file_name": "m.png"},
        {"id": 3, "file_name": "z.png", "width": 30, "height": 20},
    ]
    assert list(unreadable) == [1] and unreadable[1].startswith("it is empty")
    assert table.index["height"].tolist() == [30, 0, 20]
    with pytest.raises(UserError, match="there are no images in"):
        list_folder(str(tmp_path), str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "{root}/secret.png"])
def test_files_outside_the_folder_are_refused(tmp_path, name):
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.png").touch()
    entry = {**ENTRIES[0], "file_name": name.format(root=tmp_path)}
    (tmp_path / "info.json").write_text(json.dumps({"images": [ENTRIES[1], entry]}))
    with pytest.raises(UserError, match=r"info\.json lists .*secret\.png, which lies outside"):
        list_json(str(tmp_path), str(tmp_path / "images"), str(tmp_path / "info.json"))


def test_an_image_of_far_too_many_pixels_is_unreadable(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "bomb.png").write_bytes(png_bomb())
    Image.new("L", (30, 20)).save(tmp_path / "images" / "small.png")
    _, unreadable = list_folder(str(tmp_path), str(tmp_path / "images"))
    assert unreadable == {
        0: "its 2500000000 pixels are more than DATALOADER.MAX_IMAGE_PIXELS 178956970"
    }
    _, unreadable = list_folder(str(tmp_path), str(tmp_path / "images"), max_pixels=599)
    assert list(unreadable) == [0, 1] and unreadable[1].startswith("its 30 x 20 pixels are more")


def test_images_are_left_out_of_a_list(table):
    shorter = table.without({1})
    assert list(shorter.entries(slice(None))) == [ENTRIES[1], ENTRIES[0]]
    assert len(pickle.loads(pickle.dumps(shorter))) == 2


def test_what_is_left_out_of_a_folder_is_not_opened(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    Image.new("L", (30, 20)).save(tmp_path / "images" / "b.png")
    table, unreadable = list_folder(str(tmp_path), str(tmp_path / "images"), lambda paths: {0})
    assert unreadable == {}
    assert list(table.entries(slice(None))) == [
        {"id": 1, "file_name": "b.png", "width": 30, "height": 20}
    ]
