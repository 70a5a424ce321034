"""The output folder: what is in it, and when."""

import json

import numpy as np
import pytest
from PIL import Image

from sad.predict.detections import Detections
from sad.predict.inputs import Source
from sad.predict.results import Results, Shown


class Named:
    """As much of a detector as results ask for."""

    class_names = ["cat", "dog"]


IMAGE = np.full((48, 64, 3), 100, np.uint8)
FOUND = Detections(
    np.array([[8, 12, 24, 36]], np.float32), np.array([0.9], np.float32), np.array([1]),
    Named.class_names)  # fmt: skip


def results(tmp_path, number=1, yolo=False):
    shown = [Shown(f"name {n}", f"{n}.json", Named(), 0.5) for n in range(number)]
    return Results(shown, str(tmp_path / "out"), yolo)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_nothing_is_there_before_the_first_image(tmp_path):
    results(tmp_path).close()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("failing", ["0.json", "1.json", None])
def test_of_a_call_that_fails_nothing_stays(tmp_path, failing):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("of the user")
    of_call = results(tmp_path, 2, yolo=True)
    source = Source("/p/a/1.png", "a/1.png")
    of_call.save(source, of_call.add(source, IMAGE, [FOUND, FOUND]))
    assert len(files(tmp_path / "out")) == 3
    if failing:
        (tmp_path / "out" / failing).mkdir()  # in whose place no file can be written
        with pytest.raises(OSError):
            of_call.finish("/p")
        (tmp_path / "out" / failing).rmdir()
    of_call.close()
    assert [x.name for x in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["predicted_pictures", "predicted_yolo"])
def test_two_calls_at_once_do_not_share_a_folder(tmp_path, name):
    """The other one has come between `check_free` and the first result."""
    (tmp_path / "out" / name).mkdir(parents=True)
    (tmp_path / "out" / name / "theirs").touch()
    of_call = results(tmp_path, yolo=True)
    with pytest.raises(FileExistsError):
        of_call.add(Source("/p/1.png", "1.png"), IMAGE, [FOUND])
    of_call.close()
    assert files(tmp_path / "out") == [f"{name}/theirs"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_json_for_each_detector(tmp_path, number):
    of_call = results(tmp_path, number, yolo=True)
    of_call.add(Source("/p/a/1.png", "a/1.png"), IMAGE, [FOUND, FOUND[:0]][:number])
    of_call.add(Source("/p/c.avi", "c.avi"), IMAGE, [FOUND] * number, frame=3)
    of_call.finish("/p")
    of_call.close()
    jsons = [f"{n}.json" for n in range(number)]
    txts = [f"predicted_yolo/{name}" for name in ("a/1.txt", "c.avi/000003.txt", "data.yaml")]
    assert files(tmp_path / "out") == [*jsons, *txts]
    contents = [json.loads((tmp_path / "out" / name).read_text()) for name in jsons]
    assert [len(content["annotations"]) for content in contents] == [2, 1][:number]
    assert of_call.boxes == (2 if number == 1 else 3)
    for content in contents:
        assert content["info"] == {"image_root": "/p", "score_threshold": 0.5}
        assert [x.get("frame") for x in content["images"]] == [None, 3]


@pytest.mark.parametrize(
    ("name", "expected", "kind"),
    [("1.JPG", "1.JPG", "JPEG"), ("a/1.tif", "a/1.tif", "TIFF"), ("1.webp", "1.webp", "WEBP"),
     ("1.heic", "1.heic.png", "PNG"), ("photo", "photo.png", "PNG")],
)  # fmt: skip
def test_a_picture_has_its_images_name_and_format(tmp_path, name, expected, kind):
    of_call = results(tmp_path)
    source = Source(f"/p/{name}", name)
    of_call.save(source, of_call.add(source, IMAGE, [FOUND]))
    of_call.finish("/p")
    of_call.close()
    assert files(tmp_path / "out") == ["0.json", f"predicted_pictures/{expected}"]
    with Image.open(tmp_path / "out" / "predicted_pictures" / expected) as picture:
        assert picture.format == kind and picture.size == (640, 480)
