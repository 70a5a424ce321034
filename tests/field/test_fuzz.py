"""Broken COCO jsons and image files: a clear sentence or a counted skip, and nothing else.

A few hundred cases in the quick suite, 2,400 with --all; the same ones each time.
"""

import copy
import io
import json
import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.structures import BoxMode
from detectron2.utils.events import EventStorage
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from sad.data.checks import check_test_sets
from sad.data.coco_json import count_instances
from sad.data.datasets import load_coco_set, register_coco_set
from sad.data.mapper import SADDatasetMapper
from sad.data.mixed_dataset import MixedDataset
from sad.data.sampler import SampleKey
from sad.evaluation.coco_evaluator import read_truth
from sad.losses.distillation import DISTILLATION_LOSSES
from sad.modeling.build import load_detector
from sad.modeling.teacher import build_teacher
from sad.pseudo_labels.image_table import ImageTable, list_folder, list_json
from sad.pseudo_labels.runner import ReadableImages, _shapes, form_batches
from sad.pseudo_labels.views import NO_OTHERS, Views
from sad.utils.errors import UserError
from toy import png_bomb

LONGEST_SENTENCE = 400


def cases(number: int):
    """The same cases each time; as they run within one test, fixtures are shared by them."""
    return settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a case that fails is small enough as it is
        suppress_health_check=list(HealthCheck),
    )


def check_sentence(error: UserError, path) -> None:
    sentence = str(error)
    assert str(path) in sentence and "\n" not in sentence and "\r" not in sentence
    assert len(sentence) - len(str(path)) < LONGEST_SENTENCE


# --- which files are opened ---------------------------------------------------------------------

opened = None  # paths, while somebody watches


def _hook(event, arguments):
    if event == "open" and opened is not None and isinstance(arguments[0], (str, bytes)):
        opened.append(os.path.realpath(os.fsdecode(arguments[0])))


sys.addaudithook(_hook)  # for ever: Python has no way to remove one


@pytest.fixture
def watch():
    """The paths that have been opened since."""
    global opened
    opened = []
    yield opened
    opened = None


# --- COCO jsons ---------------------------------------------------------------------------------

COCO = {
    "info": {"description": "two small images"},
    "images": [
        {"id": 7, "file_name": "a.png", "width": 40, "height": 30},
        {"id": 2, "file_name": "deeper/b.png", "width": 20, "height": 20},
    ],
    "categories": [{"id": 3, "name": "ant"}, {"id": 9, "name": "cat"}],
    "annotations": [
        {"id": n, "image_id": (7, 2)[n % 2], "category_id": (3, 9)[n % 2], "bbox": [n, 2, 5, 6]}
        | {"area": 30, "iscrowd": 0, "score": 0.5}
        for n in range(1, 5)
    ],
}
# What json.dumps does not write: a text stands for it until the json is a text itself.
RAW = {
    "@inf@": "1e400",
    "@minus_zero@": "-0",
    "@deep@": "[" * 3000 + "]" * 3000,
    "@deeper@": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "@digits@": "9" * 5000,
    "@escape@": '"\\ud800"',
    "@null_byte@": '"a\\u0000.png"',
}
OUTSIDE = ["../secret.png", "deeper/../../secret.png", "/etc/hostname", "@absolute@"]
JUNK = st.one_of(
    st.sampled_from([None, True, False, "", "7", " ", "x" * 3000, "a\nb", "ä.png", "."]),
    st.sampled_from([0, -1, 1, 2, 7, 2**31, 2**63, -(2**63), 10**400, 1.0, 6.5, -0.0, 1e-320]),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308]),
    st.sampled_from([[], {}, [[]], [1, 2], [1, 2, 3, 4], ["1", "2", "3", "4"], {"2": 1, "3": 1}]),
    st.sampled_from([[1, 2, math.nan, 4], [-5, -5, 1e9, 1e9], [1, 2, -3, 4], [1, 2, "@inf@", 4]]),
    st.sampled_from(list(RAW)),
    st.sampled_from(OUTSIDE),
    st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=5), st.lists),
)


def places(value, path=()):
    """The paths of all values in a json."""
    yield path
    keys = value if isinstance(value, dict) else range(len(value)) if type(value) is list else ()
    for key in keys:
        yield from places(value[key], (*path, key))


