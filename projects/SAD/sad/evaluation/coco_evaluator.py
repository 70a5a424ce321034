"""COCO's evaluation of boxes; a set without annotations ends in a file for COCO's server."""

import contextlib
import io
import itertools
import json
import logging
import os
from functools import lru_cache
from pathlib import Path

import torch
from detectron2.data import MetadataCatalog
from detectron2.data.datasets import convert_to_coco_json
from detectron2.evaluation import DatasetEvaluator
from detectron2.evaluation.coco_evaluation import COCOeval_opt, instances_to_coco_json
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from pycocotools.coco import COCO

from ..data.coco_json import CocoJson
from ..utils.compat import derive_box_results
from ..utils.files import atomic_write, file_state
from ..utils.preemption import preemption
from .weights_record import DETECTIONS, forget_weights

try:
    import hotcoco
except ImportError:
    hotcoco = None

logger = logging.getLogger(__name__)


def _forget_hotcoco():
    global hotcoco
    hotcoco = None


# Its threads do not survive a fork: a child of a process that has evaluated would wait for ever.
os.register_at_fork(after_in_child=_forget_hotcoco)


def submission_name(json_file: str, name: str) -> str:
    """What COCO's server wants: image_info_test-dev2017.json -> detections_test-dev2017_NAME_..."""
    test_set = Path(json_file).stem.removeprefix("image_info_")
    return f"detections_{test_set}_{name}_results.json"


def evaluate_boxes(truth, results: list[dict], image_ids=None):
    """COCO's numbers of boxes: by hotcoco where it is installed, else as Detectron2 finds them.

    Args:
        truth: pycocotools.coco.COCO of the annotations.
        results: at least one detection, as in COCO's results.
        image_ids: the images to look at; None is all.
    Returns:
        an object with pycocotools' `stats` and `eval`, equal whichever library it is of (save for
        boxes that are not numbers, which pycocotools takes for right).
    """
    # pycocotools takes a match to label 0 for no match, and labels of one id for one.
    alike = 0 not in truth.anns and len(truth.anns) == len(truth.dataset["annotations"])
    if hotcoco and alike:
        try:
            return summarized(hotcoco.COCOeval, hotcoco.COCO(truth.dataset), results, image_ids)
        except ValueError as error:  # ids that are texts or below 0, say
            logger.info(f"pycocotools evaluates what hotcoco does not take: {error}")
    # Detectron2's own where it is compiled, else pycocotools'.
    return summarized(COCOeval_opt, truth, results, image_ids)


def summarized(kind, truth, results: list[dict], image_ids=None):
    """An evaluation of boxes that has come to its end; `kind` is pycocotools' COCOeval or alike."""
    evaluation = kind(truth, truth.loadRes(results), "bbox")
    if image_ids is not None:
        evaluation.params.imgIds = image_ids
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def read_truth(json_file: str) -> COCO:
    """The boxes of a COCO json that training would take, as pycocotools indexes them; read once.

    Numbered anew: no AP depends on the ids of annotations. They are not clipped, as COCO's are not.

    Raises:
        UserError: see `CocoJson`.
    """
    return _truth(json_file, file_state(PathManager.get_local_path(json_file)))


@lru_cache(maxsize=4)  # the sets of DATASETS.TEST, evaluated again and again
def _truth(json_file: str, _) -> COCO:
    file = CocoJson(json_file)
    images = list(file.images())
    truth = COCO()
    truth.dataset = {"info": {}, "images": images, "categories": file.categories}
    if file.has_annotations:
        sizes = {image["id"]: (image["width"], image["height"]) for image in images}
        truth.dataset["annotations"] = list(file.labels(sizes))
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def class_names(truth: COCO) -> list[str]:
    """In the order of COCO's numbers, which is that of the json's ids, not that of the model."""
    return [category["name"] for category in truth.dataset["categories"]]


class BoxEvaluator(DatasetEvaluator):
    """Detectron2's COCOEvaluator of boxes, with training's reader and a fast library if there is.

    Where there are no annotations (test-dev), the detections are kept under the name that COCO's
    server asks for, and the log says where.
    """

    def __init__(self, dataset_name: str, output_dir: str, name: str):
        """
        Args:
            name: of the method, a part of the submission's name.
        """
        self.output_dir = output_dir
        self.metadata = MetadataCatalog.get(dataset_name)
        json_file = self.metadata.get("json_file")
        if not json_file:  # a set that is registered in Python
            json_file = os.path.join(output_dir, f"{dataset_name}_coco_format.json")
            convert_to_coco_json(dataset_name, json_file, allow_cached=False)
        self.truth = read_truth(json_file)
        self.submission = submission_name(json_file, name)

    def reset(self):
        self.predictions = []

    def process(self, inputs, outputs):
        preemption.leave_if_asked()
        for image, output in zip(inputs, outputs, strict=True):
            boxes = instances_to_coco_json(output["instances"].to("cpu"), image["image_id"])
            self.predictions.append({"image_id": image["image_id"], "instances": boxes})

    def evaluate(self, img_ids=None):
        """{"bbox": AP and its kinds, in percent}; {} on ranks above 0, and without annotations."""
        comm.synchronize()
        predictions = list(itertools.chain(*comm.gather(self.predictions)))
        if not comm.is_main_process():
            return {}
        os.makedirs(self.output_dir, exist_ok=True)
        forget_weights(self.output_dir)
        results_file = os.path.join(self.output_dir, DETECTIONS)
        torch.save(predictions, os.path.join(self.output_dir, "instances_predictions.pth"))
        results = [box for prediction in predictions for box in prediction["instances"]]
        # Without it, as in a set that is registered in Python, classes are ids.
        if ids := self.metadata.get("thing_dataset_id_to_contiguous_id"):
            id_of_class = {number: category_id for category_id, number in ids.items()}
            for box in results:
                box["category_id"] = id_of_class[box["category_id"]]
        judged = "annotations" in self.truth.dataset
        path = results_file if judged else os.path.join(self.output_dir, self.submission)
        with atomic_write(path) as file:
            file.write(json.dumps(results))  # faster than json.dump
        if not judged:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(results_file)  # of an earlier evaluation, of others
            logger.info(f"No annotations, so no AP here. To submit it to COCO's server, zip {path}")
            return {}
        found = evaluate_boxes(self.truth, results, img_ids) if results else None
        return {"bbox": derive_box_results(found, class_names(self.truth), logger)}
