"""A tiny tree in COCO's exact layout, with what COCO's files have in store for a reader."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.data.datasets.builtin import _PREDEFINED_SPLITS_COCO
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES, _get_builtin_metadata
from PIL import Image

from sad.data.datasets import BUILTIN, data_path, register_coco_set

# The 80 things of COCO's 91 ids.
CATEGORIES = [
    {"supercategory": "thing", "id": category["id"], "name": category["name"]}
    for category in COCO_CATEGORIES
    if category["isthing"]
]
ORIENTATION = 0x0112  # EXIF tag
TURNED_CLOCKWISE = 6  # its value for a picture to be turned by 90 degrees for showing

# (width, height) as shown, how the file is written, whether it has instances
TRAIN = [
    (96, 72, "RGB", True),
    (72, 96, "RGB", True),
    (80, 80, "L", True),
    (96, 64, "CMYK", True),
    (64, 96, "EXIF", True),
    (200, 10, "RGB", True),  # more extreme than any in COCO
    (96, 72, "RGB", False),
    (72, 72, "RGB", "crowd"),  # training leaves out what holds nothing but crowds
]
VAL = [(96, 72, "RGB", True), (64, 96, "EXIF", True), (80, 80, "L", False)]
UNLABELED = [
    (96, 72, "RGB", True),
    (72, 96, "EXIF", True),
    (80, 80, "L", True),
    (96, 64, "CMYK", True),
    (12, 160, "RGB", False),
]
TEST_DEV = [(96, 72, "RGB", True), (64, 96, "CMYK", False)]


@dataclass(frozen=True)
class CocoTree:
    """Where the tree lies; its root is what $DETECTRON2_DATASETS holds."""

    root: Path

    def annotations(self, name: str) -> Path:
        return self.root / "coco" / "annotations" / name

    def json(self, name: str) -> dict:
        return json.loads(self.annotations(name).read_text())


@contextmanager
def registered(root: Path) -> Iterator[CocoTree]:
    """The tree, in place of the COCO at $DETECTRON2_DATASETS."""
    tree = build(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
        _register(root)
        yield tree
    _register(os.environ.get("DETECTRON2_DATASETS", "datasets"))


def _register(root) -> None:
    """What Detectron2 and `sad` do on import, for another $DETECTRON2_DATASETS."""
    for name, (images, annotations) in _PREDEFINED_SPLITS_COCO["coco"].items():
        DatasetCatalog.pop(name)
        MetadataCatalog.pop(name)
        metadata = _get_builtin_metadata("coco")
        files = (os.path.join(root, path) for path in (annotations, images))
        register_coco_instances(name, metadata, *files)
    annotations, images = BUILTIN["coco_2017_unlabeled"]
    register_coco_set("coco_2017_unlabeled", data_path(annotations), data_path(images))


def build(root: Path) -> CocoTree:
    """Write train2017, val2017, test2017, unlabeled2017 and annotations below root/coco."""
    rng = np.random.default_rng(0)
    tree = CocoTree(root)
    tree.annotations("").mkdir(parents=True)
    for split, specs, name in (
        ("train2017", TRAIN, "instances_train2017.json"),
        ("val2017", VAL, "instances_val2017.json"),
        ("unlabeled2017", UNLABELED, "image_info_unlabeled2017.json"),
        ("test2017", TEST_DEV, "image_info_test-dev2017.json"),
    ):
        images, annotations = _write_images(root / "coco" / split, specs, rng)
        coco = {
            "info": {"description": "a tiny COCO", "year": 2017},
            "licenses": [{"id": 1, "name": "none", "url": ""}],
            "images": images,
            "categories": CATEGORIES,
        }
        if name.startswith("instances"):
            coco["annotations"] = annotations
        tree.annotations(name).write_text(json.dumps(coco))
    return tree


def _write_images(folder: Path, specs, rng) -> tuple[list[dict], list[dict]]:
    folder.mkdir()
    images, annotations = [], []
    for number, (width, height, written, instances) in enumerate(specs):
        image_id = 139 + 146 * number
        pixels = rng.integers(90, 160, (height, width, 3), np.uint8)
        for _ in range(3 if instances else 0):
            category = CATEGORIES[rng.integers(len(CATEGORIES))]
            w, h = (int(rng.integers(1 + side // 4, 1 + side // 2)) for side in (width, height))
            x, y = int(rng.integers(width - w)), int(rng.integers(height - h))
            pixels[y : y + h, x : x + w] = rng.integers(0, 255, 3)
            annotations.append(
                {
                    "id": 900100000000 + len(annotations),
                    "image_id": image_id,
                    "category_id": category["id"],
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
            if instances == "crowd":
                annotations[-1].update(iscrowd=1, segmentation=_rle(x, y, w, h, width, height))
        if instances is True and number == 0:
            annotations.append(_crowd(len(annotations), image_id, width, height))
        file_name = f"{image_id:012d}.jpg"
        _write_image(pixels, written, folder / file_name)
        images.append(
            {
                "id": image_id,
                "file_name": file_name,
                "width": width,
                "height": height,
                "license": 1,
                "date_captured": "2013-11-14 17:02:52",
            }
        )
    return images, annotations


def _crowd(number: int, image_id: int, width: int, height: int) -> dict:
    """People all over the lower half, as an RLE."""
    box = (0, height // 2, width, height - height // 2)
    return {
        "id": 900100000000 + number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": 1,
        "segmentation": _rle(*box, width, height),
    }


def _rle(x: int, y: int, w: int, h: int, width: int, height: int) -> dict:
    """COCO's uncompressed run lengths of a box: zeros, ones, zeros, ... down the columns."""
    mask = np.zeros((height, width), int)
    mask[y : y + h, x : x + w] = 1
    # A 0 in front, so that an image that begins with a 1 begins with no zeros.
    ends = np.flatnonzero(np.diff([0, *mask.ravel(order="F")]))
    counts = np.diff([0, *ends, mask.size])
    return {"counts": counts.tolist(), "size": [height, width]}


def _write_image(pixels: np.ndarray, written: str, path: Path) -> None:
    image = Image.fromarray(pixels)
    if written == "EXIF":
        exif = Image.Exif()
        exif[ORIENTATION] = TURNED_CLOCKWISE
        image.transpose(Image.Transpose.ROTATE_90).save(path, quality=95, exif=exif)
    else:
        image.convert(written).save(path, quality=95)
