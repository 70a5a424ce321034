"""One reader of image files: what it makes of modes, cut JPEGs and sizes, and what it refuses."""

import io
import struct
import threading
import warnings

import numpy as np
import pytest
from detectron2.data import DatasetMapper
from detectron2.data.detection_utils import read_image as detectron2_read_image
from PIL import Image

from sad.config.defaults import MAX_PIXELS
from sad.data.images import (
    ImageError,
    allowed_unreadable,
    read_image,
    read_picture,
    read_record,
    read_size,
)
from sad.data.mapper import ImageMapper
from toy import png_bomb

rng = np.random.default_rng(0)
# Smooth, so that a JPEG's last blocks are not at its size's mercy.
PIXELS = np.asarray(
    Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((160, 120), 3)
)
GREY = PIXELS[:, :, 0]


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def test_a_jpeg_may_be_read_smaller(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).resize((640, 480), 3).save(path, exif=orientation(6))
    for least, size in ((60, (80, 60)), (61, (160, 120)), (481, (640, 480))):
        small, _ = read_picture(str(path), "RGB", least_side=least)
        assert small.shape == (size[0], size[1], 3)  # turned
        expected = Image.fromarray(read_image(str(path), "RGB")).resize(size[::-1], 4)
        assert np.abs(small.astype(float) - np.asarray(expected)).mean() < 3
    png = str(tmp_path / "a.png")
    Image.fromarray(PIXELS).save(png)
    np.testing.assert_array_equal(read_picture(png, "RGB", least_side=10)[0], PIXELS)


# --- what is read -------------------------------------------------------------------------------

ORDINARY = {
    **{f"{mode}.png": Image.fromarray(PIXELS).convert(mode) for mode in ("RGB", "L", "RGBA", "1")},
    **{f"{mode}.jpg": Image.fromarray(PIXELS).convert(mode) for mode in ("RGB", "L", "CMYK")},
    **{f"{mode}.tif": Image.fromarray(PIXELS).convert(mode) for mode in ("RGB", "L", "CMYK")},
    "palette.png": Image.fromarray(PIXELS).quantize(16),
    "RGB.bmp": Image.fromarray(PIXELS),
    "RGB.webp": Image.fromarray(PIXELS),
}


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("image_format", ["BGR", "RGB", "L", "YUV-BT.601"])
def test_eight_bits_are_those_of_detectron2(tmp_path, name, image_format):
    path = str(tmp_path / name)
    ORDINARY[name].save(path)
    expected = detectron2_read_image(path, image_format)
    found, truncated = read_picture(path, image_format)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype and not truncated


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_turns_as_in_detectron2(tmp_path, name, value):
    path = str(tmp_path / name)
    Image.fromarray(PIXELS).save(path, exif=orientation(value))
    found = read_image(path, "BGR")
    np.testing.assert_array_equal(found, detectron2_read_image(path, "BGR"))
    assert read_size(path) == found.shape[1::-1]
    assert found.shape[:2] == ((120, 160) if value < 5 else (160, 120))


@pytest.mark.parametrize("value", range(1, 9))
def test_a_tiff_is_turned_once(tmp_path, value):
    for name in ("a.tif", "a.png"):
        Image.fromarray(PIXELS).save(tmp_path / name, exif=orientation(value))
    found = read_image(str(tmp_path / "a.tif"), "BGR")
    np.testing.assert_array_equal(found, read_image(str(tmp_path / "a.png"), "BGR"))
    assert read_size(str(tmp_path / "a.tif")) == found.shape[1::-1]


@pytest.mark.parametrize("is_train", [True, False])
def test_the_mapper_s_samples_are_those_of_detectron2(toy, is_train):
    cfg = toy.cfg("teacher.yaml", "INPUT.RANDOM_FLIP", "none", "INPUT.MIN_SIZE_TRAIN", (48,))
    box = {"bbox": [3, 4, 20, 30], "bbox_mode": 0, "category_id": 1}
    record = {"file_name": toy.path("labeled/000001.png"), "annotations": [box, box], "image_id": 3}
    one, other = (m(cfg, is_train=is_train)(record) for m in (ImageMapper, DatasetMapper))
    assert one.keys() == other.keys() and one["image"].equal(other["image"])
    assert repr(one.get("instances")) == repr(other.get("instances"))
    assert (one["height"], one["width"]) == (48, 64)
    assert len(record["annotations"]) == 2 and "image" not in record


