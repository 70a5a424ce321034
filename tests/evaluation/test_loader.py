"""The loader of a test set: every image once, and none that cannot be read is passed by."""

import json
import shutil

import pytest

from sad.evaluation.loader import build_test_loader
from sad.utils.errors import UserError
from toy import SIZES


@pytest.fixture
def loader(toy, tmp_path):
    """Of a copy of the toy's labelled images, in `tmp_path / "images"`."""
    shutil.copytree(toy.path("labeled"), tmp_path / "images")
    images = ("DATASETS.REGISTER.toy_labeled.IMAGES", str(tmp_path / "images"))
    yield build_test_loader(toy.cfg("SAD.yaml", *images), "toy_labeled")
    toy.cfg("SAD.yaml")  # registers the set as it was


def test_each_image_once_in_its_own_size(loader):
    assert len(loader) == len(SIZES)
    samples = [sample for batch in loader for sample in batch]
    assert [(x["image_id"], (x["width"], x["height"])) for x in samples] == [
        (10 * number, size) for number, size in enumerate(SIZES, start=1)
    ]
    assert all(min(sample["image"].shape[1:]) <= 64 for sample in samples)  # MIN_SIZE_TEST


def test_an_image_that_cannot_be_read_is_named(loader, tmp_path):
    broken = tmp_path / "images" / "000003.png"
    broken.write_bytes(broken.read_bytes()[:200])
    seen = []
    with pytest.raises(UserError, match=f"toy_labeled: {broken} "):
        for batch in loader:
            seen += [sample["image_id"] for sample in batch]
    assert seen == [10, 20]


def test_a_set_without_boxes_is_refused(toy, tmp_path):
    json_file = tmp_path / "labeled.json"
    json_file.write_text(json.dumps({**toy.json("labeled.json"), "annotations": []}))
    cfg = toy.cfg("SAD.yaml", "DATASETS.REGISTER.toy_labeled.JSON", str(json_file))
    with pytest.raises(UserError, match="toy_labeled"):
        build_test_loader(cfg, "toy_labeled")
    toy.cfg("SAD.yaml")  # registers the set as it was
