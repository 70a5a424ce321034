"""Small data sets with planted faults: images of smooth noise, and boxes by hand."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from sad.inspection.labeled_set import DataSet

WIDTH, HEIGHT = 96, 64
CLASSES = ["cat", "dog", "bird", "fish"]


def noise(seed: int, width=WIDTH, height=HEIGHT) -> Image.Image:
    """Like no image of another seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_set(folder: Path, name: str, content: dict, classes=CLASSES, **source) -> DataSet:
    """Images and a COCO json.

    Args:
        content: {file name: (image or None for none, [(class, x, y, width, height), ...])}; of a
            class "crowd NAME" the box is a crowd's.
    """
    root = folder / name
    root.mkdir()
    images, annotations = [], []
    for image_id, (file_name, (image, boxes)) in enumerate(content.items(), start=1):
        if image:
            image.save(root / file_name)
        width, height = image.size if image else (WIDTH, HEIGHT)
        images.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
        for label, *box in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": classes.index(label.removeprefix("crowd ")) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(label.startswith("crowd ")),
                }
            )
    categories = [{"id": number, "name": x} for number, x in enumerate(classes, start=1)]
    path = folder / f"{name}.json"
    coco = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(coco))
    return DataSet(str(path), str(root), **source)


def write_faulty(folder: Path) -> tuple[dict[str, DataSet], list[str]]:
    """({set: where it lies}, unlabelled paths), with one fault of each kind."""
    cat, dog = ("cat", 10, 10, 30, 20), ("dog", 50, 20, 24, 36)
    train = {f"{number}.png": (noise(number), [cat, dog]) for number in range(12)}
    train |= {
        "whole.png": (noise(20), [("cat", 0, 0, 96, 63)]),
        "twice.png": (noise(21), [cat, ("cat", 10, 10, 30, 21)]),
        "both.png": (noise(22), [cat, ("dog", 10, 10, 30, 20)]),
        "tiny.png": (noise(23), [("cat", 5, 5, 2, 2), cat]),
        "empty.png": (noise(24), []),
        "crowd.png": (noise(25), [("crowd cat", 5, 5, 40, 40)]),
        "single.png": (noise(26), [("fish", 5, 5, 40, 40)]),
        "absent.png": (None, [cat]),
        "same.png": (noise(27), [cat]),
        "same.jpg": (noise(27), [cat]),
    }
    val = {"v0.png": (noise(40), [cat]), "v1.jpg": (noise(3), [dog, ("bird", 2, 2, 30, 30)])}
    sets = {
        "train": write_set(
            folder, "train", train, mended={"boxes clipped": ["0.xml", "1.xml"]},
            left_out={"boxes without area": ["2.xml"]},
        ),
        "val": write_set(folder, "val", val),
    }  # fmt: skip
    unlabeled = folder / "unlabeled"
    unlabeled.mkdir()
    for name, image in (("u0.png", noise(50)), ("u1.png", noise(5)), ("u2.png", noise(51))):
        image.save(unlabeled / name)
    (unlabeled / "u3.png").write_bytes(b"no image")
    return sets, sorted(map(str, unlabeled.iterdir()))
