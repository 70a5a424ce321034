"""Which unlabelled images are left: readable ones that are neither labelled nor tested on."""

import os
import shutil

import pytest
from PIL import Image

from sad.pipeline.data import read_data
from sad.pipeline.split import split_off
from sad.pipeline.unlabeled import sift_unlabeled
from sad.utils.errors import UserError
from users_data import make_images, write_coco


@pytest.fixture
def arguments(tmp_path):
    truth = make_images(tmp_path / "images", 24, seed=1)
    make_images(tmp_path / "more", 3, seed=2)
    labels = write_coco(tmp_path / "labels.json", truth)
    paths = labels, tmp_path / "images", tmp_path / "more"
    return dict(zip(("labeled", "images", "unlabeled"), map(str, paths), strict=True))


def sifted(arguments, **options):
    data = read_data(**arguments)
    split_off(data, 0)
    del data.notes[:]
    sift_unlabeled(data, **options)
    return data


def names(data) -> list[str]:
    return [os.path.basename(path) for path in data.unlabeled]


def test_good_images_stay(arguments):
    data = sifted(arguments)
    assert names(data) == ["2_000.png", "2_001.png", "2_002.png"] and not data.notes
    assert list(data.sizes.values()) == [(64, 64)] * 3


def test_each_reason_is_counted(arguments, tmp_path):
    more = tmp_path / "more"
    data = sifted(arguments)
    of_test, of_train = (data.sets[x].images[0]["file_name"] for x in ("test", "train"))
    (more / "broken.jpg").write_bytes(b"no image")
    (more / "empty.png").touch()
    shutil.copy(tmp_path / "images" / of_train, more / "copy.png")
    os.link(tmp_path / "images" / of_test, more / "link.png")
    for name, of in (("alike.jpg", of_test), ("like_train.jpg", of_train)):
        Image.open(tmp_path / "images" / of).save(more / name, quality=85)
    data = sifted(arguments)
    # What resembles an image that is trained on does no harm.
    assert names(data) == ["2_000.png", "2_001.png", "2_002.png", "like_train.jpg"]
    assert [note.split()[0] for note in data.notes] == ["2", "2", "1"]
    assert f"the first is {more / 'broken.jpg'}" in data.notes[0]


def test_of_a_fixed_camera_copies_alone_are_left_out(arguments, tmp_path):
    more = tmp_path / "more"
    of_test = tmp_path / "images" / sifted(arguments).sets["test"].images[0]["file_name"]
    shutil.copy(of_test, more / "copy.png")
    for quality in (70, 75, 80, 85):
        Image.open(of_test).save(more / f"alike_{quality}.jpg", quality=quality)
    data = sifted(arguments)
    assert len(data.unlabeled) == 3 and "--fixed-camera" in data.notes[-1]
    data = sifted(arguments, fixed_camera=True)
    assert len(data.unlabeled) == 7 and [note.split()[0] for note in data.notes] == ["1"]


def test_a_link_that_leads_nowhere(arguments, tmp_path):
    os.symlink(tmp_path / "absent.png", tmp_path / "more" / "dangling.png")
    data = read_data(**arguments)
    assert data.image_digests()
    split_off(data, 0)
    sift_unlabeled(data)
    assert len(data.unlabeled) == 3


def test_nothing_is_left_of_a_folder_that_was_named(arguments):
    with pytest.raises(UserError, match="no unlabelled image is left of 24 .* labelled ones"):
        sifted(arguments | {"unlabeled": arguments["images"]})


def test_without_unlabelled_images(arguments):
    data = sifted({key: x for key, x in arguments.items() if key != "unlabeled"})
    assert data.unlabeled == [] and not data.notes