SIXTEEN = {  # Pillow's modes I;16 and I;16B, and I of at most 16 bits
    "a.png": lambda path, values: Image.fromarray(values).save(path),
    "a.tif": lambda path, values: Image.fromarray(values).save(path),
    "big_endian.tif": lambda path, values: path.write_bytes(tiff(values.astype(">u2"), 16, b"MM")),
    "a.jp2": lambda path, values: Image.fromarray(values).save(path),
    "a.pgm": lambda path, values: path.write_bytes(
        b"P5 160 120 65535\n" + values.astype(">u2").tobytes()
    ),
}


def tiff(values: np.ndarray, bits: int, order: bytes = b"II", sample_format: int = 1) -> bytes:
    """A TIFF of one grey strip; `values` are its bytes."""
    end, data = ("<" if order == b"II" else ">"), values.tobytes()
    tags = [(256, 160), (257, 120), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, 120), (279, len(data)), (339, sample_format)]
    entries = b"".join(
        struct.pack(f"{end}HHI", tag, 4 if tag in (273, 279) else 3, 1)
        + (struct.pack(f"{end}I", x) if tag in (273, 279) else struct.pack(f"{end}HH", x, 0))
        for tag, x in tags
    )
    header = order + struct.pack(f"{end}HI", 42, 8 + len(data))
    return header + data + struct.pack(f"{end}H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("name", SIXTEEN)
@pytest.mark.parametrize("image_format", ["BGR", "L"])
def test_sixteen_bits_times_257_are_the_eight_bits_again(tmp_path, name, image_format):
    SIXTEEN[name](tmp_path / name, GREY.astype(np.uint16) * 257)
    Image.fromarray(GREY).save(tmp_path / "eight.png")
    found = read_image(str(tmp_path / name), image_format)
    np.testing.assert_array_equal(found, read_image(str(tmp_path / "eight.png"), image_format))
    assert found.dtype == np.uint8 and read_size(str(tmp_path / name)) == (160, 120)


def test_sixteen_bits_are_turned_too(tmp_path):
    path = str(tmp_path / "a.png")
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path, exif=orientation(6))
    np.testing.assert_array_equal(read_image(path, "L")[:, :, 0], np.rot90(GREY, -1))


def test_twelve_bits_of_a_tiff_fill_the_range(tmp_path):
    values = GREY.astype(np.uint16).reshape(-1, 2) * 16
    packed = np.stack(
        [values[:, 0] >> 4, (values[:, 0] & 15) << 4 | values[:, 1] >> 8, values[:, 1] & 255], 1
    ).astype(np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff(packed, 12))
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.tif"), "L")[:, :, 0], GREY)


UNKNOWN = {
    "float.tif": (lambda path: Image.fromarray(GREY / np.float32(255)).save(path), "mode F"),
    "int.tif": (lambda path: Image.fromarray(GREY.astype(np.int32) * 70_000).save(path), "mode I"),
    "signed.tif": (lambda path: path.write_bytes(tiff(GREY.astype("<i2"), 16, b"II", 2)), "mode I"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_numbers_of_unknown_range_are_refused_by_name(tmp_path, name):
    write, mode = UNKNOWN[name]
    write(tmp_path / name)
    for read in (lambda path: read_image(path, "BGR"), read_size):
        with pytest.raises(ImageError, match=f"{mode}, .* unknown range: save it with 8 or 16"):
            read(str(tmp_path / name))


# --- JPEGs that were cut short ------------------------------------------------------------------


def jpeg(path, pixels=PIXELS, mode="RGB", missing=0, **options) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    path.write_bytes(file.getvalue()[: len(file.getvalue()) - missing])
    return str(path)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("missing", [1, 2, 3, 10, 40])
def test_a_few_missing_bytes_cost_a_few_pixels(tmp_path, mode, missing, options):
    whole = read_image(jpeg(tmp_path / "whole.jpg", mode=mode, **options), "BGR")
    path = jpeg(tmp_path / "cut.jpg", mode=mode, missing=missing, **options)
    found, truncated = read_picture(path, "BGR")
    assert truncated and found.shape == whole.shape
    wrong = (found != whole).any(axis=-1)
    assert wrong.mean() < 0.04 and not wrong[:104].any()
    np.testing.assert_array_equal(read_image(path, "BGR"), found)
    assert read_size(path) == (160, 120)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_garbage_is_not_read(tmp_path, mode, share):
    size = len((tmp_path / "a.jpg").read_bytes()) if jpeg(tmp_path / "a.jpg", mode=mode) else 0
    with pytest.raises(ImageError, match=r"cut short, \d+% of its pixels are missing|OSError"):
        read_image(jpeg(tmp_path / "a.jpg", mode=mode, missing=int(share * size)), "BGR")


@pytest.mark.parametrize(("mode", "options"), [("RGB", {"progressive": True}), ("CMYK", {})])
def test_what_nobody_can_vouch_for_is_not_read(tmp_path, mode, options):
    with pytest.raises(ImageError, match="cut short"):
        read_image(jpeg(tmp_path / "a.jpg", mode=mode, missing=2, **options), "BGR")


def test_a_grey_end_counts_as_missing(tmp_path):
    pixels = PIXELS.copy()
    pixels[100:] = 128
    assert not read_picture(jpeg(tmp_path / "a.jpg", pixels), "BGR")[1]
    with pytest.raises(ImageError, match="cut short"):
        read_image(jpeg(tmp_path / "a.jpg", pixels, missing=3), "BGR")


def test_other_formats_must_be_whole(tmp_path):
    for name in ("a.png", "a.webp", "a.bmp"):
        Image.fromarray(PIXELS).save(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-60])
        with pytest.raises(ImageError):
            read_image(str(tmp_path / name), "BGR")


# --- what is refused ----------------------------------------------------------------------------


def test_whatever_a_decoder_raises_is_one_error_of_one_line(tmp_path):
    (tmp_path / "text.png").write_text("<html>\n404</html>")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "broken.dds").write_bytes(b"DDS " + struct.pack("<I", 124) + bytes(60))
    (tmp_path / "broken.avif").write_bytes(b"\0\0\0\x1cftypavif" + bytes(60))
    for name in ("text.png", "empty.jpg", "broken.dds", "broken.avif", "absent.png", "."):
        for read in (lambda path: read_image(path, "BGR"), read_size):
            with pytest.raises(ImageError) as error:
                read(str(tmp_path / name))
            assert "\n" not in str(error.value) and len(str(error.value)) <= 200


