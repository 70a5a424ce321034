"""COCO's evaluation of boxes; a set without annotations ends in a file for COCO's server."""

import contextlib
import io
import json
import logging
import os
from pathlib import Path

import torch
from detectron2.data import MetadataCatalog, build_detection_test_loader
from detectron2.data.datasets import convert_to_coco_json
from detectron2.evaluation import COCOEvaluator
from detectron2.evaluation.coco_evaluation import COCOeval_opt, _evaluate_predictions_on_coco
from detectron2.utils import comm
from pycocotools.coco import COCO

from ..data.checks import check_boxes, check_classes
from ..data.coco_json import CocoJson
from ..data.datasets import read_sets
from ..data.loader_workers import reader_arguments
from ..data.mapper import ReadingMapper
from ..utils.errors import UserError
from ..utils.preemption import preemption

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


class WholeLoader:
    """The batches of a test set, each image of which must be there: AP is one of all of them."""

    def __init__(self, loader, name: str):
        self.loader = loader
        self.name = name

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        """
        Raises:
            UserError: naming the image that cannot be read.
        """
        for batch in self.loader:
            for sample in batch:
                if "unreadable" in sample:
                    raise UserError(
                        f"data set {self.name}: {sample['file_name']} cannot be read "
                        f"({sample['unreadable']}), and an evaluation needs every image: mend it, "
                        "or take it out of the annotations"
                    )
                if "truncated" in sample:
                    logger.warning(f"Image lacks its last bytes: {sample['file_name']}")
            yield batch


def build_test_loader(cfg, name: str) -> WholeLoader:
    """Detectron2's loader of a registered test set, which names what it cannot read.

    Raises:
        UserError: the set cannot be read, has another number of classes than the model, or no box.
    """
    images = read_sets([name], cfg.DATALOADER.MAX_IMAGE_PIXELS)
    check_classes(cfg, (name,))  # which reading brought to light
    check_boxes(name, images)
    loader = build_detection_test_loader(
        images,
        mapper=ReadingMapper(cfg, is_train=False),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    for attribute, value in reader_arguments(loader.num_workers).items():
        setattr(loader, attribute, value)  # Detectron2's function takes no such arguments
    return WholeLoader(loader, name)


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
    options = {"iou_type": "bbox", "img_ids": image_ids}
    # pycocotools takes a match to label 0 for no match, and labels of one id for one.
    alike = 0 not in truth.anns and len(truth.anns) == len(truth.dataset["annotations"])
    if hotcoco and alike:
        try:
            fast = hotcoco.COCO(truth.dataset)
            return _evaluate_predictions_on_coco(
                fast, results, cocoeval_fn=hotcoco.COCOeval, **options
            )
        except ValueError as error:  # ids that are texts or below 0, say
            logger.info(f"pycocotools evaluates what hotcoco does not take: {error}")
    # Detectron2's own where it is compiled, else pycocotools'.
    return _evaluate_predictions_on_coco(truth, results, cocoeval_fn=COCOeval_opt, **options)


def read_truth(json_file: str) -> COCO:
    """The boxes of a COCO json that training would take, as pycocotools indexes them.

    Numbered anew: no AP depends on the ids of annotations. They are not clipped, as COCO's are not.

    Raises:
        UserError: see `CocoJson`.
    """
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


class BoxEvaluator(COCOEvaluator):
    """COCOEvaluator of boxes, with a fast library where there is one.

    Where there are no annotations (test-dev), the detections are kept under the name that COCO's
    server asks for, and the log says where.
    """

    def __init__(self, dataset_name: str, output_dir: str, name: str):
        """
        Args:
            name: of the method, a part of the submission's name.
        """
        # Not COCOEvaluator's __init__, which reads the json by other rules than training does.
        self._logger = logger
        self._distributed = True
        self._output_dir = output_dir
        self._cpu_device = torch.device("cpu")
        self._metadata = MetadataCatalog.get(dataset_name)
        json_file = self._metadata.get("json_file")
        if not json_file:  # a set that is registered in Python
            json_file = os.path.join(output_dir, f"{dataset_name}_coco_format.json")
            convert_to_coco_json(dataset_name, json_file, allow_cached=False)
        self._coco_api = read_truth(json_file)
        self._do_evaluation = "annotations" in self._coco_api.dataset
        self.results_file = os.path.join(output_dir, "coco_instances_results.json")
        self.submission_file = os.path.join(output_dir, submission_name(json_file, name))

    def process(self, inputs, outputs):
        preemption.leave_if_asked()
        super().process(inputs, outputs)

    def _eval_predictions(self, predictions, img_ids=None):
        # COCOEvaluator's of boxes alone, which leaves no choice of the library.
        results = [box for prediction in predictions for box in prediction["instances"]]
        # Without it, as in a set that is registered in Python, classes are ids.
        if ids := self._metadata.get("thing_dataset_id_to_contiguous_id"):
            id_of_class = {number: category_id for category_id, number in ids.items()}
            for box in results:
                box["category_id"] = id_of_class[box["category_id"]]
        with open(self.results_file, "w") as file:
            file.write(json.dumps(results))  # faster than json.dump
        if self._do_evaluation:
            found = evaluate_boxes(self._coco_api, results, img_ids) if results else None
            names = self._metadata.thing_classes
            self._results["bbox"] = self._derive_coco_results(found, "bbox", class_names=names)

    def evaluate(self, img_ids=None):
        results = super().evaluate(img_ids)
        if comm.is_main_process() and not results and os.path.exists(self.results_file):
            os.replace(self.results_file, self.submission_file)
            logger.info(
                "No annotations, so no AP here. To submit it to COCO's server, zip "
                f"{self.submission_file}"
            )
        return results
