"""What a user has: images of light and dark squares, labelled in any layout or not at all."""

import json
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import yaml
from PIL import Image

CLASSES = ["dark", "light"]


def make_images(folder: Path, count: int, seed: int, side: int = 64) -> dict[str, list[tuple]]:
    """Write PNGs; returns {file name: [(class, x0, y0, x1, y1)]}."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truth = {}
    for number in range(count):
        pixels = rng.integers(90, 160, (side, side, 3), dtype=np.uint8)
        boxes = []
        for corner in range(int(rng.integers(1, 3))):
            size = int(rng.integers(12, 25))
            x = int(rng.integers(0, side - size))
            y = int(rng.integers(0, side // 2 - size)) + corner * side // 2
            name = CLASSES[int(rng.integers(2))]
            pixels[y : y + size, x : x + size] = 240 if name == "light" else 15
            boxes.append((name, x, y, x + size, y + size))
        file_name = f"{seed}_{number:03}.png"
        Image.fromarray(pixels).save(folder / file_name)
        truth[file_name] = boxes
    return truth


def write_coco(path: Path, truth: dict, side: int = 64) -> Path:
    ids = {name: n for n, name in enumerate(CLASSES, start=1)}
    annotations = [
        {"id": n, "image_id": image, "category_id": ids[name], "bbox": [x0, y0, x1 - x0, y1 - y0]}
        for n, (image, (name, x0, y0, x1, y1)) in enumerate(
            ((image, box) for image, boxes in enumerate(truth.values()) for box in boxes), start=1
        )
    ]
    images = [
        {"id": n, "file_name": name, "width": side, "height": side} for n, name in enumerate(truth)
    ]
    categories = [{"id": n, "name": name} for name, n in ids.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_yolo(folder: Path, truth: dict, side: int = 64) -> Path:
    """labels/ and data.yaml beside images/, which lies in the folder."""
    (folder / "labels").mkdir(parents=True)
    for name, boxes in truth.items():
        lines = [
            f"{CLASSES.index(label)} {(x0 + x1) / 2 / side} {(y0 + y1) / 2 / side} "
            f"{(x1 - x0) / side} {(y1 - y0) / side}"
            for label, x0, y0, x1, y1 in boxes
        ]
        (folder / "labels" / name).with_suffix(".txt").write_text("\n".join(lines))
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({"names": CLASSES, "nc": 2, "train": "images"}))
    return path


def write_voc(folder: Path, truth: dict, side: int = 64) -> Path:
    """Annotations/, beside the folder of the images."""
    (folder / "Annotations").mkdir(parents=True)
    for name, boxes in truth.items():
        objects = "".join(
            f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{x0}</xmin>"
            f"<ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for label, x0, y0, x1, y1 in boxes
        )
        text = (
            f"<annotation><filename>{escape(name)}</filename><size><width>{side}</width>"
            f"<height>{side}</height></size>{objects}</annotation>"
        )
        (folder / "Annotations" / name).with_suffix(".xml").write_text(text)
    return folder / "Annotations"


def boxes_of(labels) -> dict[str, list[tuple]]:
    """What a reader found, as `make_images` says it; of an image in any order."""
    names = {image["id"]: image["file_name"] for image in labels.images}
    found = {name.rpartition("/")[2]: [] for name in names.values()}
    for annotation in labels.annotations:
        x, y, w, h = annotation["bbox"]
        label = labels.classes[annotation["category_id"] - 1]
        box = tuple(round(v, 3) for v in (x, y, x + w, y + h))
        found[names[annotation["image_id"]].rpartition("/")[2]].append((label, *box))
    return {name: sorted(boxes) for name, boxes in found.items()}


def user_with_both(folder: Path, count: int = 30, unlabeled: int = 4) -> dict[str, str]:
    """Write labelled and unlabelled images; returns the arguments of `read_data`."""
    truth = make_images(folder / "images", count, seed=1)
    make_images(folder / "more", unlabeled, seed=2)
    labels = write_coco(folder / "labels.json", truth)
    return {
        "labeled": str(labels),
        "images": str(folder / "images"),
        "unlabeled": str(folder / "more"),
    }


def names_of(labels) -> set[str]:
    return {image["file_name"] for image in labels.images}
