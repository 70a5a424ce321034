"""One scene: its boxes, its classes, and what it shows."""

import numpy as np
import pytest

from sad.digit_scenes import render, sources
from sad.digit_scenes.render import SceneOptions, render_scene
from sad.digit_scenes.sources import SPLITS

NUMBERS = SceneOptions(
    image_size=192, num_classes=80, objects_per_image=(3, 6), object_size=(16, 50)
)


@pytest.mark.parametrize("split", SPLITS)
def test_a_scene_shows_nothing_of_another_split(split, monkeypatch):
    options = SceneOptions()
    before = [render_scene(options, split, index)[0] for index in range(6)]

    glyphs = sources.glyphs()[split]  # without the others; a look at one is a KeyError
    photographs = []
    for photograph in sources.photographs():
        pixels = np.arange(photograph[..., 0].size).reshape(photograph.shape[:2])
        own = np.isin(pixels, sources.part_of_photograph(pixels, split))
        photographs.append(np.where(own[..., None], photograph, 0).astype(np.uint8))
    monkeypatch.setattr(render, "glyphs", lambda: {split: glyphs})
    monkeypatch.setattr(render, "photographs", lambda: photographs)
    for index, image in enumerate(before):
        assert np.array_equal(render_scene(options, split, index)[0], image)


@pytest.mark.parametrize("options", [SceneOptions(), NUMBERS], ids=["10 classes", "80 classes"])
@pytest.mark.parametrize("split", ["labeled", "minival"])
def test_boxes_are_tight_around_ink_that_is_really_there(options, split):
    size, errors = options.image_size, []
    for index in range(15):
        image, objects = render_scene(options, split, index)
        assert image.shape == (size, size, 3) and image.dtype == np.uint8
        least, most = options.objects_per_image
        assert least <= len(objects) <= most
        for thing in objects:
            ys, xs = np.nonzero(thing.visible)
            x, y, width, height = thing.box()
            assert (x, y) == (xs.min(), ys.min())
            assert (x + width, y + height) == (xs.max() + 1, ys.max() + 1)
            assert 0 <= x < x + width <= size and 0 <= y < y + height <= size
            # upright height 16 to 60: a faint end may be cut, a slant adds at most 26 %
            digits = len(options.class_names()[0])
            smallest, largest = options.object_size
            assert max(width, height) >= 0.6 * smallest
            assert height <= largest * (0.97 + 0.26 * digits)
            errors.append(np.abs(image[thing.visible].mean(axis=0) - thing.color).max())
    # inside the ink the image has the object's colour, up to noise and soft edges
    assert max(errors) < 40 and np.mean(errors) < 15


def test_at_most_thirty_percent_of_a_digit_is_hidden():
    overlaps = 0
    for index in range(60):
        _, objects = render_scene(SceneOptions(objects_per_image=(5, 5)), "labeled", index)
        for position, thing in enumerate(objects):
            later = np.zeros_like(thing.full)
            for other in objects[position + 1 :]:
                later |= other.full
            assert np.array_equal(thing.visible, thing.full & ~later)
            hidden = (thing.full & later).sum() / thing.full.sum()
            assert hidden <= 0.3
            overlaps += hidden > 0
    assert overlaps > 20  # occlusion does occur


@pytest.mark.slow
def test_every_class_occurs_about_equally_often():
    labels = [
        thing.label
        for index in range(150)
        for thing in render_scene(SceneOptions(), "labeled", index)[1]
    ]
    counts = np.bincount(labels, minlength=10)
    assert len(counts) == 10 and counts.min() > 25 and 2.8 < len(labels) / 150 < 4.2


def test_numbers_are_their_digits_side_by_side():
    assert SceneOptions(num_classes=10).class_names() == list("0123456789")
    names = NUMBERS.class_names()
    assert len(names) == 80 and names[0] == "00" and names[7] == "07" and names[-1] == "79"
    shapes = [
        thing.box()[2] / thing.box()[3]
        for index in range(10)
        for thing in render_scene(NUMBERS, "tune", index)[1]
    ]
    assert np.median(shapes) > 1.1


def test_another_seed_gives_other_scenes():
    first, second = (render_scene(SceneOptions(seed=seed), "tune", 0)[0] for seed in (0, 1))
    assert not np.array_equal(first, second)
    splits = [render_scene(SceneOptions(), split, 0)[0] for split in SPLITS]
    assert all(not np.array_equal(splits[0], other) for other in splits[1:])
