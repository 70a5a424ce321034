"""Copies of photographs are found, and other photographs of the same kind are not."""

import io
import os
from importlib import resources

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from sad.data.images import ImageError
from sad.inspection import similar
from sad.inspection.similar import are_identical, find_resembling, find_similar, read_changes

PHOTOGRAPHS = [
    *("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "gravel.png"),
    *("grass.png", "ihc.png", "moon.png", "motorcycle_left.png", "page.png", "rocket.jpg"),
    "text.png",
]
TURNED = Image.Exif()
TURNED[0x0112] = 6


def photograph(name: str) -> Image.Image:
    with resources.files("skimage.data").joinpath(name).open("rb") as file:
        image = Image.open(file).convert("RGB")
    image.thumbnail((256, 256))
    return image


def half(image):
    return image.resize((image.width // 2, image.height // 2))


COPIES = {  # of the file's name: (image -> image, options of saving)
    "same.png": (lambda x: x, {}),
    "half.jpg": (half, {}),
    "squashed.jpg": (lambda x: x.resize((416, 416)), {}),
    "poor.jpg": (lambda x: x, {"quality": 25}),
    "bright.jpg": (lambda x: ImageEnhance.Brightness(x).enhance(1.2), {}),
    "dark.jpg": (lambda x: ImageEnhance.Brightness(x).enhance(0.5), {}),
    "grey.png": (lambda x: x.convert("L"), {}),
    "turned.jpg": (lambda x: x.transpose(Image.Transpose.ROTATE_90), {"exif": TURNED}),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("originals")
    paths = [str(folder / f"{os.path.splitext(name)[0]}.jpg") for name in PHOTOGRAPHS]
    for name, path in zip(PHOTOGRAPHS, paths, strict=True):
        photograph(name).save(path)
    return paths


def test_different_photographs_are_in_no_group(originals):
    assert find_similar(originals) == []


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found(originals, tmp_path, name):
    change, options = COPIES[name]
    copies = [str(tmp_path / f"{number}_{name}") for number in range(len(originals))]
    for original, copy in zip(originals, copies, strict=True):
        change(Image.open(original)).save(copy, **options)
    count = len(originals)
    assert find_similar([*originals, *copies]) == [[i, i + count] for i in range(count)]


def test_plain_images_are_told_by_their_bytes(originals, tmp_path):
    paths = [str(tmp_path / f"{number}.png") for number in range(4)]
    for path, grey in zip(paths, (0, 90, 0, 255), strict=True):
        Image.new("L", (50, 40), grey).save(path)
    assert not read_changes(paths[1]).any()
    assert find_similar([originals[0], *paths]) == [[1, 3]]


def test_resembling_one_itself(originals, tmp_path):
    poor, plain = str(tmp_path / "poor.jpg"), [str(tmp_path / f"{n}.png") for n in range(3)]
    Image.open(originals[1]).save(poor, quality=25)
    for path, grey in zip(plain, (0, 90, 0), strict=True):
        Image.new("L", (50, 40), grey).save(path)
    broken = str(tmp_path / "broken.jpg")
    open(broken, "wb").close()
    ours = [originals[0], poor, *plain[:2], broken]
    assert find_resembling(ours, [originals[1], plain[2], broken]) == {1, 2}
    assert find_resembling(ours, [broken]) == find_resembling([], ours) == set()


def test_a_chain_resembles_its_neighbours_alone(monkeypatch):
    """The ends of three steps by 20 degrees are 60 apart, and 0.9 is 26."""
    turns = np.radians([0, 20, 40, 60])
    vectors = {str(n): np.array([np.cos(a), np.sin(a)]) for n, a in enumerate(turns)}
    monkeypatch.setattr(similar, "read_changes", vectors.get)
    assert find_similar(list(vectors)) == [[0, 1, 2, 3]]
    assert find_resembling(["1", "2", "3"], ["0"]) == {0}


def test_what_cannot_be_read_is_in_no_group(originals, tmp_path):
    broken = [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg"), str(tmp_path / "absent.jpg")]
    for path in broken[:2]:
        open(path, "wb").close()
    with pytest.raises(ImageError):
        read_changes(broken[0])
    assert find_similar([*broken, originals[3], originals[3]]) == [[3, 4]]
    assert find_similar(broken) == find_similar([]) == []


def test_identical_files(originals, tmp_path):
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(open(originals[0], "rb").read())
    assert are_identical([originals[0], str(copy)])
    buffer = io.BytesIO()
    Image.open(originals[0]).save(buffer, "JPEG", quality=50)
    copy.write_bytes(buffer.getvalue())
    assert not are_identical([originals[0], str(copy)])


@pytest.mark.parametrize("block", [1, 3, 512])
def test_groups_are_the_connected_parts_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(similar, "BLOCK", block)
    rng = np.random.default_rng(block)
    # On a circle, where neighbours are alike: chains of several, and lonely ones.
    angles = rng.uniform(0, 2 * np.pi, 9)
    changes = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    alike = changes @ changes.T >= similar.ALIKE
    reached = np.linalg.matrix_power(alike.astype(int), 9) > 0
    expected = sorted({tuple(np.flatnonzero(row).tolist()) for row in reached if row.sum() > 1})
    found = find_similar([""] * 9, list(changes))
    assert found == [list(group) for group in expected] and found


def test_vectors_have_length_one(originals):
    changes = read_changes(originals[0])
    assert changes.shape == (480,) and changes.dtype == np.float32
    assert np.linalg.norm(changes) == pytest.approx(1, abs=1e-5)
