"""Image files as pixels: one reader for training, evaluation, labelling and reports."""

import io
import re
import threading
from contextlib import ExitStack, contextmanager

import numpy as np
from detectron2.data.detection_utils import (
    SizeMismatchError,
    _apply_exif_orientation,
    check_image_size,
    convert_PIL_to_numpy,
)
from detectron2.utils.file_io import PathManager
from PIL import ExifTags, Image, UnidentifiedImageError

from ..config.defaults import MAX_PIXELS
from ..utils.errors import reason

FEW = 5  # unreadable images that a set may have, however small it is
LEAST_DECODED = 0.95  # of the pixels of a JPEG that was cut short
JPEG_END, JPEG_FILLING = b"\xff\xd9", 128  # libjpeg makes what is missing before it grey
BITS_PER_SAMPLE = 258  # TIFF's tag


class ImageError(ValueError):
    """An image that cannot be read; the message is the reason, in one line."""


class TooLarge(ImageError):
    """An image of more pixels than are allowed; made of both, the message names the config's key.

    TooLarge("640 x 480", 300_000)
    """

    def __str__(self) -> str:
        return self.said("DATALOADER.MAX_IMAGE_PIXELS")

    def said(self, limit: str) -> str:
        """The message, by another name of the limit."""
        pixels, max_pixels = self.args
        return f"its {pixels} pixels are more than {limit} {max_pixels}"


def read_image(path: str, image_format: str, max_pixels: float = MAX_PIXELS) -> np.ndarray:
    """The pixels of a file, turned as its EXIF orientation says.

    Those of Detectron2's `read_image`, save for two kinds: 16-bit greys, which it makes white, keep
    their upper 8 bits; and a TIFF, which it turns twice, is turned once.

    Args:
        image_format: see INPUT.FORMAT.
        max_pixels: see DATALOADER.MAX_IMAGE_PIXELS.
    Returns:
        (H, W, C), uint8 (float for YUV-BT.601).
    Raises:
        ImageError: it cannot be read, or the range of its pixels' values is unknown.
    """
    return read_picture(path, image_format, max_pixels)[0]


def read_picture(
    path: str, image_format: str, max_pixels: float = MAX_PIXELS, least_side: int | None = None
) -> tuple[np.ndarray, bool]:
    """As `read_image`, and whether the file is a JPEG whose last few bytes are missing.

    Args:
        least_side: a JPEG may be read at a half, a quarter or an eighth of its size, in a fraction
            of the time, where both sides keep so many pixels.
    """
    with _pixel_limit(max_pixels), ExitStack() as stack:
        with _decoding(max_pixels):
            file = stack.enter_context(PathManager.open(path, "rb"))
            image, truncated = Image.open(file), False
        excess = _check(image, max_pixels)
        if least_side:
            image.draft(None, (least_side, least_side))
        try:
            with _decoding(max_pixels):
                image.load()  # before EXIF is read: it is what turns a TIFF
        except ImageError as error:
            if image.format != "JPEG" or not isinstance(error.__cause__, OSError):
                raise
            image, truncated = _completed(file, max_pixels), True
        with _decoding(max_pixels):
            image = _apply_exif_orientation(image)
        if excess:
            image = Image.fromarray((np.asarray(image) >> excess).astype(np.uint8))
        with _decoding(max_pixels):
            return convert_PIL_to_numpy(image, image_format), truncated


def read_record(
    record: dict, image_format: str, max_pixels: float = MAX_PIXELS
) -> tuple[np.ndarray, bool]:
    """As `read_picture`, of an image in Detectron2's dict format.

    Raises:
        ImageError: see `read_image`; also when it is of another size than the dict says.
    """
    pixels, truncated = read_picture(record["file_name"], image_format, max_pixels)
    _check_size(record, pixels)
    return pixels, truncated


def check_header(record: dict, max_pixels: float = MAX_PIXELS) -> None:
    """That `read_record` can read an image, as far as its file's header shows it.

    Raises:
        ImageError: see `read_record`.
    """
    width, height = read_size(record["file_name"], max_pixels)
    _check_size(record, np.empty((height, width, 0)))


