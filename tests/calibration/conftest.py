"""Held-out images whose boxes are known, and a teacher with images of all kinds."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from sad.calibration.images import HeldOut
from sad.pseudo_labels.detections import DETECTION

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]  # in the teacher's order


@pytest.fixture
def case():
    """40 images with objects, crowds and detections that hit some of them: held_out, found."""
    rng = np.random.default_rng(0)
    images = [{"image_id": 100 + n, "file_name": f"{n}.png"} for n in range(40)]
    images = [{**image, "width": 100, "height": 100} for image in images]
    labels, rows = [], []
    for position, image in enumerate(images):
        for number in range(rng.integers(0, 6)):
            x, y, w, h = (*rng.uniform(0, 60, 2), *rng.uniform(10, 40, 2))
            kind = int(rng.integers(0, 2))
            label = {"image_id": image["image_id"], "category_id": CATEGORIES[kind]["id"]}
            labels.append({**label, "bbox": [x, y, w, h], "iscrowd": int(number == 4)})
            for _ in range(rng.integers(0, 4)):
                dx, dy = rng.uniform(-8, 8, 2)
                box = (x + dx, y + dy, x + dx + w, y + dy + h)
                score = rng.integers(1, 100) * 10_000  # many are equal to a threshold
                rows.append((position, box, kind if rng.random() < 0.9 else 1 - kind, score))
    found = np.array(rows, DETECTION)
    found = found[np.lexsort([-found["score"], found["image"]])]
    return SimpleNamespace(held_out=HeldOut(images, labels, CATEGORIES, 0), found=found)


@pytest.fixture(scope="session")
def teacher_files(toy, tmp_path_factory):
    """Arguments of `calibrate`, without output: the toy's teacher, its scores spread out from near
    0 and 1; mirror images are unlabelled.
    """
    folder = tmp_path_factory.mktemp("calibration")
    weights = torch.load(toy.path("teacher.pth"), weights_only=True)
    weights["model"]["head.cls_score.weight"] *= 0.02
    torch.save(weights, folder / "teacher.pth")
    shutil.copytree(toy.path("unlabeled"), folder / "val")
    shutil.copy(toy.path("annotations/pseudo_labels.json"), folder / "val.json")
    (folder / "more").mkdir()
    for path in sorted((folder / "val").iterdir()):
        ImageOps.mirror(Image.open(path)).save(folder / "more" / path.name)
    return {
        "teacher_config": toy.path("teacher.yaml"),
        "teacher_weights": str(folder / "teacher.pth"),
        "val": (str(folder / "val.json"), str(folder / "val")),
        "unlabeled": str(folder / "more"),
        "labeled_json": toy.path("annotations/labeled.json"),
    }
