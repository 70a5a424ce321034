"""Images are found by the names that tools give them, and never another one in their place."""

import unicodedata

import pytest
from PIL import Image

import layouts_made as made
from sad.layouts.image_index import ImageIndex
from sad.utils.errors import UserError


@pytest.fixture
def index(tmp_path):
    for name in (
        "one/a.jpg",
        "two/a.jpg",
        "two/B.PNG",
        "c.d.jpg",
        "e.png",
        "e.jpg",
        "Ä.jpg",
        "f.jpg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    (tmp_path / "broken.jpg").write_text("no image")
    return ImageIndex(str(tmp_path))


def test_names_lead_to_images(index):
    cases = {
        "one/a.jpg": "one/a.jpg",
        "./one/a.jpg": "one/a.jpg",
        "one\\a": "one/a.jpg",
        "ONE/A.JPG": "one/a.jpg",
        f"{index.root}/two/a.jpg": "two/a.jpg",
        "a.jpg": None,  # which of the two?
        "three/a.jpg": None,
        "C:\\photos\\b.png": "two/B.PNG",
        "/home/x/b.jpeg": "two/B.PNG",
        "b": "two/B.PNG",
        "c.d": "c.d.jpg",
        "c.d.png": "c.d.jpg",
        "c": None,
        "f.x": None,  # no image's ending: it belongs to the name
        "e.jpg": "e.jpg",
        "e": None,
        "e.bmp": None,
        unicodedata.normalize("NFD", "ä.jpg"): "Ä.jpg",
        "": None,
    }
    assert {name: index.find(name) for name in cases} == cases


def test_an_exact_name_goes_before_another_case(tmp_path):
    for name in ("a.jpg", "A.jpg"):
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    index = ImageIndex(str(tmp_path))
    if len(index.names) == 2:  # a file system that tells them apart
        assert [index.find(x) for x in ("a.jpg", "A.jpg", "A.JPG")] == ["a.jpg", "A.jpg", None]


def index_of(tmp_path, *names) -> ImageIndex:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    return ImageIndex(str(tmp_path))


def test_no_entry_takes_an_image_that_another_one_names(tmp_path):
    index = index_of(tmp_path, "cam2/1.jpg", "cam2/2.jpg", "cam3/5.jpg", "6.jpg")
    cases = {
        "cam1/1.jpg": None,  # though it comes first
        "cam2/1.jpg": "cam2/1.jpg",
        "CAM2\\1.jpg": "cam2/1.jpg",
        "cam1/2.jpg": None,  # which none names, but its folder
        "2.jpg": "cam2/2.jpg",
        "cam4/5.jpg": None,  # each could mean cam3/5.jpg
        "cam5/5.jpg": None,
        "old/photos/6.jpg": "6.jpg",
        "gone.jpg": None,
    }
    assert index.find_all(cases) == cases
    assert index.find_all(["cam4/5.jpg"]) == {"cam4/5.jpg": "cam3/5.jpg"}
    assert index.find_all(["cam4/5.jpg"], ["cam3/5.jpg"]) == {"cam4/5.jpg": None}


def test_paths_of_another_machine_lead_to_the_folder_that_they_end_with(tmp_path):
    index = index_of(tmp_path, "cam2/1.jpg", "cam3/1.jpg", "cam3/2.jpg")
    cases = {
        "C:\\p\\cam2\\1.jpg": "cam2/1.jpg",
        "C:\\p\\cam3\\1.jpg": "cam3/1.jpg",
        "C:\\p\\cam2\\2.jpg": None,
    }
    assert index.find_all(cases) == cases
    one = ["C:\\p\\cam3\\2.jpg", "C:\\q\\cam3\\2.jpg"]  # which of the two is it?
    assert index.find_all(one) == dict.fromkeys(one)


def test_sizes_are_those_that_training_reads(index, tmp_path):
    made.save_turned(tmp_path / "turned.jpg", (6, 9), [])
    sizes = index.sizes(["one/a.jpg", "turned.jpg", "broken.jpg"])
    assert sizes.pop("one/a.jpg") == (4, 3) and sizes.pop("turned.jpg") == (6, 9)
    assert isinstance(sizes.pop("broken.jpg"), str)


def test_only_some_folders_are_looked_in(index, tmp_path):
    some = ImageIndex(str(tmp_path), [str(tmp_path / "two"), str(tmp_path / "one")])
    assert some.names == ["one/a.jpg", "two/B.PNG", "two/a.jpg"]
    assert some.below(str(tmp_path / "two")) == ["two/B.PNG", "two/a.jpg"]
    assert some.below(str(tmp_path)) == some.names


def test_a_folder_must_be_there_and_hold_images(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UserError):
            ImageIndex(str(path))