def test_another_size_than_the_annotations_say(tmp_path):
    path = str(tmp_path / "a.png")
    Image.fromarray(PIXELS).save(path)
    record = {"file_name": path, "width": 160, "height": 120}
    assert read_record(dict(record), "BGR")[0].shape == (120, 160, 3)
    with pytest.raises(ImageError, match="it is 160 x 120 pixels, .* say 160 x 121$"):
        read_record({**record, "height": 121}, "BGR")
    with pytest.raises(ImageError, match="say 120 x 160; EXIF"):
        read_record({**record, "width": 120, "height": 160}, "BGR")


def test_a_limit_of_pixels(tmp_path):
    path = str(tmp_path / "a.png")
    Image.fromarray(PIXELS).save(path)
    assert read_image(path, "BGR", 160 * 120).shape == (120, 160, 3)
    for limit in (160 * 120 - 1, 160 * 120 // 2 - 1):  # at the second, Pillow stops by itself
        for read in (lambda *x: read_image(x[0], "BGR", x[1]), read_size):
            with warnings.catch_warnings(), pytest.raises(ImageError) as error:
                warnings.simplefilter("ignore")
                read(path, limit)
            assert f"DATALOADER.MAX_IMAGE_PIXELS {limit}" in str(error.value)
            assert "160 x 120" in str(error.value) or "19200" in str(error.value)


@pytest.mark.parametrize("own", [160 * 120 - 1, 100, None])
def test_what_is_allowed_is_read_without_a_word_and_pillow_s_limit_stays(
    tmp_path, monkeypatch, own
):
    """Pillow would warn of one image and refuse the other."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", own)
    path = str(tmp_path / "a.png")
    Image.fromarray(PIXELS).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_size(path) == (160, 120)
        assert read_image(path, "BGR").shape == (120, 160, 3)
    (tmp_path / "a.png").write_bytes(png_bomb(14_000, 14_000))
    assert read_size_error(path).startswith("its 14000 x 14000 pixels are more than")
    assert Image.MAX_IMAGE_PIXELS == own


def read_size_error(path: str) -> str:
    with warnings.catch_warnings(), pytest.raises(ImageError) as error:
        warnings.simplefilter("ignore")
        read_size(path)
    return str(error.value)


def test_threads_leave_pillow_s_limit_as_it_was(tmp_path):
    own = Image.MAX_IMAGE_PIXELS
    Image.fromarray(PIXELS).save(tmp_path / "a.png")

    def read():
        for number in range(50):
            read_size(str(tmp_path / "a.png"), MAX_PIXELS + number)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Image.MAX_IMAGE_PIXELS == own


@pytest.mark.parametrize(
    ("share", "num_images", "allowed"),
    [(0, 10**6, 0), (0.01, 3, 5), (0.01, 500, 5), (0.01, 1000, 10), (1, 20, 20)],
)
def test_how_many_may_be_unreadable(share, num_images, allowed):
    assert allowed_unreadable(share, num_images) == allowed
