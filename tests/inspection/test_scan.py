"""A look at files: sizes, problems, and what images are compared by."""

import numpy as np
from PIL import Image

from planted import noise
from sad.inspection.scan import scan
from sad.inspection.similar import read_changes


def test_good_and_bad_files(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    noise(0).save(tmp_path / "a.jpg", exif=turned)
    noise(1).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"")
    paths = [str(tmp_path / name) for name in ("a.jpg", "b.png", "c.png", "d.png")]
    a, b, c, d = scan([{"file_name": path} for path in paths])
    assert (a.size, b.size, a.problem, b.problem) == ((96, 64), (64, 96), None, None)
    np.testing.assert_array_equal(b.changes, read_changes(paths[1]))
    assert c.problem and d.problem and c.changes is d.changes is c.size is None


def test_sizes_that_labels_say_are_held_to_the_file(tmp_path):
    noise(0).save(tmp_path / "a.png")
    path = str(tmp_path / "a.png")
    good, swapped = scan(
        [{"file_name": path, "height": h, "width": w} for h, w in ((64, 96), (96, 64))]
    )
    assert good.problem is None and "96 x 64" in swapped.problem


def test_nothing():
    assert scan([]) == []
