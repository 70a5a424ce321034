"""Each oddity of a txt by itself; whole sets are in test_read.py."""

import shutil

import pytest

import layouts_made as made
from sad.layouts.image_index import ImageIndex
from sad.layouts.read import read_labels
from sad.layouts.yolo import label_file, read_yolo
from sad.pipeline.data import read_data
from sad.utils.errors import UserError

GOOD = "0 0.5 0.5 0.5 0.5"  # x 10 to 30, y 7.5 to 22.5


@pytest.fixture
def read(tmp_path):
    """A function that reads lines of one image of 40 x 30 pixels; classes 0 cat, 1 dog."""
    made.save(tmp_path / "a.jpg", (40, 30), [])

    def write_and_read(*lines, **options):
        (tmp_path / "a.txt").write_text("\n".join(lines))
        index = ImageIndex(str(tmp_path))
        return read_yolo("labels", index, {0: "cat", 1: "dog"}, **options)

    return write_and_read


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("1 0.5 0.5 0.5 0.5", (10, 7.5, 30, 22.5)),
        ("1.0\t0.5 0.5  0.5 0.5", (10, 7.5, 30, 22.5)),
        ("1 0.5 0.5 0.5 0.5 0.93", (10, 7.5, 30, 22.5)),  # a score
        ("1 0.25 0.5 0.75 0.1 0.5 0.9", (10, 3, 30, 27)),  # a polygon
        ("1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6", (4, 6, 20, 18)),
        ("1 0.9 0.5 0.25 1.02", (31, 0, 40, 30)),
        ("1 1.0000004 0.5 0.5 0.5", (30.000016, 7.5, 40, 22.5)),
    ],
)
def test_lines_are_boxes_in_shares(line, box, read):
    (found,) = made.as_read(read(line))[0]["a.jpg"]
    assert found[0] == "dog" and found[1:] == pytest.approx(box)


@pytest.mark.parametrize(
    "line",
    [
        *("2 0.5 0.5 0.1 0.1", "-1 0.5 0.5 0.1 0.1", "0.5 0.5 0.5 0.1 0.1", "nan 0.5 0.5 0.1 0.1"),
        *(
            "cat 0.5 0.5 0.1 0.1",
            "0",
            "0 0.5 0.5 0.1",
            "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4",
            "0 x y w h",
        ),
        *("0 nan 0.5 0.1 0.1", "0 0.5 0.5 inf 0.1", "0 0.5 0.5 0 0.1", "0 0.5 0.5 -0.1 0.1"),
        *(GOOD, "0 1.5 0.5 0.1 0.1"),
    ],
)
def test_what_is_no_box_is_left_out_and_its_line_is_named(line, read):
    labels = read(GOOD, line)
    assert made.as_read(labels)[0] == {"a.jpg": [("cat", 10, 7.5, 30, 22.5)]}
    ((where,),) = labels.left_out.values()
    assert "a.txt:2" in where


def test_an_empty_txt_shows_nothing_and_none_labels_nothing(read, tmp_path):
    made.save(tmp_path / "b.jpg", (40, 30), [])
    labels = read("", " ")
    assert made.as_read(labels)[0] == {"a.jpg": []} and labels.unlabeled == ["b.jpg"]
    (tmp_path / "a.txt").unlink()
    with pytest.raises(UserError, match="a txt"):
        read_yolo("labels", ImageIndex(str(tmp_path)), {0: "cat"})


def test_numbers_in_pixels_are_refused_a_slip_is_left_out(read):
    pixels = "0 20 15 20 15"
    with pytest.raises(UserError, match="pixels"):
        read(pixels, GOOD)
    lines = [f"0 0.5 0.5 0.5 0.{n}" for n in range(10, 30)]
    labels = read(*lines, pixels)
    assert len(labels.annotations) == 20 and len(labels.left_out) == 1


def test_corners_are_refused_and_boxes_over_the_border_are_not(read):
    corners = [f"0 0.3 0.4 0.{n} 0.9" for n in range(60, 90)]
    with pytest.raises(UserError, match="corners"):
        read(*corners)
    border = [f"0 0.99 0.5 0.1 0.{n}" for n in range(10, 40)]
    assert len(read(*border).mended["boxes clipped to their image"]) == 30


def test_txts_without_a_single_label_are_refused(read):
    for lines in (["a photograph of a cat"], ["7 0.5 0.5 0.1 0.1"]):
        with pytest.raises(UserError, match="a.txt:1"):
            read(*lines)


def test_txts_that_are_none_are_left_out(read, tmp_path):
    made.save(tmp_path / "b.jpg", (40, 30), [])
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x01")
    labels = read(GOOD)
    assert list(made.as_read(labels)[0]) == ["a.jpg"] and labels.left_out


def test_only_the_images_of_the_set_are_read(read, tmp_path):
    made.save(tmp_path / "b.jpg", (40, 30), [])
    labels = read(GOOD, among=["a.jpg"], absent=["gone.jpg"])
    assert labels.unlabeled == [] and [*labels.left_out.values()] == [["gone.jpg"]]


