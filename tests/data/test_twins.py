"""Harmless oddities of COCO jsons change no result: generated files against their clean twins.

An odd file has what real ones have: ids of annotations that begin anew or are missing, other
category ids, crowd flags as texts, unusable polygons, areas left out, boxes without area, other
encodings, NaN in fields that nobody reads. Its twin says the same in plain COCO. Records, hard
targets, AP of fixed detections and trained weights must be equal; boxes and AP also those of an
independent reader.

Forty of them in the quick suite, 500 with --all, fewer where labelling or training runs; the same
ones each time.
"""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import BoxMode

from sad.data.datasets import ClassOrder, load_coco_set, register_coco_set, register_from_config
from sad.engine.trainer import SADTrainer
from sad.evaluation.coco_evaluator import evaluate_boxes, read_truth
from sad.pseudo_labels import merge as label_merge
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.runner import label_images
from sad.study.benchmarks.evaluation import by_pycocotools, index
from toy import SIZES

NAMES = ["light", "dark"]
ORDER = ClassOrder(NAMES, "the weights of a test")


def make_clean(draw: random.Random) -> dict:
    """Plain COCO over some of the toy's labelled images."""
    chosen = sorted(draw.sample(range(len(SIZES)), draw.randint(3, len(SIZES))))
    images, annotations = [], []
    for number in chosen:
        width, height = SIZES[number]
        image_id = 10 * (number + 1)
        name = f"{number + 1:06d}.png"
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for _ in range(draw.randint(4, 6)):
            w, h = draw.randint(4, 24), draw.randint(4, 24)
            box = [draw.randint(0, width - w), draw.randint(0, height - h), w, h]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": draw.choice([1, 2]),
                    "bbox": [value + draw.choice([0, 0.25, 0.5]) * (value > 9) for value in box],
                    "area": 0,
                    "iscrowd": int(draw.random() < 0.1),
                }
            )
            x, y, w, h = annotations[-1]["bbox"]
            box = [x, y, min(w, width - x), min(h, height - y)]
            annotations[-1].update(bbox=box, area=box[2] * box[3])
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)]
    return {"images": images, "categories": categories, "annotations": annotations}


POLYGONS = [
    [],
    [[]],
    None,
    [[1, 2, 3, 4]],
    [1, 2, 3, 4, 5, 6],
    {"counts": [0, 5]},
    "x",
    [[1.5] * 7],
]
IDS = {
    "as they are": lambda n, draw: n + 1,
    "from 0": lambda n, draw: n,
    "all the same": lambda n, draw: 7,
    "anew in each image": lambda n, draw: n % 3,
    "texts": lambda n, draw: f"a{n}",
    "any": lambda n, draw: draw.choice([None, -1, 2**70, "", 1.5, [], 3]),
}
CROWD = {0: [0, 0.0, "0", False, None, "false", "absent"], 1: [1, 1.0, "1", True, "true"]}


