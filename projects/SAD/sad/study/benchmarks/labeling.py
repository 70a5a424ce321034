"""Labelling of images: Detectron2's inference_on_dataset, an image at a time, and ours.

The images are smooth noise in JPEG files, of COCO's sizes or the digit scenes'. The teacher's
weights are random. Its class logits are scaled to a standard deviation of 1.5 and moved so that
some hundred candidates an image reach the score threshold, which leaves some tens of boxes; its box
deltas have a standard deviation of 0.2.

All arms read the same files by as many processes as the config says, and end in boxes of the
images' own sizes on the CPU; ours also writes them to shards. A box is found again where one of its
class is within 0.5 pixels and 0.01 of its score.
"""

import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetMapper, build_detection_test_loader
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.modeling import build_model
from PIL import Image

from ...config.load import get_sad_cfg
from ...modeling.build import load_detector
from ...modeling.fold_norms import fold_norms
from ...pseudo_labels.detections import scores
from ...pseudo_labels.job import prepare
from ...pseudo_labels.runner import label_shards, plan_shards
from ...pseudo_labels.shards import read_detections
from ...utils.clock import take_turns
from .timing import Options, Table, compare

ROUNDS = 3  # at most
COCO_SIZES = [(640, 480)] * 6 + [(640, 427)] * 2 + [(480, 640)] * 2  # width and height
# Config, options, how many images, their sizes, batch sizes, candidates an image.
SIZES = {
    "small": [
        ("configs/digits/teacher.yaml", [], 200, [(128, 128)], (1, 8, 32), 60),
        (
            "configs/COCO/RetinaNet_R50_600.yaml",
            ["INPUT.MIN_SIZE_TEST", 256, "INPUT.MAX_SIZE_TEST", 427],
            16,
            COCO_SIZES,
            (1, 8),
            100,
        ),
    ],
    "coco": [("configs/COCO/RetinaNet_R50_600.yaml", [], 320, COCO_SIZES, (8, 32), 100)],
}


def write_images(folder: Path, count: int, sizes) -> list[dict]:
    rng = np.random.default_rng(0)
    images = []
    for number in range(count):
        width, height = sizes[number % len(sizes)]
        noise = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8))
        noise.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
        images.append(
            {"id": number, "file_name": f"{number}.jpg", "width": width, "height": height}
        )
    return images


@torch.no_grad()
def write_weights(cfg, samples: list[dict], candidates: int, path: str) -> None:
    """Random weights, with `candidates` scores of an image that reach the threshold."""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    features = model.backbone(model.preprocess_image(samples).tensor)
    head = model.head
    outputs = head([features[name] for name in model.head_in_features])
    logits, deltas = (torch.cat([level.flatten() for level in part]) for part in outputs)
    logits = logits - head.cls_score.bias[0]  # one bias for all, as it begins
    head.cls_score.weight *= 1.5 / logits.std()
    head.bbox_pred.weight *= 0.2 / deltas.std()
    limit = (logits * 1.5 / logits.std()).topk(candidates * len(samples)).values[-1]
    threshold = cfg.MODEL.RETINANET.SCORE_THRESH_TEST
    head.cls_score.bias.fill_(math.log(threshold / (1 - threshold)) - limit)
    names = [f"class {number}" for number in range(model.num_classes)]
    torch.save({"model": model.state_dict(), "class_names": names}, path)


class Collector(DatasetEvaluator):
    """Keeps the boxes of each image, on the CPU."""

    def reset(self):
        self.found = {}

    def process(self, inputs, outputs):
        for item, output in zip(inputs, outputs, strict=True):
            self.found[item["image_id"]] = output["instances"].to("cpu")

    def boxes(self) -> np.ndarray:
        """Rows of image, class, score and box."""
        return np.concatenate([_rows(image, one) for image, one in self.found.items()])


