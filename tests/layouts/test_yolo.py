"""YOLO's txts: boxes, polygons, odd lines, and images that nobody has labelled."""

import os

import pytest

from sad.layouts.image_index import ImageIndex
from sad.layouts.yolo import label_file, read_yolo
from sad.utils.errors import UserError
from users_data import CLASSES, boxes_of, make_images, write_yolo

NAMES = dict(enumerate(CLASSES))


@pytest.fixture
def made(tmp_path):
    truth = make_images(tmp_path / "images", 8, seed=3)
    write_yolo(tmp_path, truth)
    return truth, tmp_path


def read(folder, names=NAMES, **options):
    return read_yolo("labels", ImageIndex(str(folder / "images")), names, **options)


def test_boxes(made):
    truth, folder = made
    labels = read(folder)
    assert boxes_of(labels) == {name: sorted(boxes) for name, boxes in truth.items()}
    assert labels.layout == "YOLO" and labels.classes == CLASSES
    assert not labels.mended and not labels.left_out and not labels.unlabeled


def lines(folder, *texts, name="3_000"):
    (folder / "labels" / f"{name}.txt").write_text("\n".join(texts) + "\n")
    return boxes_of(read(folder))[f"{name}.png"]


def test_a_polygon_is_the_box_around_it(made):
    _, folder = made
    found = lines(folder, "0 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5", "1 0.5 0.5 0.25 0.25")
    assert found == [("dark", 16, 16, 48, 48), ("light", 24, 24, 40, 40)]


def test_images_without_objects_and_without_labels(made):
    _, folder = made
    assert lines(folder) == []
    os.unlink(folder / "labels" / "3_001.txt")
    labels = read(folder)
    assert labels.unlabeled == ["3_001.png"] and len(labels.images) == 7


def test_lines_that_are_left_out(made):
    _, folder = made
    good = "0 0.5 0.5 0.25 0.25"
    found = lines(folder, good, good, "7 0.5 0.5 0.2 0.2", "1 nan 0.5 0.2 0.2", "0 0.5 0.5 0 0.2")
    assert found == [("dark", 24, 24, 40, 40)]
    labels = read(folder)
    assert sum(map(len, labels.left_out.values())) == 4


def test_boxes_a_little_outside_are_clipped(made):
    _, folder = made
    assert lines(folder, "1 0.98 0.5 0.1 0.25") == [("light", 59.52, 24, 64, 40)]
    assert read(folder).mended


def test_pixels_are_no_shares(made):
    _, folder = made
    for path in (folder / "labels").glob("*.txt"):
        path.write_text("0 32 32 16 16\n")
    with pytest.raises(UserError, match="shares of the image's size"):
        read(folder)


def test_other_orders_and_other_names(made):
    truth, folder = made
    labels = read(folder, classes=["light", "dark"])
    assert labels.classes == ["light", "dark"]
    assert boxes_of(labels) == {name: sorted(boxes) for name, boxes in truth.items()}
    with pytest.raises(UserError, match="'light' and 'bright'|'bright'"):
        read(folder, {0: "dark", 1: "bright"}, classes=CLASSES)


def test_no_labels_at_all(made):
    _, folder = made
    for path in (folder / "labels").glob("*.txt"):
        path.unlink()
    with pytest.raises(UserError, match="none of 8 images"):
        read(folder)


def test_where_a_txt_lies(tmp_path):
    for name in ("images/train/a.jpg", "labels/train/a.txt", "flat/b.jpg", "flat/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert label_file(str(tmp_path), "images/train/a.jpg") == str(tmp_path / "labels/train/a.txt")
    assert label_file(str(tmp_path), "flat/b.jpg") == str(tmp_path / "flat/b.txt")
    assert label_file(str(tmp_path), "flat/c.jpg") is None