@st.composite
def broken_jsons(draw) -> bytes:
    content = copy.deepcopy(COCO)
    for _ in range(draw(st.integers(0, 3))):
        *path, last = draw(st.sampled_from([p for p in places(content) if p]))
        holder = content
        for key in path:
            holder = holder[key]
        what = draw(st.sampled_from(["replace"] * 3 + ["remove", "double", "rename", "outside"]))
        if what == "outside":
            images = content.get("images")
            if isinstance(images, list) and images and isinstance(images[0], dict):
                images[0]["file_name"] = draw(st.sampled_from(OUTSIDE))
        elif what == "replace":
            holder[last] = copy.deepcopy(draw(JUNK))
        elif what == "remove":
            del holder[last]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        else:
            holder[draw(st.text(max_size=4))] = holder.pop(last)
        if content == {}:
            break
    text = json.dumps(content)
    for name, raw in RAW.items():
        text = text.replace(f'"{name}"', raw)
    data = text.encode()
    what = draw(
        st.sampled_from(["whole"] * 6 + ["cut", "flip", "insert", "utf-16", "bom", "twice"])
    )
    place = draw(st.integers(0, len(data)))
    if what == "cut":
        data = data[:place]
    elif what == "flip":
        data = data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
    elif what == "insert":
        data = data[:place] + draw(st.binary(max_size=4)) + data[place:]
    elif what == "utf-16":
        data = text.encode("utf-16")
    elif what == "bom":
        data = b"\xef\xbb\xbf" + data
    elif what == "twice":
        data += data
    return data


@dataclass
class Folder:
    """Two images, and one outside the root that nobody may read; what became of the cases."""

    root: Path
    outcomes: dict = field(default_factory=lambda: {"read": 0, "refused": 0})

    @property
    def json(self) -> Path:
        return self.root / "set.json"

    @property
    def images(self) -> str:
        return str(self.root / "images")

    def write(self, data: bytes) -> None:
        absolute = json.dumps(str(self.root / "secret.png")).encode()
        self.json.write_bytes(data.replace(b'"@absolute@"', absolute))

    def read(self, reader, *arguments):
        """What the reader returns, or None where it refuses the json in one sentence."""
        try:
            result = reader(*arguments)
        except UserError as error:
            check_sentence(error, self.json)
            self.outcomes["refused"] += 1
            return None
        self.outcomes["read"] += 1
        return result

    def is_inside(self, file_name: str) -> bool:
        return os.path.realpath(file_name).startswith(os.path.realpath(self.images) + os.sep)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "deeper").mkdir(parents=True)
    (tmp_path / "table").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "deeper" / "b.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "secret.png")
    yield Folder(tmp_path)
    for name in ("fuzzed", "sane"):
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)


def check_dicts(folder: Folder, dicts: list[dict]) -> None:
    """What training relies on."""
    num_classes = len(MetadataCatalog.get("fuzzed").get("thing_classes", ()))
    ids = [image["image_id"] for image in dicts]
    assert dicts and len(set(ids)) == len(ids)
    for image in dicts:
        assert folder.is_inside(image["file_name"])
        for annotation in image["annotations"]:
            assert 0 <= annotation["category_id"] < num_classes
            x0, y0, x1, y1 = BoxMode.convert(
                annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS
            )
            assert 0 <= x0 < x1 <= image["width"] and 0 <= y0 < y1 <= image["height"]


def check_training_and_evaluation(folder: Folder, cfg) -> None:
    register_coco_set("fuzzed", str(folder.json), folder.images)
    dicts = folder.read(load_coco_set, "fuzzed", str(folder.json), folder.images)
    if dicts is not None:
        check_dicts(folder, dicts)
    try:
        check_test_sets(cfg)
    except UserError as error:
        assert "\n" not in str(error) and "fuzzed" in str(error)
    else:
        for label in read_truth(str(folder.json)).dataset.get("annotations", ()):
            assert label["area"] > 0 and label["iscrowd"] in (0, 1)
            assert min(label["bbox"][2:]) > 0 and all(map(math.isfinite, label["bbox"]))


