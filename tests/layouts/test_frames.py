"""Boxes follow an image that was resized, or that EXIF turns."""

import itertools

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from sad.layouts import frames

STORED = np.zeros((30, 50), np.uint8)  # a patch in x 5 to 20, y 3 to 10
STORED[3:10, 5:20] = 255


def write(path, orientation: int):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(STORED).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_as_pillow_turns_the_pixels(orientation, tmp_path):
    path = write(tmp_path / "a.png", orientation)
    assert frames.orientation(str(path)) == orientation
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    ys, xs = np.nonzero(shown)
    wanted = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    assert frames.turn((5, 3, 20, 10), orientation, shown.shape[::-1]) == wanted


def test_an_orientation_that_is_none_turns_nothing(tmp_path):
    assert frames.orientation(str(write(tmp_path / "a.png", 77))) == 1
    Image.fromarray(STORED).save(tmp_path / "b.png")
    assert frames.orientation(str(tmp_path / "b.png")) == 1


def test_resized_images_keep_their_shape():
    assert frames.is_resized((4000, 3000), (640, 480)) and frames.is_resized((100, 75), (401, 300))
    assert not frames.is_resized((640, 480), (641, 480))
    assert not frames.is_resized((640, 480), (480, 640))
    assert frames.scale((10, 20, 30, 40), (100, 50), (200, 200)) == (20, 80, 60, 160)


def test_boxes_tell_whether_they_were_drawn_on_resized_images():
    small, large = (100, 75), (400, 300)
    inner, outer = (10, 10, 60, 60), (200, 200, 300, 290)  # of the large one alone
    cases = [  # declared, size, boxes, whether they are those of the file
        (small, large, [inner, inner], False),
        (small, large, [inner, outer], True),
        (large, small, [inner, outer, outer], False),  # one that was made smaller
        (large, small, [inner, outer, (10, 10, 500, 200)], False),  # with a slip
        (large, (300, 400), [(10, 10, 350, 390)], False),  # turned: none is resized
    ]
    for declared, size, boxes, drawn in cases:
        images = {str(n): (declared, size, [box]) for n, box in enumerate(boxes)}
        assert frames.were_drawn_resized(images) == drawn


def test_boxes_on_images_that_lie_tell_whether_they_were_turned(tmp_path):
    write(tmp_path / "side.png", 6)
    write(tmp_path / "plain.png", 1)
    shown, stored = (30, 50), (50, 30)
    low, wide = (2, 30, 20, 48), (25, 2, 48, 20)  # within what is shown, or within what is stored
    cases = {
        (low,): False,
        (wide,): True,
        (low, wide, wide): True,
        ((2, 2, 9, 9),): False,
        (): False,
    }
    for boxes, turned in cases.items():
        images = {"side.png": (stored, shown, list(boxes))}
        assert frames.were_drawn_unturned(images, str(tmp_path)) == turned
    for name, declared in itertools.product(["plain.png"], [stored, shown]):
        images = {name: (declared, declared[::-1], [wide, low])}
        assert not frames.were_drawn_unturned(images, str(tmp_path))
