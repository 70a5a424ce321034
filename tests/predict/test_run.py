"""From files to pictures and jsons: what is written where, and what is skipped."""

import json
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sad import Predictor
from sad.predict.inputs import Inputs
from sad.predict.output import PICTURES
from sad.predict.results import Shown
from sad.predict.run import Prediction
from sad.utils.errors import UserError
from toy import png_bomb

NAME = "predictions.json"


@pytest.fixture
def photos(toy, tmp_path):
    return Path(shutil.copytree(toy.path("labeled"), tmp_path / "photos"))


def predicted(predictor, tmp_path, *inputs, threshold=0.0, **options):
    """(what was done, the json) of a call; the output is `out`, without earlier results."""
    out = tmp_path / "out"
    shutil.rmtree(out / PICTURES, ignore_errors=True)
    shown = [Shown("toy", NAME, predictor, threshold)]
    done = Prediction(shown, str(out), **options).run(Inputs([str(x) for x in inputs]))
    return done, json.loads((out / NAME).read_text())


def boxes_of(content, name, **more):
    (image,) = [
        image
        for image in content["images"]
        if image["file_name"] == name and more.items() <= image.items()
    ]
    rows = [x for x in content["annotations"] if x["image_id"] == image["id"]]
    return image, rows


def assert_agrees(rows, found):
    """The json's rows and the predictor's arrays, as far as the json's decimals go."""
    corners = [[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in rows)]
    np.testing.assert_allclose(np.reshape(corners, (-1, 4)), found.boxes, atol=0.011)
    np.testing.assert_allclose([row["score"] for row in rows], found.scores, atol=1e-4)
    assert [row["category_id"] - 1 for row in rows] == found.labels.tolist()


def written(folder):
    return sorted(str(x.relative_to(folder)) for x in folder.rglob("*") if x.is_file())


@pytest.mark.parametrize("batch", [1, 4])
def test_a_folder(predict, photos, tmp_path, batch):
    done, content = predicted(predict, tmp_path, photos, threshold=0.02, batch=batch)
    assert (done.images, done.unreadable, done.boxes) == (6, 0, len(content["annotations"]))
    assert content["info"] == {"image_root": str(photos), "score_threshold": 0.02}
    names = [f"{number:06d}.png" for number in range(1, 7)]
    assert [image["file_name"] for image in content["images"]] == names
    assert [category["name"] for category in content["categories"]] == predict.class_names
    for name in names:
        found = predict(photos / name)
        image, rows = boxes_of(content, name)
        assert_agrees(rows, found[found.scores >= 0.02])
        with (
            Image.open(photos / name) as photo,
            Image.open(tmp_path / "out/predicted_pictures" / name) as x,
        ):
            assert (image["width"], image["height"]) == photo.size
            factor = 640 // max(photo.size)
            assert x.size == (factor * photo.width, factor * photo.height)
    assert written(tmp_path / "out") == [*(f"predicted_pictures/{name}" for name in names), NAME]


def test_an_output_inside_the_folder_that_is_looked_at(predict, photos):
    (photos / "out").mkdir()
    done, content = predicted(predict, photos, photos, batch=1)
    names = [f"{number:06d}.png" for number in range(1, 7)]
    assert [image["file_name"] for image in content["images"]] == names and done.images == 6
    assert written(photos / "out") == [*(f"predicted_pictures/{name}" for name in names), NAME]


def test_images_of_one_name_in_different_folders(predict, photos, tmp_path):
    for folder, name in (("a", "1.png"), ("b", "1.png"), ("b/c", "1.png"), ("b", "1.jpg")):
        (tmp_path / "tree" / folder).mkdir(parents=True, exist_ok=True)
        Image.open(photos / "000002.png").save(tmp_path / "tree" / folder / name)
    _, content = predicted(predict, tmp_path, tmp_path / "tree", yolo=True)
    names = ["a/1.png", "b/1.jpg", "b/1.png", "b/c/1.png"]
    assert sorted(image["file_name"] for image in content["images"]) == names
    pictures = [f"predicted_pictures/{name}" for name in names]
    txts = ["a/1.txt", "b/1.jpg.txt", "b/1.png.txt", "b/c/1.txt", "data.yaml"]
    expected = [*pictures, *(f"predicted_yolo/{name}" for name in txts), NAME]
    assert written(tmp_path / "out") == expected


