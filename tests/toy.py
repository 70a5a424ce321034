"""A detection problem of 6 + 6 tiny images and detectors that train a step in milliseconds."""

import json
import logging
import resource
import runpy
import struct
import sys
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from detectron2.modeling import build_model
from PIL import Image

from sad.config.load import get_sad_cfg
from sad.data.datasets import register_from_config
from sad.preflight.values import check_config

REPOSITORY = Path(__file__).resolve().parents[1]
TRAIN_NET = REPOSITORY / "projects" / "SAD" / "train_net.py"

# (width, height): wide, tall and square ones, padded to 64 x 64, 64 x 96 and 96 x 64.
SIZES = [(64, 48), (48, 64), (64, 64), (80, 48), (40, 80), (56, 56)]
# Ids are not contiguous: the models' classes are 0 and 1.
CATEGORIES = [{"id": 2, "name": "light"}, {"id": 5, "name": "dark"}]

BASE = """
_BASE_: {repository}/configs/digits/Base.yaml
MODEL:
  DEVICE: cpu
  SMALL_RESNET:
    BLOCKS: (1, 1, 1, 1)
  RETINANET:
    NUM_CLASSES: 2
    NUM_CONVS: 1
    SCORE_THRESH_TEST: 0.001
INPUT:
  MIN_SIZE_TRAIN: [48, 64]
  MAX_SIZE_TRAIN: 96
  MIN_SIZE_TEST: 64
  MAX_SIZE_TEST: 96
  RANDOM_FLIP: horizontal
DATASETS:
  REGISTER:
    toy_labeled:
      JSON: {root}/annotations/labeled.json
      IMAGES: {root}/labeled
  TRAIN: [toy_labeled]
  TEST: [toy_labeled]
SOLVER:
  IMS_PER_BATCH: 2
  BASE_LR: 0.02
  WARMUP_ITERS: 3
  MAX_ITER: 10
SAD: {{WATCH: {{PICTURES: 0}}}}  # which would take a third of each test
OUTPUT_DIR: {root}/never_written
"""
WIDTHS = """
_BASE_: base.yaml
MODEL:
  RESNETS: {{STEM_OUT_CHANNELS: {width}, RES2_OUT_CHANNELS: {width}}}
  FPN: {{OUT_CHANNELS: {fpn}}}
"""
FASTER_RCNN = """
_BASE_: {name}.yaml
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  FPN: {{IN_FEATURES: [res2, res3, res4, res5]}}
  ANCHOR_GENERATOR:
    SIZES: [[8], [16], [24], [32]]
    ASPECT_RATIOS: [[0.5, 1.0, 2.0]]
  RPN:
    IN_FEATURES: [p2, p3, p4, p5]
    BATCH_SIZE_PER_IMAGE: 32
    PRE_NMS_TOPK_TRAIN: 50
    PRE_NMS_TOPK_TEST: 50
    POST_NMS_TOPK_TRAIN: 20
    POST_NMS_TOPK_TEST: 20
  ROI_HEADS:
    NAME: StandardROIHeads
    NUM_CLASSES: 2
    IN_FEATURES: [p2, p3, p4, p5]
    BATCH_SIZE_PER_IMAGE: 16
    SCORE_THRESH_TEST: 0.001
  ROI_BOX_HEAD:
    NAME: FastRCNNConvFCHead
    NUM_FC: 1
    FC_DIM: {width}
    POOLER_RESOLUTION: 3
"""
SAD = """
_BASE_: student.yaml
MODEL:
  META_ARCHITECTURE: Distiller
DATASETS:
  REGISTER:
    toy_pseudo_labels:
      JSON: {root}/annotations/pseudo_labels.json
      IMAGES: {root}/unlabeled
    toy_unlabeled:
      JSON: {root}/annotations/image_info.json
      IMAGES: {root}/unlabeled
  UNLABELED: [toy_pseudo_labels]
SAD:
  TEACHER:
    CONFIG_FILE: {root}/teacher.yaml
    WEIGHTS: {root}/teacher.pth
"""

TAR = """
_BASE_: rcnn_student.yaml
MODEL: {{META_ARCHITECTURE: Distiller}}
DATASETS:
  REGISTER:
    toy_pseudo_labels:
      JSON: {root}/annotations/pseudo_labels.json
      IMAGES: {root}/unlabeled
  UNLABELED: [toy_pseudo_labels]
SAD:
  STUDENT: {{META_ARCHITECTURE: GeneralizedRCNN}}
  TEACHER:
    CONFIG_FILE: {root}/rcnn_teacher.yaml
    WEIGHTS: {root}/rcnn_teacher.pth
  DISTILL:
    TERMS: [feature, roi_class, roi_box]
    FEATURE: {{MASK: gaussian, LAYER: conv3x3, WEIGHT: 3.0}}
"""