def _rows(image: int, instances) -> np.ndarray:
    columns = [torch.full((len(instances),), image), instances.pred_classes, instances.scores]
    boxes = instances.pred_boxes.tensor
    return torch.cat([torch.stack(columns, 1).to(boxes), boxes], dim=1).numpy()


def boxes_of(job, num_shards: int) -> np.ndarray:
    found = np.concatenate(list(read_detections(job.shards, num_shards)))
    return np.column_stack([found["image"], found["category"], scores(found), found["box"]])


def found_again(expected: np.ndarray, found: np.ndarray) -> float:
    """The share of `expected` that is in `found`."""
    hits = 0
    for image in np.unique(expected[:, 0]):
        one, other = (rows[rows[:, 0] == image][:, 1:] for rows in (expected, found))
        apart = np.abs(one[:, None] - other[None])
        near = (apart[..., 0] == 0) & (apart[..., 1] < 0.01) & (apart[..., 2:] < 0.5).all(-1)
        hits += int(near.any(axis=1).sum())
    return hits / len(expected)


def measure(case, options: Options, folder: Path) -> dict[str, dict]:
    config_file, opts, count, sizes, batch_sizes, candidates = case
    root = folder / "images"
    root.mkdir(parents=True)
    images = write_images(root, count, sizes)
    (folder / "images.json").write_text(json.dumps({"images": images}))
    cfg = get_sad_cfg(config_file, opts)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.DEVICE = "RetinaNet", options.device
    entries = [
        {**image, "image_id": image["id"], "file_name": str(root / image["file_name"])}
        for image in images
    ]
    mapper = DatasetMapper(cfg, is_train=False)
    weights = str(folder / "teacher.pth")
    write_weights(cfg, [mapper(dict(entry)) for entry in entries[:4]], candidates, weights)
    stock = build_model(cfg)
    stock.load_state_dict(torch.load(weights)["model"])
    collector = Collector()

    def detectron2():
        loader = build_detection_test_loader(
            entries, mapper=mapper, num_workers=cfg.DATALOADER.NUM_WORKERS
        )
        inference_on_dataset(stock, loader, collector)

    arms, results = {"inference_on_dataset": detectron2}, {}
    for precision in ("float32", "bfloat16"):
        for batch_size in batch_sizes:
            name = f"ours, batch {batch_size}, {precision}"
            job = prepare(
                config_file,
                weights,
                str(root),
                str(folder / f"{batch_size}_{precision}.json"),
                image_json=str(folder / "images.json"),
                threshold=0.5,
                batch_size=batch_size,
                opts=[*opts, "SAD.TEACHER.PRECISION", precision],
            )
            model, own_cfg = load_detector(config_file, weights, options.device, job.opts)
            fold_norms(model)
            shards = plan_shards(model, own_cfg, job)
            arms[name] = _arm(model, own_cfg, job, shards)
            results[name] = job, len(shards)
    times = take_turns(arms, min(options.rounds, ROUNDS), options.device)
    rows = compare(times, "inference_on_dataset")
    expected = collector.boxes()
    for name, row in rows.items():
        row["images/s"] = 1000 * count / row["ms"]
        boxes = boxes_of(*results[name]) if name in results else expected
        row["boxes/image"] = len(boxes) / count
        row["boxes found again"] = found_again(expected, boxes)
    return rows


def _arm(model, cfg, job, shards):
    return lambda: label_shards(model, cfg, job, shards)


def run(options: Options) -> Table:
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(SIZES[options.size]):
            name = case[0].removeprefix("configs/").removesuffix(".yaml")
            found = measure(case, options, Path(folder) / str(number))
            rows |= {f"{name}: {arm}": row for arm, row in found.items()}
    cases = [
        f"{config}{''.join(f' {o}' for o in opts)}: {count} images"
        for config, opts, count, *_ in SIZES[options.size]
    ]
    notes = ["; ".join(cases) + ".", *__doc__.split("\n\n")[1:]]
    return Table("Labelling", rows, notes, min(options.rounds, ROUNDS))
