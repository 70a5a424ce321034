"""A labelling job of nine small images, whose teacher is a narrow random RetinaNet.

Its class logits are scaled up until it detects things.
"""

import json
from pathlib import Path

import numpy as np
import torch
from detectron2.modeling import build_model
from PIL import Image

from sad.config.load import get_sad_cfg
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.runner import label_images

CATEGORIES = [{"id": 2, "name": "circle"}, {"id": 5, "name": "square"}]
# (width, height): landscape, portrait and a panorama that runs into MAX_SIZE_TEST.
SIZES = [(90, 64), (64, 90), (96, 64), (90, 64), (70, 70), (200, 40), (88, 64), (64, 96), (90, 64)]
TEACHER = """
MODEL:
  META_ARCHITECTURE: RetinaNet
  WEIGHTS: ""
  DEVICE: cpu
  BACKBONE: {NAME: build_retinanet_resnet_fpn_backbone}
  RESNETS:
    {OUT_FEATURES: [res3, res4, res5], STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 16,
     WIDTH_PER_GROUP: 4}
  FPN: {IN_FEATURES: [res3, res4, res5], OUT_CHANNELS: 16}
  ANCHOR_GENERATOR: {SIZES: [[16], [32], [64], [128], [256]]}
  RETINANET: {NUM_CLASSES: 2, NUM_CONVS: 1}
INPUT: {MIN_SIZE_TEST: 64, MAX_SIZE_TEST: 128}
DATALOADER: {NUM_WORKERS: 0}
"""


def draw_images(folder: Path, sizes) -> list[dict]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = []
    for number, (width, height) in enumerate(sizes):
        noise = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        noise.resize((width, height)).save(folder / f"{number}.png")
        images.append(
            {"id": 10 + number, "file_name": f"{number}.png", "width": width, "height": height}
        )
    return images


def make_scene(folder: Path) -> dict[str, str]:
    """Files of a labelling job; the arguments of `prepare` by name."""
    config_file, weights = folder / "teacher.yaml", folder / "teacher.pth"
    config_file.write_text(TEACHER)
    torch.manual_seed(0)
    model = build_model(get_sad_cfg(str(config_file)))
    torch.nn.init.normal_(model.head.cls_score.weight, std=0.007)
    torch.nn.init.constant_(model.head.cls_score.bias, -2.0)
    torch.nn.init.normal_(model.head.bbox_pred.weight, std=0.001)
    torch.save({"model": model.state_dict(), "class_names": ["circle", "square"]}, weights)
    images = draw_images(folder / "images", SIZES)
    image_info = {"images": images, "categories": CATEGORIES}
    (folder / "info.json").write_text(json.dumps(image_info))
    labels = [
        {"id": i, "image_id": 10 + i // 3, "category_id": 5, "bbox": [5, 5, 30, 20], "iscrowd": 0}
        for i in range(24)
    ]
    others = [{**image, "file_name": f"labeled_{image['file_name']}"} for image in images]
    labeled = {**image_info, "images": others, "annotations": labels}
    (folder / "labeled.json").write_text(json.dumps(labeled))
    return {
        "config_file": str(config_file),
        "weights": str(weights),
        "image_root": str(folder / "images"),
        "image_json": str(folder / "info.json"),
        "labeled_json": str(folder / "labeled.json"),
        "output": str(folder / "out" / "hard.json"),
    }


def run_labelling(scene, **changes) -> tuple[dict, dict]:
    """The json of pseudo-labels and its report."""
    arguments = {**scene, **changes}
    label_images(prepare(**arguments))
    output = Path(arguments["output"])
    report = output.parent / f"{output.stem}_report"
    assert {path.name for path in report.iterdir()} == {
        "report.json",
        "histogram.png",
        "preview.png",
    }
    return json.loads(output.read_text()), json.loads((report / "report.json").read_text())
