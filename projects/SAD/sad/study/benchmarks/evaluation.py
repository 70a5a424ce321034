"""COCO's evaluation of boxes: pycocotools, hotcoco, and all that surrounds it.

80 classes, about 7 labels an image, of which 1 % are crowds, and 100 detections an image, half of
them near a label: numbers as of COCO's val2017.

The whole evaluation is `sad.evaluation.coco_evaluator.BoxEvaluator`, outputs to numbers: boxes
become dicts, are written to two files, and evaluated by hotcoco.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ...evaluation import coco_evaluator as evaluation
from ...utils.clock import take_turns
from ...utils.errors import UserError
from ...utils.files import write_json
from .timing import Options, Table, compare

IMAGES = {"small": 500, "coco": 5000}
CLASSES, LABELS, DETECTIONS = 80, 7.2, 100
SIZE = 480, 640  # height and width of every image
SET = "benchmark_evaluation"


def make_set(num_images: int, num_classes: int = CLASSES, seed: int = 0) -> tuple[dict, list[dict]]:
    """A COCO json's content and detections in COCO's form, whose scores have 3 decimals: many ties.

    About one image in a hundred is without labels; half of the rest's detections are labels, moved.
    """
    rng = np.random.default_rng(seed)

    def draw(count):
        sides = np.exp(rng.uniform(np.log(8), np.log(320), (count, 2)))
        boxes = np.concatenate([rng.uniform(0, SIZE[::-1], (count, 2)), sides], axis=1)
        return boxes, rng.integers(1, num_classes + 1, count)

    labels, detections = [], []
    for image in range(1, num_images + 1):
        boxes, classes = draw(rng.poisson(LABELS) * (rng.random() > 0.01))
        for box, category in zip(boxes, classes.tolist(), strict=True):
            labels.append(
                {
                    "id": len(labels) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box.tolist(),
                    "area": float(0.7 * box[2] * box[3]),  # a mask's
                    "iscrowd": int(rng.random() < 0.01),
                }
            )
        far, far_classes = draw(DETECTIONS)
        scores = rng.beta(1, 8, DETECTIONS)
        if len(boxes):
            near = np.arange(0, DETECTIONS, 2)
            of = rng.integers(len(boxes), size=len(near))
            far[near] = boxes[of] * rng.normal(1, 0.1, (len(near), 4))
            far_classes[near] = classes[of]
            scores[near] = rng.beta(3, 3, len(near))
        detections += [
            {"image_id": image, "category_id": category, "bbox": box, "score": score}
            for category, box, score in zip(
                far_classes.tolist(), far.tolist(), scores.round(3).tolist(), strict=True
            )
        ]
    content = {
        "images": [
            {"id": i + 1, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]}
            for i in range(num_images)
        ],
        "categories": [{"id": i + 1, "name": f"class {i}"} for i in range(num_classes)],
        "annotations": labels,
    }
    return content, detections


def to_instances(detections: list[dict]) -> Instances:
    """What a model returns of an image."""
    boxes = torch.tensor([item["bbox"] for item in detections])
    return Instances(
        SIZE,
        pred_boxes=Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)),
        scores=torch.tensor([item["score"] for item in detections]),
        pred_classes=torch.tensor([item["category_id"] - 1 for item in detections]),
    )


def index(content: dict) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def by_pycocotools(truth: COCO, detections: list[dict], image_ids=None):
    return evaluation.summarized(COCOeval, truth, detections, image_ids)


def run(options: Options) -> Table:
    """
    Raises:
        UserError: hotcoco is not installed.
    """
    if evaluation.hotcoco is None:
        raise UserError("there is nothing to compare pycocotools with: pip install hotcoco")
    num_images = IMAGES[options.size]
    content, detections = make_set(num_images)
    outputs = [
        {"instances": to_instances(detections[start : start + DETECTIONS])}
        for start in range(0, len(detections), DETECTIONS)
    ]
    own = [dict(box) for box in detections]  # pycocotools writes into them
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        truth = index(content)
        json_file = str(Path(folder) / "annotations.json")
        write_json(json_file, content)
        MetadataCatalog.get(SET).set(
            json_file=json_file,
            thing_classes=[category["name"] for category in content["categories"]],
            thing_dataset_id_to_contiguous_id={i + 1: i for i in range(CLASSES)},
        )

        def whole():
            evaluator = evaluation.BoxEvaluator(SET, folder, "benchmark")
            evaluator.reset()
            for image, output in zip(content["images"], outputs, strict=True):
                evaluator.process([{"image_id": image["id"]}], [output])
            evaluator.evaluate()

        found = {}

        def arm(name, function, *arguments):
            def step():
                found[name] = function(*arguments)

            return step

        arms = {
            "pycocotools": arm("pycocotools", by_pycocotools, truth, own),
            "hotcoco": arm("hotcoco", evaluation.evaluate_boxes, truth, detections),
            "the whole evaluation": whole,
        }
        rounds = min(options.rounds, 3)  # pycocotools takes a minute at COCO's size
        times = take_turns(arms, rounds)
    MetadataCatalog.remove(SET)
    rows = compare(times, "pycocotools")
    fast, slow = found["hotcoco"], found["pycocotools"]
    rows["hotcoco"]["largest difference of the 12 numbers"] = float(
        np.abs(fast.stats - slow.stats).max()
    )
    return Table(
        "COCO's evaluation of boxes",
        rows,
        [
            f"{num_images} images, {len(content['annotations'])} labels, {len(detections)} "
            "detections.",
            *__doc__.split("\n\n")[1:],
        ],
        rounds,
    )