def check_labelling(folder: Folder, teacher) -> None:
    counted = folder.read(count_instances, str(folder.json))
    if counted is not None:
        file, instances = counted
        assert len({category["id"] for category in file.categories}) == len(file.categories)
        assert all(count >= 0 for count in instances.values())
    listed = folder.read(list_json, str(folder.root / "table"), folder.images, str(folder.json))
    if listed is None:
        return
    images, unreadable = listed
    readable = [position for position in range(len(images)) if position not in unreadable]
    for position in readable:
        assert folder.is_inside(os.path.join(folder.images, images[position]["file_name"]))
    sizes = np.stack([images.index["height"], images.index["width"]], 1)[readable]
    batches = form_batches(*_shapes(*teacher, sizes), 2)
    assert sorted(i for batch in batches for i in batch) == list(range(len(readable)))


def fuzz_jsons(number: int, folder: Folder, toy, watch) -> None:
    (folder.root / "sane.json").write_text(json.dumps(COCO))
    register_coco_set("sane", str(folder.root / "sane.json"), folder.images)
    DatasetCatalog.get("sane")
    sets = ("DATASETS.TRAIN", ("sane",), "DATASETS.TEST", ("fuzzed",))
    cfg = toy.cfg("teacher.yaml", *sets, checked=False)
    teacher = load_detector(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")

    @cases(number)
    @given(broken_jsons())
    def run(data):
        folder.write(data)
        check_training_and_evaluation(folder, cfg)
        check_labelling(folder, teacher)

    run()
    assert not any(path.endswith("secret.png") for path in watch)
    # Neither is everything refused, nor everything taken.
    assert min(folder.outcomes.values()) > number / 2, folder.outcomes


def test_some_broken_jsons(folder, toy, watch):
    fuzz_jsons(100, folder, toy, watch)


@pytest.mark.slow
def test_many_broken_jsons(folder, toy, watch):
    fuzz_jsons(600, folder, toy, watch)


# --- image files --------------------------------------------------------------------------------

SIZE = (12, 9)
rng = np.random.default_rng(0)
PIXELS = rng.integers(0, 256, (*SIZE[::-1], 3), np.uint8)
PICTURES = {  # Pillow's mode and format
    name: Image.fromarray(PIXELS).convert(mode)
    for name, mode in {"rgb": "RGB", "grey": "L", "cmyk": "CMYK", "alpha": "RGBA"}.items()
} | {
    "palette": Image.fromarray(PIXELS).quantize(16),
    "bits": Image.fromarray(PIXELS).convert("1"),
    "16 bits": Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 257),
    "float": Image.fromarray(PIXELS[:, :, 0].astype(np.float32)),
    "one pixel": Image.new("RGB", (1, 1)),
    "a line": Image.new("L", (300, 1)),
}
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")


def encode(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    try:
        picture.save(file, kind)
    except (OSError, ValueError):  # a JPEG has no alpha, and so on
        picture.convert("RGB").save(file, kind)
    return file.getvalue()


@st.composite
def image_files(draw) -> tuple[str, bytes, tuple[int, int]]:
    """(suffix, content, the size that the json gives)"""
    suffix = draw(st.sampled_from([".png", ".jpg", ".tif", ".bmp", ".webp", ".txt", ""]))
    what = draw(st.sampled_from(["whole", "cut", "flips", "flips", "insert", "bomb", "bytes"]))
    if what == "bomb":
        size = draw(st.sampled_from([(30_000, 30_000), (65_535, 65_535), (2**31 - 1, 1_000)]))
        return suffix, png_bomb(*size), size
    if what == "bytes":
        return suffix, draw(st.binary(max_size=64)), SIZE
    picture = draw(st.sampled_from(list(PICTURES.values())))
    data = bytearray(encode(picture, draw(st.sampled_from(FORMATS))))
    if what == "cut":
        del data[draw(st.integers(0, len(data))) :]
    elif what == "flips":
        for place in draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=6)):
            data[place] ^= draw(st.integers(1, 255))
    elif what == "insert":
        place = draw(st.integers(0, len(data)))
        data[place:place] = draw(st.binary(min_size=1, max_size=8))
    size = draw(st.sampled_from([picture.size] * 7 + [picture.size[::-1], (10**6, 10**6)]))
    return suffix, bytes(data), size