def make_odd(clean: dict, draw: random.Random) -> dict:
    """The same boxes as somebody else would have written them."""
    odd = json.loads(json.dumps(clean))
    ids = draw.choice([{1: 1, 2: 2}, {1: 2, 2: 1}, {1: 0, 2: 90}, {1: 5, 2: 3}])
    if draw.random() < 0.2:
        ids = {1: "b", 2: "a"}
    number = draw.choice(list(IDS.values()))
    for category in odd["categories"]:
        category.update(id=ids[category["id"]], supercategory=draw.choice(["none", "", None]))
    for n, label in enumerate(odd["annotations"]):
        label.update(id=number(n, draw), category_id=ids[label["category_id"]])
        label["iscrowd"] = draw.choice(CROWD[label["iscrowd"]])
        if label["iscrowd"] == "absent":
            del label["iscrowd"]
        if draw.random() < 0.5:
            label["segmentation"] = draw.choice(POLYGONS)
        if draw.random() < 0.3:
            label["area"] = draw.choice([None, "9", 0, -1, math.nan])
        if draw.random() < 0.1:
            del label["id"]
        label["attributes"] = {"depth": draw.choice([math.nan, math.inf, 1])}
    width, height = odd["images"][0]["width"], odd["images"][0]["height"]
    for box in ([3, 3, 0, 9], [3, 3, 9, 0], [9, 9, -4, 4], [math.nan, 1, 2, 3]):
        if draw.random() < 0.3:
            junk = {"image_id": odd["images"][0]["id"], "category_id": ids[1], "bbox": box}
            odd["annotations"].insert(draw.randrange(len(odd["annotations"])), junk)
    if draw.random() < 0.3:
        box = [0, 0, width, height]
        odd["annotations"].append({"image_id": 99, "category_id": ids[1], "bbox": box})
    for image in odd["images"]:
        if draw.random() < 0.3:
            image["width"] = float(image["width"])
        image["gps"] = draw.choice([math.nan, None])
    draw.shuffle(odd["images"])
    order = draw.sample([image["id"] for image in odd["images"]] + [99], len(odd["images"]) + 1)
    odd["annotations"].sort(key=lambda a: order.index(a["image_id"]))  # within an image as before
    return dict(draw.sample(list(odd.items()), len(odd)))  # the sections in any order


def write(path: Path, content: dict, draw: random.Random | None = None) -> str:
    encoding, indent = "utf-8", None
    if draw:
        encoding, indent = draw.choice(["utf-8", "utf-8-sig", "utf-16"]), draw.choice([None, 1])
    path.write_text(json.dumps(content, indent=indent), encoding=encoding)
    return str(path)


def independent(path: str) -> dict:
    """{file: [(class, x0, y0, x1, y1, crowd)]} by another reader, of bytes and rules of its own."""
    data = Path(path).read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    content = json.loads(data.decode(encoding))
    files = {image["id"]: image["file_name"] for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    boxes = {name: [] for name in files.values()}
    for label in content["annotations"]:
        x, y, w, h = label["bbox"]
        if label["image_id"] in files and w > 0 and h > 0 and not math.isnan(x):
            crowd = str(label.get("iscrowd")).lower() in ("1", "1.0", "true")
            box = (names[label["category_id"]], x, y, x + w, y + h, crowd)
            boxes[files[label["image_id"]]].append(box)
    return boxes


def records(path: str, toy) -> list[dict]:
    """Detectron2's dicts, but for what says how many annotations were left out."""
    dicts = load_coco_set("twin", path, toy.path("labeled"), ORDER)
    MetadataCatalog.remove("twin")
    return [{key: x for key, x in image.items() if key != "unusable"} for image in dicts]


def boxes_of(dicts: list[dict]) -> dict:
    return {
        Path(image["file_name"]).name: [
            (
                NAMES[a["category_id"]],
                *BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS),
                bool(a["iscrowd"]),
            )
            for a in image["annotations"]
        ]
        for image in dicts
    }


def detections(clean: dict, draw: random.Random) -> list[dict]:
    """The labels moved by some pixels, as {file, class, box, score}."""
    files = {image["id"]: image["file_name"] for image in clean["images"]}
    return [
        {
            "file": files[label["image_id"]],
            "name": NAMES[label["category_id"] - 1],
            "bbox": [value + draw.uniform(-2, 2) for value in label["bbox"]],
            "score": draw.choice([0.25, 0.5, draw.random()]),
        }
        for label in clean["annotations"]
        if draw.random() < 0.8
    ]


def stats(path: str, found: list[dict]) -> np.ndarray:
    """COCO's twelve numbers of detections that are given by names."""
    truth = read_truth(path)
    image_ids = {image["file_name"]: image["id"] for image in truth.dataset["images"]}
    ids = {category["name"]: category["id"] for category in truth.dataset["categories"]}
    results = [
        {
            "image_id": image_ids[item["file"]],
            "category_id": ids[item["name"]],
            "bbox": item["bbox"],
            "score": item["score"],
        }
        for item in found
    ]
    return evaluate_boxes(truth, results).stats