def test_endings_of_all_kinds(predict, photos, tmp_path):
    image = Image.open(photos / "000003.png")
    folder = tmp_path / "kinds"
    folder.mkdir()
    endings = ["bmp", "jpeg", "JPG", "png", "tif", "TIFF", "webp"]
    for ending in endings:
        image.save(folder / f"a.{ending}")
    image.save(folder / "a.gif")
    done, content = predicted(predict, tmp_path, folder, folder / "a.gif")
    assert done.images == 7 and len(content["images"]) == 7  # a .gif only by its own name
    for ending in endings:
        with Image.open(tmp_path / "out" / "predicted_pictures" / f"a.{ending}") as x:
            assert x.size == (640, 640)
    predicted(predict, tmp_path, folder / "a.gif")
    assert Image.open(tmp_path / "out" / "predicted_pictures" / "a.gif.png").size == (640, 640)


def test_modes_and_orientation_are_those_of_the_projects_reader(predict, photos, tmp_path):
    folder = tmp_path / "modes"
    folder.mkdir()
    image = Image.open(photos / "000004.png")  # 80 x 48
    for mode in ("L", "LA", "P", "RGBA", "CMYK", "1"):
        image.convert(mode).save(folder / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(folder / "16.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.save(folder / "turned.jpg", exif=exif)
    done, content = predicted(predict, tmp_path, folder)
    assert done.images == 8
    turned, rows = boxes_of(content, "turned.jpg")
    assert (turned["width"], turned["height"]) == (48, 80)
    assert_agrees(rows, predict(folder / "turned.jpg"))
    grey, rows = boxes_of(content, "16.png")
    assert_agrees(rows, predict(folder / "L.png"))


def test_what_cannot_be_read_is_named_skipped_and_counted(predict, photos, tmp_path, log):
    (photos / "000002.png").write_bytes(b"no image")
    (photos / "bomb.png").write_bytes(png_bomb())
    (photos / "nowhere.png").symlink_to(photos / "absent.png")
    (photos / "clip.mp4").write_text("no video")
    Image.new("RGB", (4000, 1)).save(photos / "thin.png")
    done, content = predicted(predict, tmp_path, photos)
    assert (done.images, done.videos, done.unreadable) == (5, 0, 5)
    assert len(content["images"]) == 5
    skipped = [line for line in log if line.startswith("skipping")]
    names = ["000002.png", "bomb.png", "clip.mp4", "nowhere.png", "thin.png"]
    assert sorted(line.split(": ")[0] for line in skipped) == [
        f"skipping {photos}/{name}" for name in names
    ]
    assert "nothing is left of" in next(line for line in skipped if "thin.png" in line)


def test_nothing_that_can_be_read_is_a_mistake_and_nothing_is_written(predict, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no image")
    (tmp_path / "photos" / "b.avi").touch()
    with pytest.raises(UserError, match="none of 2 images and videos could be read"):
        predicted(predict, tmp_path, tmp_path / "photos", yolo=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_video_and_one_that_breaks_off(predict, photos, tmp_path, log):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (40, 48, 64, 3), np.uint8)
    frames[:, 10:30, 10:30] = 255
    for name in ("whole.mkv", "cut.mkv"):
        codec = cv2.VideoWriter_fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(photos / name), cv2.CAP_FFMPEG, codec, 10, (64, 48))
        for frame in frames:
            writer.write(frame)
        writer.release()
    os.truncate(photos / "cut.mkv", (photos / "cut.mkv").stat().st_size // 2)
    done, content = predicted(predict, tmp_path, photos, batch=7)
    assert (done.images, done.videos, done.cut_short, done.unreadable) == (6, 2, 1, 0)
    counts = {}
    for name in ("whole.mkv", "cut.mkv"):
        of_video = [image for image in content["images"] if image["file_name"] == name]
        counts[name] = len(of_video)
        assert [image["frame"] for image in of_video] == list(range(len(of_video)))
        shown = cv2.VideoCapture(str(tmp_path / "out" / "predicted_pictures" / f"{name}.mp4"))
        assert shown.get(cv2.CAP_PROP_FRAME_COUNT) == len(of_video)
        assert shown.get(cv2.CAP_PROP_FRAME_WIDTH) == 640 and shown.get(cv2.CAP_PROP_FPS) == 10
    assert counts["whole.mkv"] == 40 and 2 < counts["cut.mkv"] < 30
    assert done.frames == sum(counts.values())
    (line,) = [line for line in log if "breaks off" in line]
    assert f"cut.mkv breaks off after {counts['cut.mkv']} of 40 frames" in line
    capture = cv2.VideoCapture(str(photos / "whole.mkv"))
    for number in range(3):
        _, frame = capture.read()
        assert_agrees(boxes_of(content, "whole.mkv", frame=number)[1], predict(frame))


@pytest.mark.slow
def test_two_detectors_side_by_side(predict, photos, toy, tmp_path):
    teacher = Predictor(toy.path("teacher.pth"), toy.path("teacher.yaml"))
    shown = [Shown("T", "teacher.json", teacher, 0.5), Shown("S", "student.json", predict, 0.01)]
    done = Prediction(shown, str(tmp_path / "out")).run(Inputs([str(photos)]))
    contents = [json.loads((tmp_path / "out" / one.file).read_text()) for one in shown]
    assert done.boxes == sum(len(content["annotations"]) for content in contents)
    for content, one in zip(contents, shown, strict=True):
        found = one.predictor(photos / "000005.png")
        assert_agrees(boxes_of(content, "000005.png")[1], found[found.scores >= one.threshold])
    assert Image.open(tmp_path / "out/predicted_pictures/000005.png").width > 2 * 8 * 40


def test_tiles_find_what_the_parts_hold(predict, photos, tmp_path):
    parts = [np.asarray(Image.open(photos / f"{n:06d}.png").resize((64, 64))) for n in (1, 2, 3, 4)]
    image = np.concatenate([np.concatenate(parts[:2], 1), np.concatenate(parts[2:], 1)])
    (tmp_path / "large").mkdir()
    Image.fromarray(image).save(tmp_path / "large" / "large.png")
    _, whole = predicted(predict, tmp_path, tmp_path / "large")
    _, tiled = predicted(predict, tmp_path, tmp_path / "large", tile=64, batch=3)
    counts = [len(content["annotations"]) for content in (whole, tiled)]
    assert 0 < counts[0] < counts[1]
    _, same = predicted(predict, tmp_path, tmp_path / "large", tile=128)
    assert same["annotations"] == whole["annotations"]


def test_an_output_that_cannot_be_written(predict, photos, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="out cannot be written to .*--output"):
        predicted(predict, tmp_path, photos)


def make_video(path, frames=3):
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48)
    )
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 9 * number, np.uint8))
    writer.release()


