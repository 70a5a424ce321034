"""Pictures with boxes: where the colours are, and how large the pictures."""

import numpy as np
import pytest
from PIL import ImageColor

from sad.predict.detections import Detections
from sad.predict.drawing import BESIDE, LEAST, colors_of, draw, draw_side_by_side

NAMES = ["cat", "dog"]
COLORS = colors_of(NAMES)


def found(*boxes, label=0):
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.5, np.float32),
        np.full(len(boxes), label), NAMES)  # fmt: skip


def has(picture, x, y, color):
    """Whether the colour is within two pixels."""
    pixels = np.asarray(picture)[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].reshape(-1, 3)
    return (pixels == ImageColor.getrgb(color)).all(axis=1).any()


def test_colours_are_by_name_and_differ():
    colors = colors_of(["cat", "dog"], ["dog", "cow"])
    assert list(colors) == ["cat", "dog", "cow"] and len(set(colors.values())) == 3


def test_a_box_is_drawn_where_it_is():
    image = np.full((700, 900, 3), 128, np.uint8)
    picture = draw(image, found([100, 200, 500, 600], label=1), COLORS)
    assert picture.size == (900, 700) and (image == 128).all()
    for x, y in ((100, 400), (500, 400), (300, 600), (300, 200)):
        assert has(picture, x, y, COLORS["dog"])
    for x, y in ((300, 400), (50, 400), (550, 400)):
        assert not has(picture, x, y, COLORS["dog"])
    assert np.asarray(picture)[650, 850].tolist() == [128] * 3


def test_a_small_image_is_enlarged():
    image = np.zeros((48, 64, 3), np.uint8)
    picture = draw(image, found([16, 12, 48, 36]), COLORS)
    assert picture.size == (640, 480)
    assert has(picture, 160, 300, COLORS["cat"]) and has(picture, 480, 300, COLORS["cat"])


def test_a_huge_image_is_made_as_small_as_every_format_takes():
    image = np.zeros((4, 70_000, 3), np.uint8)
    assert max(draw(image, found([0, 0, 9, 3]), COLORS).size) < 16_384  # of WebP


def test_an_image_without_boxes_is_as_it_was():
    image = np.random.default_rng(0).integers(0, 255, (LEAST, 700, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(draw(image, found(), COLORS)), image)


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [-5, -5, 900, 800], [699, 640, 700, 640.5]])
def test_boxes_at_the_border_and_without_an_extent(box):
    image = np.zeros((650, 700, 3), np.uint8)
    picture = draw(image, found(box), COLORS)
    assert picture.size == (700, 650)
    color = ImageColor.getrgb(COLORS["cat"])
    assert (np.asarray(picture) == color).all(axis=-1).any()  # of the name at least


@pytest.mark.parametrize(("height", "width"), [(48, 64), (500, 4000), (3000, 2000)])
def test_side_by_side(height, width):
    image = np.full((height, width, 3), 128, np.uint8)
    left, right = found([0.2 * width, 0.2 * height, 0.6 * width, 0.6 * height]), found()
    picture = draw_side_by_side(image, [("one", left), ("other", right)], COLORS)
    assert LEAST <= picture.width < 2 * BESIDE + 100 and picture.height < BESIDE + 200
    pixels = (np.asarray(picture) == ImageColor.getrgb(COLORS["cat"])).all(axis=-1)
    half = picture.width // 2
    assert pixels[:, :half].any() and not pixels[:, half:].any()
