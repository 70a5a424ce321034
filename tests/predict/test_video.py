"""Videos that are read and written, cut short or no videos at all."""

import os
import sys

import cv2
import numpy as np
import pytest

from sad.data.images import ImageError
from sad.predict.video import Video, opencv, video_writer
from sad.utils.errors import UserError

# The grey of each frame says its number.
FRAMES = [np.full((48, 64, 3), 3 * number, np.uint8) for number in range(60)]


def write(path, codec="MJPG", frames=FRAMES):
    """By OpenCV alone."""
    fourcc, (height, width) = cv2.VideoWriter_fourcc(*codec), frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 20, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()


def cut(path, share):
    os.truncate(path, int(share * path.stat().st_size))


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
def test_all_frames_come_in_order_as_rgb(tmp_path, name, codec):
    frames = [frame.copy() for frame in FRAMES]
    for frame in frames:
        frame[:, :32] = (250, 0, 0)  # blue, as OpenCV has it
    write(tmp_path / name, codec, frames)
    video = Video(str(tmp_path / name), 1e6)
    read = list(video)
    assert (video.said, video.rate, video.num_read, video.breaks_off) == (60, 20.0, 60, False)
    for number, frame in enumerate(read):
        assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
        assert abs(frame[:, 40:].mean() - 3 * number) < 6
        assert frame[:, :24, 2].mean() > 200 > 60 > frame[:, :24, 0].mean()


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mkv", "mp4v")])
def test_a_video_that_was_cut_short_keeps_what_is_before(tmp_path, name, codec):
    rng = np.random.default_rng(0)  # noise, so that the file's length is in its frames
    frames = [frame + rng.integers(0, 40, frame.shape, np.uint8) for frame in FRAMES]
    write(tmp_path / name, codec, frames)
    cut(tmp_path / name, 0.6)
    video = Video(str(tmp_path / name), 1e6)
    read = list(video)
    assert 20 < len(read) == video.num_read < 50 and video.breaks_off
    for frame, whole in zip(read[:-1], frames, strict=False):
        assert abs(frame.mean() - whole.mean()) < 6


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.avi").touch()
    write(tmp_path / "index.mp4", "mp4v")
    cut(tmp_path / "index.mp4", 0.5)  # without its index, which is at the end
    for name in ("text.mp4", "empty.avi", "index.mp4", "absent.mp4"):
        with pytest.raises(ImageError, match="no video"):
            Video(str(tmp_path / name), 1e6)
    write(tmp_path / "head.avi")
    os.truncate(tmp_path / "head.avi", 5700)  # the head says what the frames are, none of which is
    with pytest.raises(ImageError, match="no frame|no video"):
        list(Video(str(tmp_path / "head.avi"), 1e6))


def test_a_video_of_too_many_pixels_is_not_decoded(tmp_path):
    write(tmp_path / "a.avi")
    with pytest.raises(ImageError, match="64 x 48 pixels are more than .* 3000"):
        Video(str(tmp_path / "a.avi"), 3000)


def test_a_playlist_reads_no_other_file(tmp_path):
    """ffmpeg goes by the content of a file, not by its name."""
    write(tmp_path / "secret.avi")
    for text in (
        f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/secret.avi\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.avi'\n",
        "ffconcat version 1.0\nfile secret.avi\n",
    ):
        (tmp_path / "a.mp4").write_text(text)
        with pytest.raises(ImageError):
            list(Video(str(tmp_path / "a.mp4"), 1e6))


def test_what_is_written_is_read_again(tmp_path):
    path = str(tmp_path / "a.mp4")
    with video_writer(path, 12.5) as add:
        for frame in FRAMES[:9]:
            add(frame)
        assert not os.path.exists(path)
    video = Video(path, 1e6)
    assert len(list(video)) == 9 and video.rate == 12.5 and os.listdir(tmp_path) == ["a.mp4"]


def test_a_video_that_fails_leaves_nothing(tmp_path):
    path = str(tmp_path / "a.mp4")
    with pytest.raises(KeyboardInterrupt), video_writer(path, 25) as add:
        add(FRAMES[0])
        raise KeyboardInterrupt
    with pytest.raises(UserError, match="of 1 frames 0 are in it"), video_writer(path, 25) as add:
        add(FRAMES[0][:1, :1])  # of which no encoder makes a video
    assert not os.listdir(tmp_path)


def test_where_opencv_is_not_installed(tmp_path, monkeypatch):
    write(tmp_path / "a.avi")
    opencv.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImageError, match="pip install opencv"):
        Video(str(tmp_path / "a.avi"), 1e6)