def test_numbers_with_gaps_name_their_classes(tmp_path):
    made.save(tmp_path / "a.jpg", (40, 30), [])
    (tmp_path / "a.txt").write_text("7 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text("names: {7: dog, 2: cat}")
    labels = read_labels(str(tmp_path))
    assert labels.classes == ["cat", "dog"] and labels.annotations[0]["category_id"] == 2


def test_numbers_of_one_name_are_one_class(tmp_path):
    made.save(tmp_path / "a.jpg", (40, 30), [])
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n2 0.5 0.5 0.25 0.25")
    (tmp_path / "data.yaml").write_text("names: [cat, dog, cat]")
    labels = read_labels(str(tmp_path))
    assert labels.classes == ["cat", "dog"]
    assert [x["category_id"] for x in labels.annotations] == [1, 1]
    assert [*labels.mended.values()] == [["cat"]]


@pytest.mark.parametrize(("values", "point"), [(2, "0.4 0.6"), (3, "0.4 0.6 2")])
def test_keypoints_behind_a_box_are_not_read(values, point, tmp_path):
    made.save(tmp_path / "a.jpg", (40, 30), [])
    points = " ".join([point] * 4)
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.5 0.5 {points}\n0 0.25 0.5 0.25 0.5 {points}")
    (tmp_path / "data.yaml").write_text(f"names: [cat]\nkpt_shape: [4, {values}]")
    for given in (tmp_path, tmp_path / "data.yaml"):
        labels = read_labels(str(given))
        assert [x["bbox"] for x in labels.annotations] == [[10, 7.5, 20, 15], [5, 7.5, 10, 15]]
        assert not labels.left_out and not labels.mended


def test_the_txt_of_an_image_lies_in_labels_or_beside_it_or_where_the_user_says(tmp_path):
    places = ["x/images/labels/a.txt", "x/labels/s/a.txt", "x/images/s/a.txt", "own/s/a.txt"]
    for place in places[::-1]:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    name = "images/s/a.jpg"
    root, own = str(tmp_path / "x"), str(tmp_path / "own")
    assert label_file(root, name) is None
    for place in (places[2], places[1]):
        (tmp_path / place).write_text("")
        assert label_file(root, name) == label_file(root, name, root) == str(tmp_path / place)
    labels = str(tmp_path / "x" / "labels" / "s")
    assert label_file(root, name, labels) == str(tmp_path / places[1])
    assert (
        label_file(root, name, own) is None and label_file(root, name, labels[:-2] + "_2") is None
    )
    (tmp_path / places[3]).write_text("")
    assert label_file(str(tmp_path / "x" / "images"), "s/a.jpg", own) == str(tmp_path / places[3])
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert label_file(root, name, str(tmp_path / "link" / "labels")) == str(tmp_path / places[1])


def write_scenes(root, part: str, numbers, share: str = "0.5") -> None:
    """Images below images/, and below labels/ of each a box as wide as told."""
    for n in numbers:
        made.save(root / "images" / part / f"{n}.png", (40, 30), [])
        txt = root / "labels" / part / f"{n}.txt"
        txt.parent.mkdir(parents=True, exist_ok=True)
        txt.write_text(f"0 0.5 0.5 {share} 0.5")
    (root / "classes.txt").write_text("cat")


def test_a_labels_folder_that_is_named_is_the_only_one_that_counts(tmp_path):
    write_scenes(tmp_path, "", range(3))
    shutil.copytree(tmp_path / "labels", tmp_path / "labels_v2")
    for n in range(2):
        (tmp_path / "labels_v2" / f"{n}.txt").write_text("0 0.5 0.5 0.25 0.5")
    (tmp_path / "labels_v2" / "2.txt").unlink()
    for images in (None, str(tmp_path / "images")):
        labels = read_labels(str(tmp_path / "labels_v2"), images)
        assert [x["bbox"] for x in labels.annotations] == [[15, 7.5, 10, 15]] * 2
        assert labels.unlabeled == ["2.png"]
        old = read_labels(str(tmp_path / "labels"), images)
        assert [x["bbox"] for x in old.annotations] == [[10, 7.5, 20, 15]] * 3
    (tmp_path / "labels_v2" / "data.yaml").write_text("names: [cat]\ntrain: ../images")
    labels = read_labels(str(tmp_path / "labels_v2"))
    assert [x["bbox"] for x in labels.annotations] == [[15, 7.5, 10, 15]] * 2
    assert labels.unlabeled == ["2.png"]


def test_parts_below_one_images_folder_stay_apart(tmp_path):
    write_scenes(tmp_path, "train", range(4))
    write_scenes(tmp_path, "val", range(7, 9))
    (tmp_path / "labels" / "train" / "3.txt").unlink()
    images = str(tmp_path / "images")
    train = read_labels(str(tmp_path / "labels" / "train"), images)
    assert [x["file_name"] for x in train.images] == [f"train/{n}.png" for n in range(3)]
    assert train.unlabeled == ["train/3.png"]  # and not the images of val
    val = read_labels(str(tmp_path / "labels" / "val"), images)
    assert [x["file_name"] for x in val.images] == ["val/7.png", "val/8.png"]


@pytest.mark.parametrize("named", ["labels", "data.yaml", ""])
def test_labels_are_not_those_of_another_set_s_images(named, tmp_path):
    for part, numbers in (("train", range(4)), ("val", range(7, 9))):
        write_scenes(tmp_path / part, "", numbers)
        (tmp_path / part / "data.yaml").write_text("names: [cat]")
    paths = {part: str(tmp_path / part / named) for part in ("train", "val")}
    images = str(tmp_path / "train" / "images")
    with pytest.raises(UserError, match="a txt"):
        read_labels(paths["val"], images)
    sets = read_data(labeled=paths["train"], images=images, val=paths["val"]).sets
    assert {part: len(labels.images) for part, labels in sets.items()} == {"train": 4, "val": 2}


def test_a_yaml_apart_from_images_and_labels_only_names_the_classes(tmp_path):
    write_scenes(tmp_path / "set", "", range(2))
    (tmp_path / "yamls").mkdir()
    (tmp_path / "yamls" / "my.yaml").write_text("names: [cat]")
    images = str(tmp_path / "set" / "images")
    assert len(read_labels(str(tmp_path / "yamls" / "my.yaml"), images).images) == 2