def test_images_and_videos_of_too_many_pixels(run, tmp_path, log):
    """Without --max-pixels those of the training's config are allowed."""
    strict = Predictor(run, opts=["DATALOADER.MAX_IMAGE_PIXELS", 1000])
    (tmp_path / "some").mkdir()
    Image.new("RGB", (50, 40)).save(tmp_path / "some" / "a.png")
    make_video(tmp_path / "some" / "clip.avi")  # of 64 x 48
    with pytest.raises(UserError, match="none of 2"):
        predicted(strict, tmp_path, tmp_path / "some")
    for limit, expected in ((2000, (1, 0)), (3071, (1, 0)), (3072, (1, 1))):
        done, _ = predicted(strict, tmp_path, tmp_path / "some", max_pixels=limit)
        assert (done.images, done.videos) == expected
    skipped = [line for line in log if line.startswith("skipping")]
    assert len(skipped) == 4 and all("--max-pixels" in line for line in skipped)
    assert not any("DATALOADER" in line for line in skipped)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_call_that_is_interrupted_leaves_nothing(predict, photos, tmp_path, number):
    make_video(tmp_path / "clip.mp4", frames=9)

    class Interrupted:
        detector, class_names = predict.detector, predict.class_names

        def __call__(self, views):
            if (pictures := tmp_path / "out" / PICTURES).exists():
                seen.extend(x.name for x in pictures.glob(".video.*/*"))
            if seen:
                os.kill(os.getpid(), number)
            return predict(views)

    seen, before = [], [signal.getsignal(x) for x in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(KeyboardInterrupt):
        predicted(Interrupted(), tmp_path, photos, tmp_path / "clip.mp4", batch=2, yolo=True)
    assert seen == ["video.mp4"] and not list((tmp_path / "out").iterdir())
    assert before == [signal.getsignal(x) for x in (signal.SIGTERM, signal.SIGHUP)]
