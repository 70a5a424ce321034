"""Videos in and out, frame by frame, by OpenCV."""

import functools
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..data.images import ImageError, TooLarge
from ..utils.errors import UserError

USUAL_RATE = 25.0  # frames per second, where a file does not say
LACKING = 0.01  # of the frames that a file says it has; those of many files are an estimate
# ffmpeg opens what a file refers to. It and OpenCV print what they think of a broken one.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@functools.cache
def opencv():
    """The module cv2, which videos alone need.

    Raises:
        ImageError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImageError("videos need OpenCV: pip install opencv-python-headless") from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    return cv2


def _is_playlist(path: str) -> bool:
    """ffmpeg goes by the content, and reads what a list in a video's place names."""
    try:
        with open(path, "rb") as file:
            return file.read(8) in (b"ffconcat", b"#EXTM3U\n", b"#EXTM3U\r")
    except OSError:  # which OpenCV says in its own way
        return False


class Video:
    """The frames of a file, (H, W, 3) uint8 in red, green, blue, up to where it breaks off.

    Attributes:
        said: how many frames the file says that it has; 0 if it does not.
        rate: frames per second.
        num_read: frames that have been read.
    """

    def __init__(self, path: str, max_pixels: float):
        """
        Raises:
            ImageError: it is no video, or its frames have more than `max_pixels`; or OpenCV is not
                installed.
        """
        cv2 = opencv()
        if _is_playlist(path):
            raise ImageError("it is a list of other files, no video")
        self.capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        if not self.capture.isOpened():
            raise ImageError("it is no video, or none that OpenCV can read")
        width, height, said, rate = (
            self.capture.get(key)
            for key in (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FRAME_COUNT,
                cv2.CAP_PROP_FPS,
            )
        )
        if width * height > max_pixels:
            raise TooLarge(f"{width:.0f} x {height:.0f}", max_pixels)
        self.said = int(said) if 0 < said < 1e9 else 0
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else USUAL_RATE
        self.num_read = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """
        Raises:
            ImageError: there is no frame.
        """
        shape = None
        while True:
            is_read, frame = self.capture.read()
            if not is_read or shape not in (None, frame.shape):
                break
            shape = frame.shape
            self.num_read += 1
            yield np.ascontiguousarray(frame[..., ::-1])
        self.capture.release()
        if not self.num_read:
            raise ImageError("it has no frame that can be read")

    @property
    def breaks_off(self) -> bool:
        """Whether frames are lacking, once all that can be read have been."""
        return self.num_read < self.said - max(2, LACKING * self.said)


@contextmanager
def video_writer(path: str, rate: float):
    """A function that adds a frame, (H, W, 3) uint8 RGB; the file appears when all are written.

    Args:
        path: ends in .mp4.
    Raises:
        UserError: it cannot be written.
    """
    cv2, writer, count = opencv(), None, 0
    with tempfile.TemporaryDirectory(dir=os.path.dirname(path), prefix=".video.") as folder:
        temporary = os.path.join(folder, "video.mp4")

        def add(frame: np.ndarray) -> None:
            nonlocal writer, count
            if writer is None:
                codec, size = cv2.VideoWriter_fourcc(*"mp4v"), frame.shape[1::-1]
                writer = cv2.VideoWriter(temporary, cv2.CAP_FFMPEG, codec, rate, size)
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            count += 1

        yield add
        writer.release()
        # It has no way to say that the disk is full, or that there is no encoder.
        written = max(0, cv2.VideoCapture(temporary, cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT))
        if written != count:
            raise UserError(
                f"{path} cannot be written: of {count} frames {written:.0f} are in it; is the disk "
                "full, or has OpenCV no MPEG-4 here?"
            )
        os.replace(temporary, path)
