"""Small labelled sets as COCO, YOLO and Pascal VOC write them, with what is odd in real ones.

What is true of a set is known before it is written, so that a reader is held to it. Coordinates are
in pixels of the image as it is shown.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import ExifTags, Image

CLASSES = ["cat", "dog", "no"]  # YAML takes the last for False
SUFFIX = {"JPEG": ".jpg", "PNG": ".png"}


@dataclass
class Truth:
    """
    Attributes:
        boxes: {file_name: [(class, x0, y0, x1, y1), ..]}, of all images that are labelled.
        crowds: the same of boxes that are neither learned nor counted as missed.
        unlabeled: file_names.
        left_out: words that must be in the reasons of what is left out -> how often.
        mended: the same of what is mended.
    """

    layout: str
    boxes: dict[str, list[tuple]]
    sizes: dict[str, tuple[int, int]]
    classes: list[str] = field(default_factory=lambda: list(CLASSES))
    crowds: dict[str, list[tuple]] = field(default_factory=dict)
    unlabeled: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)


def save(path: Path, size: tuple[int, int], boxes, mode: str = "RGB", **options) -> None:
    """Noise with a patch of one colour in each box."""
    width, height = size
    rng = np.random.default_rng(len(path.name))
    pixels = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    for label, *corners in boxes:
        x0, y0, x1, y1 = (int(value) for value in corners)
        pixels[y0:y1, x0:x1] = 255 if label == "cat" else (200, 40, 90)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
    elif mode != "RGB":
        image = image.convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def save_turned(path: Path, size: tuple[int, int], boxes) -> None:
    """A photograph whose stored pixels lie on their side, as EXIF's orientation 6 says."""
    upright = path.with_suffix(".upright.png")
    save(upright, size, boxes)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored = Image.open(upright).transpose(Image.Transpose.ROTATE_90)
    stored.save(path, exif=exif, format="JPEG")
    upright.unlink()


def save_odd_images(folder: Path, boxes) -> dict[str, tuple[int, int]]:
    """One of each kind that is met; {file_name: size}."""
    kinds = {
        "alpha.jpg": ("RGBA", {"format": "PNG"}),
        "bilevel.png": ("1", {}),
        "deep.png": ("I;16", {}),
        "palette.PNG": ("P", {}),
        "grey.JPG": ("L", {"format": "JPEG"}),
        "print.Jpeg": ("CMYK", {"format": "JPEG"}),
        "a#1 =b.jpg": ("RGB", {}),
        "Größe ü.bmp": ("RGB", {}),
        "two.dots.jpg": ("RGB", {}),
    }
    sizes = {}
    for name, (mode, options) in kinds.items():
        save(folder / name, (80, 60), boxes, mode, **options)
        sizes[name] = 80, 60
    save_turned(folder / "turned.jpg", (60, 80), boxes)
    return sizes | {"turned.jpg": (60, 80)}


def plain_boxes(number: int, rng, size=(96, 72)) -> list[tuple]:
    """Distinct boxes in whole pixels, one of them for each class in turn."""
    boxes = []
    for n in range(number):
        x, y = rng.integers(0, (size[0] - 24, size[1] - 24))
        w, h = rng.integers(8, 24, 2)
        boxes.append((CLASSES[n % len(CLASSES)], x, y, x + w, y + h))
    return [(name, *map(float, corners)) for name, *corners in boxes]


def _scenes(
    folder: Path, number: int, seed: int, oddities: bool, layout: str, truth: Truth | None = None
) -> Truth:
    if truth:
        for name, size in truth.sizes.items():
            save(folder / name, size, truth.boxes[name])
        return truth
    rng = np.random.default_rng(seed)
    truth = Truth(layout, {}, {})
    for n in range(number):
        name = f"image_{seed}_{n:03}.jpg"
        truth.boxes[name], truth.sizes[name] = plain_boxes(1 + n % 4, rng), (96, 72)
        save(folder / name, (96, 72), truth.boxes[name])
    if oddities:
        box = [("cat", 8.0, 10.0, 40.0, 50.0)]
        odd = save_odd_images(folder, box)
        truth.sizes |= odd
        truth.boxes |= {name: list(box) for name in odd}
        truth.boxes["negative.jpg"], truth.sizes["negative.jpg"] = [], (40, 40)
        save(folder / "negative.jpg", (40, 40), [])
        truth.unlabeled.append("nobody.jpg")
        save(folder / "nobody.jpg", (40, 40), [])
        (folder / "broken.jpg").write_bytes(b"no image")
        truth.left_out["images that cannot be read"] = 1
    return truth


