"""YOLO's txts, as the project's own reader takes them."""

import numpy as np
import pytest
from PIL import Image

from sad.layouts.image_index import ImageIndex
from sad.layouts.yolo import read_yolo
from sad.predict.detections import Detections
from sad.predict.inputs import Source
from sad.predict.yolo_files import write_names, write_txt

FOUND = Detections(
    np.array([[8, 12, 24, 36], [0, 0, 64, 48]], np.float32), np.array([0.9, 0.5], np.float32),
    np.array([1, 0]), ["cat", "dog"])  # fmt: skip


def write(tmp_path, name, found=FOUND, **more):
    (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / name)
    source = Source(str(tmp_path / "photos" / name), name)
    write_txt(str(tmp_path / "yolo"), source, (64, 48), found, **more)


def test_what_is_written_is_read_again(tmp_path):
    write(tmp_path, "a/1.jpg")
    write(tmp_path, "b/1.jpg", FOUND[:0])
    assert (tmp_path / "yolo/a/1.txt").read_text().splitlines() == [
        "1 0.250000 0.500000 0.250000 0.500000",
        "0 0.500000 0.500000 1.000000 1.000000",
    ]
    assert (tmp_path / "yolo/b/1.txt").read_text() == ""
    index = ImageIndex(str(tmp_path / "photos"))
    names = {0: "cat", 1: "dog"}
    labels = read_yolo("yolo", index, names, folder=str(tmp_path / "yolo"))
    assert [box["bbox"] for box in labels.annotations] == [[8, 12, 16, 24], [0, 0, 64, 48]]
    assert len(labels.images) == 2


def test_images_that_differ_in_their_endings_have_txts_of_their_own(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "1.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.PNG").touch()
    write(tmp_path, "1.jpg")
    write(tmp_path, "1.PNG", FOUND[:0])
    assert sorted(path.name for path in (tmp_path / "yolo").iterdir()) == ["1.PNG.txt", "1.jpg.txt"]
    assert (tmp_path / "yolo/1.jpg.txt").read_text()


@pytest.mark.parametrize("name", ["clip.mp4", "a/clip.avi"])
def test_frames_lie_in_a_folder_of_their_video(tmp_path, name):
    source = Source(str(tmp_path / name), name)
    write_txt(str(tmp_path / "yolo"), source, (64, 48), FOUND, frame=12)
    assert len((tmp_path / "yolo" / name / "000012.txt").read_text().splitlines()) == 2


def test_names_of_the_classes(tmp_path):
    write_names(str(tmp_path), ["cat", "Hund: ü"])
    assert "names:" in (tmp_path / "data.yaml").read_text()
    assert "Hund: ü" in (tmp_path / "data.yaml").read_text()