@dataclass(frozen=True)
class Toy:
    """Where the toy problem lies, and its configs."""

    root: Path

    def path(self, name: str) -> str:
        return str(self.root / name)

    def cfg(self, name: str, *opts, checked=True):
        """The frozen config of a yaml with KEY VALUE pairs, its data sets registered."""
        cfg = get_sad_cfg(str(self.root / name), opts)  # an absolute path stays as it is
        if checked:
            check_config(cfg)
            register_from_config(cfg)
        cfg.freeze()
        return cfg

    def json(self, name: str) -> dict:
        return json.loads((self.root / "annotations" / name).read_text())


def build(root: Path) -> Toy:
    """Write images, annotations, yamls and the weights of a random, but opinionated, teacher."""
    rng = np.random.default_rng(0)
    (root / "annotations").mkdir()
    images, annotations = _write_images(root / "labeled", rng)
    coco = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    _write_json(root / "annotations" / "labeled.json", coco)

    images, annotations = _write_images(root / "unlabeled", rng)
    coco = {"images": images, "categories": CATEGORIES}
    _write_json(root / "annotations" / "image_info.json", coco)
    # The teacher finds nothing in the last image.
    found = [
        {**annotation, "score": round(float(rng.uniform(0.5, 1)), 4)}
        for annotation in annotations
        if annotation["image_id"] != images[-1]["id"]
    ]
    _write_json(root / "annotations" / "pseudo_labels.json", {**coco, "annotations": found})

    (root / "base.yaml").write_text(BASE.format(repository=REPOSITORY, root=root))
    (root / "teacher.yaml").write_text(WIDTHS.format(width=16, fpn=16))
    (root / "student.yaml").write_text(WIDTHS.format(width=8, fpn=8))
    (root / "SAD.yaml").write_text(SAD.format(root=root))
    (root / "TAR.yaml").write_text(TAR.format(root=root))
    for name, width in (("teacher", 32), ("student", 16)):
        text = FASTER_RCNN.format(name=name, width=width)
        (root / f"rcnn_{name}.yaml").write_text(text)
    toy = Toy(root)
    for name in ("teacher", "rcnn_teacher"):
        save_random_teacher(toy.cfg(f"{name}.yaml"), root / f"{name}.pth")
    return toy


def save_random_teacher(cfg, path: Path, categories=CATEGORIES) -> None:
    """Weights whose class probabilities spread over (0, 1) instead of lying at one value."""
    torch.manual_seed(1)
    model = build_model(cfg)
    if hasattr(model, "roi_heads"):
        scores = model.roi_heads.box_predictor.cls_score
        torch.nn.init.normal_(scores.weight, std=0.01)
        torch.nn.init.constant_(scores.bias[-1], -8.0)  # of the background
    else:
        torch.nn.init.normal_(model.head.cls_score.weight, std=0.3)
        torch.nn.init.constant_(model.head.cls_score.bias, -1.0)
    names = [category["name"] for category in categories]
    torch.save({"model": model.state_dict(), "class_names": names}, path)


def run_script(monkeypatch, path: Path, *arguments):
    """What the shell does with `python PATH ...`, in this process."""
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    with loggers_restored():
        runpy.run_path(str(path), run_name="__main__")


def run_train_net(monkeypatch, *arguments):
    run_script(monkeypatch, TRAIN_NET, *arguments)


@contextmanager
def loggers_restored():
    """A command's log handlers write to its own test's stdout and log.txt."""
    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "sad")]
    before = [(list(logger.handlers), logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = handlers, propagate


def _write_images(folder: Path, rng) -> tuple[list[dict], list[dict]]:
    """Noise with one light and one dark rectangle each; COCO's images and annotations."""
    folder.mkdir()
    images, annotations = [], []
    for number, (width, height) in enumerate(SIZES, start=1):
        pixels = rng.integers(90, 160, (height, width, 3), np.uint8)
        image_id = 10 * number
        for category, (low, high) in zip(CATEGORIES, ((200, 255), (0, 40)), strict=True):
            w, h = (int(side) for side in rng.integers(14, 26, 2))
            x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            pixels[y : y + h, x : x + w] = rng.integers(low, high, (h, w, 3), np.uint8)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category["id"],
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
        name = f"{number:06d}.png"
        Image.fromarray(pixels).save(folder / name)
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
    return images, annotations


def png_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of a few kilobytes that says to hold this many grey pixels, and holds some."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(min(height * (1 + width), 2**20)))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def peak_memory() -> int:
    """The most that this process has ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _write_json(path: Path, content) -> None:
    path.write_text(json.dumps(content))
