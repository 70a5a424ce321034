"""Boxes of images that EXIF turns, or that were resized, against the pixels themselves."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from sad.data.images import read_image
from sad.layouts.frames import fits, is_resized, orientation, scale, turn, were_drawn_unturned


def turned_image(path, exif: int, box):
    """Of 80 x 40 stored pixels, dark but for a box; EXIF says how it is shown."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = 255
    image = Image.fromarray(pixels)
    data = image.getexif()
    data[ExifTags.Base.Orientation] = exif
    image.save(path, exif=data)


@pytest.mark.parametrize("exif", range(1, 9))
def test_a_turned_box_lies_where_its_pixels_are_shown(exif, tmp_path):
    box = (10, 4, 30, 14)
    turned_image(tmp_path / "a.png", exif, box)
    assert orientation(str(tmp_path / "a.png")) == exif
    shown = read_image(str(tmp_path / "a.png"), "RGB")
    height, width = shown.shape[:2]
    x0, y0, x1, y1 = map(round, turn(box, exif, (width, height)))
    expected = np.zeros((height, width), bool)
    expected[y0:y1, x0:x1] = True
    assert np.array_equal(shown[:, :, 0] > 128, expected)


def test_whether_boxes_were_drawn_before_the_turn(tmp_path):
    turned_image(tmp_path / "a.png", 6, (50, 4, 70, 14))
    stored, shown = (80, 40), (40, 80)
    assert were_drawn_unturned({"a.png": (stored, shown, [(50, 4, 70, 14)])}, str(tmp_path))
    # The same numbers in the frame that is shown.
    assert not were_drawn_unturned({"a.png": (stored, shown, [(4, 50, 14, 70)])}, str(tmp_path))
    assert not were_drawn_unturned({"a.png": (shown, shown, [(4, 50, 14, 70)])}, str(tmp_path))


def test_sizes():
    assert fits((-1, 0, 101, 50), (100, 50)) and not fits((-5, 0, 100, 50), (100, 50))
    assert is_resized((640, 480), (320, 240)) and is_resized((640, 480), (321, 240))
    assert not is_resized((640, 480), (640, 480)) and not is_resized((640, 480), (480, 640))
    assert scale((10, 20, 30, 40), (100, 200), (50, 400)) == (5, 40, 15, 80)