def read_size(path: str, max_pixels: float = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) of what `read_image` returns, from the file's header.

    Raises:
        ImageError: as far as the header shows it.
    """
    with _pixel_limit(max_pixels), ExitStack() as stack:
        with _decoding(max_pixels):
            file = stack.enter_context(PathManager.open(path, "rb"))
            image = Image.open(file)
        _check(image, max_pixels)
        if image.format == "TIFF":  # which Pillow turns by itself
            return image.size
        with _decoding(max_pixels):
            turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return image.size[::-1] if turned else image.size


def check_resizable(image: np.ndarray, max_side: int) -> None:
    """
    Args:
        max_side: pixels that the longer side is resized to at most.
    Raises:
        ImageError: the image is so thin that resizing leaves nothing of it.
    """
    shorter, longer = sorted(image.shape[:2])
    if longer >= 2 * shorter * max_side:
        raise ImageError(f"nothing is left of {shorter} x {longer} pixels at {max_side}")


def allowed_unreadable(share: float, num_images: int) -> float:
    """How many different images of a set may be unreadable before a command stops.

    A share of a small set is less than an image, so that a few are allowed of any; none at 0.
    """
    return max(share * num_images, FEW) if share > 0 else 0


def _check_size(record: dict, image: np.ndarray) -> None:
    try:
        check_image_size(record, image)
    except SizeMismatchError as error:
        height, width = image.shape[:2]
        said = record["width"], record["height"]
        turned = "; EXIF's orientation is heeded" if said == (height, width) else ""
        raise ImageError(
            f"it is {width} x {height} pixels, its annotations say {said[0]} x {said[1]}{turned}"
        ) from error


def _check(image: Image.Image, max_pixels: float) -> int:
    """How many bits of each value are beyond the 8 that are kept."""
    width, height = image.size
    if width * height > max_pixels:
        raise TooLarge(f"{width} x {height}", max_pixels)
    if image.mode.startswith("I;16"):
        # TIFF's 12 bits are of this mode, too.
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (16,))[0] if image.format == "TIFF" else 16
        return bits - 8
    if image.mode == "I" and image.format in ("PNG", "PPM"):  # which have at most 16 bits
        return 8
    if image.mode in ("I", "F"):
        raise ImageError(
            f"its pixels are of mode {image.mode}, 32-bit numbers of unknown range: save it with "
            "8 or 16 bits"
        )
    return 0


def _completed(file, max_pixels: float) -> Image.Image:
    """A JPEG that was cut short, its end marked: what is missing is grey, as viewers show it.

    Grey pixels at its end count as missing even if they were grey before.

    Raises:
        ImageError: more is missing than a few rows, or it cannot be told.
    """
    with _decoding(max_pixels):
        file.seek(0)
        image = Image.open(io.BytesIO(file.read() + JPEG_END))
        image.load()
    if "progressive" in image.info or image.mode not in ("L", "RGB"):
        raise ImageError("cut short, and what is missing of such a JPEG cannot be told")
    pixels = np.atleast_3d(np.asarray(image))
    grey = (pixels == JPEG_FILLING).all(axis=-1)
    # From the first to the last row whose right end is missing.
    rows = np.argmin(np.append(grey[::-1, -1], False))
    missing = grey[len(grey) - rows :].sum() / grey.size
    if missing > 1 - LEAST_DECODED:
        raise ImageError(f"cut short, {missing:.0%} of its pixels are missing")
    return image


@contextmanager
def _decoding(max_pixels: float):
    """What Pillow's decoders raise, anything from OSError to struct.error, becomes one class."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = re.search(r"\d+", str(error))[0]
        raise TooLarge(pixels, max_pixels) from error
    except UnidentifiedImageError as error:  # whose text is the path once more
        raise ImageError("it is empty, or of no format that Pillow knows") from error
    except Exception as error:
        raise ImageError(reason(error)) from error


@contextmanager
def _pixel_limit(max_pixels: float):
    """Pillow's own limit of pixels is a global of the whole program. It stands at `max_pixels`
    while some thread is in here.
    """
    with _lock:
        if not _limits:
            _limits.append(Image.MAX_IMAGE_PIXELS)
        _limits.append(max_pixels)
        Image.MAX_IMAGE_PIXELS = max(_limits[1:])
    try:
        yield
    finally:
        with _lock:
            _limits.remove(max_pixels)
            if len(_limits) == 1:
                Image.MAX_IMAGE_PIXELS = _limits.pop()


_lock = threading.Lock()
_limits = []  # the program's own, and one of each thread that is in `_pixel_limit`