@dataclass
class ImageJob:
    """What `ReadableImages` needs of a labelling job."""

    image_root: str
    images: ImageTable
    views: Views = NO_OTHERS


def fuzz_images(number: int, folder: Folder, toy, watch) -> None:
    cfg = toy.cfg("SAD.yaml")
    mapper = SADDatasetMapper(cfg, is_train=True)
    boxes = [{"bbox": [0, 0, 1, 1], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}]
    outcomes = {"read": 0, "skipped": 0}

    @cases(number)
    @given(image_files())
    def run(file):
        suffix, data, (width, height) = file
        path = folder.root / "images" / f"fuzzed{suffix}"
        path.write_bytes(data)
        entry = {"id": 1, "file_name": path.name, "width": width, "height": height}
        record = {**entry, "file_name": str(path), "image_id": 1, "annotations": boxes}
        trained = MixedDataset([record], [], mapper)[SampleKey(0, (0, 0, 0))]
        images = ImageTable.write(str(folder.root / "table"), [entry])
        labelled = ReadableImages(cfg, ImageJob(folder.images, images))[0]
        if "image" in trained:
            assert trained["unreadable"] == []
            assert trained["image"].shape[0] == 3 and len(trained["instances"]) == 1
        else:
            assert len(trained["unreadable"]) == MixedDataset.MAX_TRIES
            assert all(name == str(path) for name, _ in trained["unreadable"])
            assert all("\n" not in reason for _, reason in trained["unreadable"])
        assert ("image" in labelled) == ("image" in trained)
        if "unreadable" in labelled:
            assert "\n" not in labelled["unreadable"] and len(labelled["unreadable"]) <= 200
        outcomes["read" if "image" in labelled else "skipped"] += 1
        listed, unreadable = list_folder(str(folder.root / "table"), folder.images)
        assert {entry["file_name"] for entry in listed.entries(slice(None))} >= {"a.png"}
        for position, entry in enumerate(listed.entries(slice(None))):
            assert (position in unreadable) != (entry.get("width", 0) > 0 < entry.get("height", 0))
        path.unlink()

    run()
    assert not any(path.endswith("secret.png") for path in watch)
    assert min(outcomes.values()) > number / 5, outcomes


def test_some_broken_images(folder, toy, watch):
    fuzz_images(40, folder, toy, watch)


@pytest.mark.slow
def test_many_broken_images(folder, toy, watch):
    fuzz_images(1000, folder, toy, watch)


# --- extremes that are right --------------------------------------------------------------------


TERM_SETS = ["()", "['feature']", "['box']", "['class','box','feature']"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("SAD.DISTILL.TERMS", terms) for terms in TERM_SETS),
        *(("SAD.DISTILL.CLASS.LOSS", loss) for loss in DISTILLATION_LOSSES),
    ],
)
def test_crowded_tiny_and_empty_images_are_trained_on(toy, tmp_path, key, value):
    """5,000 boxes in one image, boxes of a pixel and less, and no box: mapper, anchors, losses."""
    cfg = toy.cfg("SAD.yaml", key, value)
    path = tmp_path / "image.png"
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    corners = rng.integers(0, 63, (5000, 2)).astype(float)
    crowd = np.concatenate([corners, corners + 1], axis=1)  # a pixel each
    crowd[::2, 2:] = 64
    slivers = [[3, 3, 3.01, 60], [0, 0, 0.001, 0.001], [63.99, 63.99, 64, 64]]
    mapper = SADDatasetMapper(cfg, is_train=True)
    samples = [
        mapper(
            {
                "file_name": str(path),
                "width": 64,
                "height": 64,
                "origin": "labeled",
                "augmentation_seed": (0, 0, 0),
                "annotations": [
                    {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS, "category_id": n % 2}
                    for n, box in enumerate(boxes)
                ],
            }
        )
        for boxes in (crowd, slivers, [])
    ]
    assert [len(sample["instances"]) for sample in samples] == [5000, 3, 0]
    student = build_model(cfg).train()
    if student.terms:
        student.attach_teacher(build_teacher(cfg)[0])
    with EventStorage():
        losses = student(samples)
    assert len(losses) == 2 + len(student.terms)
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in student.parameters())
