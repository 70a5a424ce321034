"""Samples, and what stands in for image files that cannot be read."""

import shutil
from types import SimpleNamespace

import pytest

from sad.data.images import ImageError
from sad.data.mixed_dataset import MixedDataset
from sad.data.sampler import SampleKey
from sad.engine.unreadable import ReadableShare
from sad.utils.errors import UserError
from samples import loaded, same
from toy import peak_memory, png_bomb

WAYS_TO_BREAK = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "text": lambda path: path.write_text("<html>404</html>"),
    "broken chunk": lambda path: path.write_bytes(
        path.read_bytes().replace(b"IDAT", b"\xdc<\x1a\x9d")
    ),
    "other size": lambda path: shutil.copy(path.with_name("000002.png"), path),
    "2.5 gigapixels": lambda path: path.write_bytes(png_bomb()),
    "as many as Pillow takes": lambda path: path.write_bytes(png_bomb(13_000, 13_000)),
}


@pytest.fixture
def broken(toy, tmp_path):
    """A function that breaks files of a copy of the toy and gives its config."""
    root = tmp_path / "copy"
    shutil.copytree(toy.root / "labeled", root / "labeled")
    shutil.copytree(toy.root / "unlabeled", root / "unlabeled")

    def break_files(way, *names):
        for name in names:
            WAYS_TO_BREAK[way](root / name)
        opts = ["DATASETS.REGISTER.toy_labeled.IMAGES", str(root / "labeled")]
        opts += ["DATASETS.REGISTER.toy_pseudo_labels.IMAGES", str(root / "unlabeled")]
        return toy.cfg("SAD.yaml", "SAD.LOADER.MIX", "union", *opts)

    return break_files


@pytest.mark.parametrize("way", WAYS_TO_BREAK)
@pytest.mark.parametrize("folder", ["labeled", "unlabeled"])
def test_unreadable_image_is_replaced_by_one_of_its_origin(broken, way, folder):
    before = peak_memory()
    samples = [s for batch in loaded(broken(way, f"{folder}/000003.png"), 30) for s in batch]
    # A bomb is refused; what Pillow takes without an error are 180 million pixels.
    assert peak_memory() - before < (100 if "giga" in way else 800)
    replaced = [sample for sample in samples if sample["unreadable"]]
    assert len(replaced) >= 3
    for sample in replaced:
        assert sample["origin"] == folder
        assert not sample["file_name"].endswith(f"{folder}/000003.png")
        assert all(name.endswith(f"{folder}/000003.png") for name, _ in sample["unreadable"])
    assert len({sample["file_name"] for sample in replaced}) > 1
    # The others are what they would have been.
    assert {s["origin"] for s in samples} == {"labeled", "unlabeled"}


def test_replacement_is_repeatable(broken, toy):
    cfg = broken("cut short", "labeled/000003.png")
    for one, other in zip(loaded(cfg, 12), loaded(cfg, 12), strict=True):
        assert all(same(*pair) for pair in zip(one, other, strict=True))
    undamaged = toy.cfg("SAD.yaml", "SAD.LOADER.MIX", "union")
    for one, other in zip(loaded(cfg, 12), loaded(undamaged, 12), strict=True):
        for pair in zip(one, other, strict=True):
            assert same(*pair) or pair[0]["unreadable"]


def refusing(item):
    raise ImageError("broken")


def test_every_image_unreadable_is_an_error_not_a_hang():
    dataset = MixedDataset([{"file_name": f"{n}.png"} for n in range(4)], [], refusing)
    batch = [dataset[SampleKey(n, (0, 0, n))] for n in range(4)]
    assert all("image" not in sample for sample in batch)
    assert all(len(sample["unreadable"]) == MixedDataset.MAX_TRIES for sample in batch)
    # As many as are drawn; those tried in their places are not images of the batch.
    with pytest.raises(UserError, match="^4 of 4 images could not be read, nor 9 that were drawn"):
        ReadableShare(1.0, 100).check(batch)


@pytest.mark.parametrize("bug", [AttributeError, ValueError, OSError, RuntimeError])
def test_mistakes_in_code_are_not_taken_for_broken_images(bug):
    def mapper(item):
        raise bug("a bug")

    dataset = MixedDataset([{"file_name": "a.png"}], [], mapper)
    with pytest.raises(bug, match="a bug"):
        dataset[SimpleNamespace(index=0, augmentation_seed=(0, 0, 0))]