def make_coco(
    folder, number: int = 12, seed: int = 0, oddities: bool = True, truth: Truth | None = None
) -> Truth:
    """`labels.json` and `images/`; a set of `number` images, or the one that `truth` describes."""
    folder = Path(folder)
    truth = _scenes(folder / "images", number, seed, oddities, "COCO json", truth)
    content = {"images": [], "annotations": []}
    content["categories"] = [{"id": n, "name": x} for n, x in enumerate(CLASSES, start=1)]
    for image_id, (name, boxes) in enumerate(truth.boxes.items()):
        width, height = truth.sizes[name]
        image = {"id": image_id, "file_name": name, "width": width, "height": height}
        content["images"].append(image)
        for label, x0, y0, x1, y1 in boxes:
            item = {"image_id": image_id, "category_id": CLASSES.index(label) + 1}
            item |= {"id": len(content["annotations"]), "bbox": [x0, y0, x1 - x0, y1 - y0]}
            content["annotations"].append(item)
    if oddities:
        _spoil_coco(content, truth)
    data = json.dumps(content).encode("utf-8-sig" if oddities else "utf-8")
    (folder / "labels.json").write_bytes(data)
    return truth


def _spoil_coco(content: dict, truth: Truth) -> None:
    images, items = content["images"], content["annotations"]
    content["categories"] = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        *({**x, "id": str(x["id"]), "supercategory": "pets"} for x in content["categories"]),
    ]
    truth.left_out["only group others"] = 1
    names = [image["file_name"] for image in images]
    images[0]["file_name"] = f"C:\\photos\\{images[0]['file_name']}"
    images[1]["file_name"] = f"/home/somebody/{images[1]['file_name'].upper()}"
    images[2] |= {"width": images[2]["height"], "height": images[2]["width"]}
    images[3] |= {"width": images[3]["width"] * 4, "height": images[3]["height"] * 4}
    del images[4]["width"], images[4]["height"]
    for item in items:
        item["image_id"] = float(item["image_id"])  # a table's column that once had a gap
        if item["image_id"] == 3:
            item["bbox"] = [4 * value for value in item["bbox"]]
        if item["image_id"] == 5:  # masks alone
            x, y, w, h = item.pop("bbox")
            item["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        if item["image_id"] == 6:  # run lengths, of columns
            (x, y, w, h), (width, height) = map(int, item.pop("bbox")), truth.sizes[names[6]]
            counts = [x * height + y, *([h, height - h] * w)]
            counts[-1] = width * height - sum(counts[:-1])
            item["segmentation"] = {"counts": counts, "size": [height, width]}
    first = names[0]
    x0, y0, x1, y1 = truth.boxes[first][0][1:]
    bad = [
        {"bbox": [5, 5, 0, 20]},
        {"bbox": [x0, y0, x1 - x0, y1 - y0]},  # of the same class: repeated
        {"bbox": None},
        {"category_id": 77, "bbox": [1, 1, 9, 9]},
        {"image_id": 9999, "bbox": [1, 1, 9, 9]},
        {"bbox": [80, 60, 30, 30]},  # over the border
        {"bbox": [50, 5, 30, 20], "iscrowd": "1"},
    ]
    items += [{"id": f"x{n}", "image_id": 0, "category_id": 1, **x} for n, x in enumerate(bad)]
    truth.boxes[first].append(("cat", 80.0, 60.0, 96.0, 72.0))
    truth.crowds[first] = [("cat", 50.0, 5.0, 80.0, 25.0)]
    images += [
        {"id": "b", "file_name": "broken.jpg", "width": 9, "height": 9},
        {"id": "g", "file_name": "gone.jpg", "width": 9, "height": 9},
    ]
    truth.left_out |= {
        "without area": 1,
        "repeated": 1,
        "without a box": 1,
        "categories that are not listed": 1,
        "images that are not listed": 1,
        "not there": 1,
    }
    truth.mended |= {"clipped": 1, "resized": 1, "sizes that are missing": 1, "around the masks": 3}
    truth.mended |= {"another spelling": 1, "sizes that are wrong": 1}
    truth.mended["around the masks"] = len(truth.boxes[names[5]]) + len(truth.boxes[names[6]])


def yolo_line(label: str, x0, y0, x1, y1, size: tuple[int, int]) -> str:
    width, height = size
    shares = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height
    return f"{CLASSES.index(label)} " + " ".join(f"{value:.9f}" for value in shares)


def make_yolo(
    folder, number: int = 12, seed: int = 0, oddities: bool = True, truth: Truth | None = None
) -> Truth:
    """`data.yaml`, `images/` and `labels/`."""
    folder = Path(folder)
    truth = _scenes(folder / "images", number, seed, oddities, "YOLO", truth)
    (folder / "labels").mkdir()
    for name, boxes in truth.boxes.items():
        lines = [yolo_line(*box, truth.sizes[name]) for box in boxes]
        (folder / "labels" / name).with_suffix(".txt").write_text("\n".join(lines))
    names = "\n".join(f"  {n}: {name}" for n, name in enumerate(CLASSES))
    where = "D:\\work\\pets\\images" if oddities else "images"
    (folder / "data.yaml").write_text(f"train: {where}\nnc: {len(CLASSES)}\nnames:\n{names}\n")
    if oddities:
        _spoil_yolo(folder / "labels", truth)
    return truth


def _spoil_yolo(labels: Path, truth: Truth) -> None:
    (labels / "broken.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    name = min(truth.boxes, key=lambda x: not x.startswith("image"))
    path = (labels / name).with_suffix(".txt")
    first = path.read_text().splitlines()[0]
    lines = [
        first,  # repeated
        "9 0.5 0.5 0.1 0.1",  # beyond nc
        "1 0.25 0.25 0.5 0.25 0.5 0.75",  # a polygon
        "1 0.75 0.75 0.25 0.25 0.87",  # a score behind it
        "2 0.99 0.5 0.25 0.5",  # over the border
        "0 0.5 0.5 0 0.1",
        "cat",
    ]
    path.write_text("\n".join([path.read_text(), *lines, "", ""]))
    truth.boxes[name] += [
        ("dog", 24.0, 18.0, 48.0, 54.0),
        ("dog", 60.0, 45.0, 84.0, 63.0),
        ("no", 0.865 * 96, 18.0, 96.0, 54.0),
    ]
    truth.left_out |= {"repeated": 1, "classes without a name": 1, "without area": 1, "no label": 1}
    truth.mended |= {"scores": 1, "clipped": 1}


def xml_of(filename: str, size, objects: str) -> str:
    width, height = size
    return (
        f"<annotation><folder>x</folder><filename>{escape(filename)}</filename><size>"
        f"<width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}"
        "</annotation>"
    )


def xml_object(label: str, x0, y0, x1, y1, difficult: int = 0) -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (x0, y0, x1, y1), strict=True)
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
    return (
        f"<object><name>{escape(label)}</name><pose>Left</pose><difficult>{difficult}</difficult>"
        f"<bndbox>{inner}</bndbox></object>"
    )


def make_voc(
    folder, number: int = 12, seed: int = 0, oddities: bool = True, truth: Truth | None = None
) -> Truth:
    """`JPEGImages/` and `Annotations/`."""
    folder = Path(folder)
    truth = _scenes(folder / "JPEGImages", number, seed, oddities, "Pascal VOC", truth)
    (folder / "Annotations").mkdir()
    for n, (name, boxes) in enumerate(truth.boxes.items()):
        filename, size = name, truth.sizes[name]
        if oddities and n < 5:
            stem = name.removesuffix(".jpg")
            filename = ["other.jpg", stem, name.upper(), f"{stem}.bmp", name][n]
            size = [size, (0, 0), size[::-1], size, size][n]
            truth.mended |= {"filename": 1, "sizes that are missing": 1, "sizes that are wrong": 1}
        objects = "".join(xml_object(*box) for box in boxes)
        if oddities and n == 0:
            objects += _odd_objects(truth, name)
        path = folder / "Annotations" / f"{name.rpartition('.')[0]}.xml"
        path.write_text(xml_of(filename, size, objects), encoding="utf-8")
    if oddities:
        size, box = (9, 9), xml_object("cat", 1, 1, 8, 8)
        (folder / "Annotations" / "gone.xml").write_text(xml_of("gone.jpg", size, box))
        (folder / "Annotations" / "broken.xml").write_text(xml_of("broken.jpg", size, box))
        (folder / "Annotations" / "cut.xml").write_text("<annotation><object>")
        truth.left_out |= {"xmls without an image": 1, "none of Pascal VOC": 1}
    return truth


def _odd_objects(truth: Truth, name: str) -> str:
    truth.boxes[name] += [("dog", 10.25, 20.5, 30.75, 40.125), ("no", 0.0, 0.0, 20.0, 30.0)]
    truth.crowds[name] = [("cat", 50.0, 5.0, 80.0, 25.0)]
    truth.left_out |= {"without area": 1, "repeated": 1, "without a box": 1}
    truth.mended |= {"clipped": 1}
    return "".join(
        [
            xml_object("dog", 10.25, 20.5, 30.75, 40.125),
            xml_object("dog", 10.25, 20.5, 30.75, 40.125),
            xml_object("no", -6, -3.5, 20, 30),
            xml_object("cat", 50, 5, 80, 25, difficult=1),
            xml_object("cat", 33, 5, 33, 25),
            xml_object("cat", 1, 1, "", 9),
        ]
    )


MAKERS: dict[str, Callable[..., Truth]] = {"coco": make_coco, "yolo": make_yolo, "voc": make_voc}


def make_folder(folder, layout: str, number: int = 12, oddities: bool = False) -> dict[str, Truth]:
    """`train/`, `valid/` and `test/` in a layout, and unlabelled images in `unlabeled/`."""
    folder = Path(folder)
    truths = {}
    for seed, (name, part) in enumerate((("train", "train"), ("val", "valid"), ("test", "test"))):
        truths[name] = MAKERS[layout](folder / part, number, seed, oddities)
    _scenes(folder / "unlabeled", number, 3, False, "")
    return truths


def as_read(labels) -> tuple[dict[str, list[tuple]], dict[str, list[tuple]]]:
    """Boxes and crowds of `sad.layouts.labels.Labels`, as `Truth` has them: by the files' names."""
    names = {image["id"]: Path(image["file_name"]).name for image in labels.images}
    boxes, crowds = {name: [] for name in names.values()}, {}
    for item in labels.annotations:
        x, y, w, h = item["bbox"]
        box = labels.classes[item["category_id"] - 1], x, y, x + w, y + h
        name = names[item["image_id"]]
        (crowds.setdefault(name, []) if item["iscrowd"] else boxes[name]).append(box)
    return boxes, crowds


def check(labels, truth: Truth, tolerance: float = 1e-4) -> None:
    """That labels are what is true: images, boxes to a tolerance in pixels, and what was noted."""
    assert labels.layout == truth.layout
    assert labels.classes == truth.classes
    assert {Path(x["file_name"]).name: (x["width"], x["height"]) for x in labels.images} == {
        name: truth.sizes[name] for name in truth.boxes
    }
    for found, wanted in zip(as_read(labels), (truth.boxes, truth.crowds), strict=True):
        assert found.keys() == wanted.keys()
        for name, boxes in wanted.items():
            assert [x[0] for x in sorted(found[name])] == [x[0] for x in sorted(boxes)], name
            near = [x[1:] for x in sorted(boxes)]
            assert np.allclose([x[1:] for x in sorted(found[name])], near, rtol=0, atol=tolerance)
    for noted, wanted in ((labels.left_out, truth.left_out), (labels.mended, truth.mended)):
        for words, count in wanted.items():
            assert sum(len(x) for what, x in noted.items() if words in what) == count, (
                words,
                noted,
            )