def pseudo_labels(path: str, toy, folder: Path) -> list[tuple]:
    """What the toy's teacher labels, by file, with the threshold that these labels calibrate."""
    folder.mkdir()
    output = folder / "hard.json"
    toy.cfg("teacher.yaml", "DATASETS.REGISTER.toy_labeled.JSON", path)  # where its images lie
    job = prepare(
        toy.path("teacher.yaml"),
        toy.path("teacher.pth"),
        toy.path("unlabeled"),
        str(output),
        image_json=toy.path("annotations/image_info.json"),
        labeled_json=path,
        opts=("DATALOADER.NUM_WORKERS", "0"),
    )
    label_images(job)
    coco = json.loads(output.read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    return [(a["image_id"], names[a["category_id"]], a["bbox"]) for a in coco["annotations"]]


def train(toy, path: str, output: Path) -> dict:
    """Weights after three iterations on the labels of a json, with the toy's pseudo-labels."""
    torch.manual_seed(0)
    output.mkdir()
    opts = ("DATASETS.REGISTER.toy_labeled.JSON", path, "DATASETS.TEST", ())
    run = ("OUTPUT_DIR", str(output), "SOLVER.MAX_ITER", 3, "DATALOADER.NUM_WORKERS", 0, "SEED", 1)
    cfg = toy.cfg("SAD.yaml", *opts, *run)
    register_from_config(cfg, ORDER)
    trainer = SADTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    return trainer.model.state_dict()


def check_twins(toy, tmp_path, seed: int) -> None:
    draw = random.Random(seed)
    clean = make_clean(draw)
    one = write(tmp_path / "clean.json", clean)
    other = write(tmp_path / "minival.json", make_odd(clean, draw), draw)
    read = records(one, toy)
    assert read == records(other, toy)
    assert boxes_of(read) == independent(one) == independent(other)
    found = detections(clean, draw)
    expected = stats(one, found)
    assert np.array_equal(expected, stats(other, found), equal_nan=True)
    ids = {image["file_name"]: image["id"] for image in clean["images"]}
    results = [
        {
            "image_id": ids[item["file"]],
            "category_id": 1 + NAMES.index(item["name"]),
            "bbox": item["bbox"],
            "score": item["score"],
        }
        for item in found
    ]
    np.testing.assert_allclose(
        expected, by_pycocotools(index(clean), results, None).stats, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("number", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_records_and_ap(toy, tmp_path, number):
    for seed in range(number):
        check_twins(toy, tmp_path, seed)


@pytest.mark.parametrize("number", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_pseudo_labels_of(toy, tmp_path, number, monkeypatch):
    monkeypatch.setattr(label_merge, "write_report", lambda *_, **__: None)  # pictures of a second
    for seed in range(number):
        draw = random.Random(seed)
        clean = make_clean(draw)
        one = write(tmp_path / "clean.json", clean)
        other = write(tmp_path / "minival.json", make_odd(clean, draw), draw)
        targets = pseudo_labels(one, toy, tmp_path / f"{seed}_clean")
        assert targets == pseudo_labels(other, toy, tmp_path / f"{seed}_odd") != []


@pytest.mark.slow
def test_trained_weights(toy, tmp_path):
    for seed in range(8):
        draw = random.Random(seed)
        clean = make_clean(draw)
        one = write(tmp_path / "clean.json", clean)
        other = write(tmp_path / "minival.json", make_odd(clean, draw), draw)
        weights = train(toy, one, tmp_path / f"{seed}_clean")
        same = train(toy, other, tmp_path / f"{seed}_odd")
        assert all(torch.equal(tensor, same[key]) for key, tensor in weights.items())
    register_coco_set("toy_labeled", toy.path("annotations/labeled.json"), toy.path("labeled"))
