"""COCO's evaluation of boxes; a set without annotations ends in a file for COCO's server."""

import logging
import os
from pathlib import Path

from detectron2.data import DatasetMapper, MetadataCatalog, build_detection_test_loader
from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm

from .errors import UserError, reason
from .resume import preemption

logger = logging.getLogger(__name__)


class ReadingMapper(DatasetMapper):
    """Detectron2's; an image that it cannot read comes with the reason instead."""

    def __call__(self, item: dict) -> dict:
        try:
            return super().__call__(item)
        except Exception as error:  # decoders raise anything, from OSError to struct.error
            return {"file_name": item["file_name"], "unreadable": reason(error)}


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
            yield batch


def build_test_loader(cfg, name: str) -> WholeLoader:
    """Detectron2's loader of a registered test set, which names what it cannot read."""
    mapper = ReadingMapper(cfg, is_train=False)
    return WholeLoader(build_detection_test_loader(cfg, name, mapper=mapper), name)


def submission_name(json_file: str, name: str) -> str:
    """What COCO's server wants: image_info_test-dev2017.json -> detections_test-dev2017_NAME_..."""
    test_set = Path(json_file).stem.removeprefix("image_info_")
    return f"detections_{test_set}_{name}_results.json"


class BoxEvaluator(COCOEvaluator):
    """COCOEvaluator of boxes. Where there are no annotations (test-dev), the detections are kept
    under the name that COCO's server asks for, and the log says where.
    """

    def __init__(self, dataset_name: str, output_dir: str, name: str):
        """
        Args:
            name: of the method, a part of the submission's name.
        """
        super().__init__(dataset_name, tasks=("bbox",), output_dir=output_dir)
        self.results_file = os.path.join(output_dir, "coco_instances_results.json")
        json_file = MetadataCatalog.get(dataset_name).json_file
        self.submission_file = os.path.join(output_dir, submission_name(json_file, name))

    def process(self, inputs, outputs):
        preemption.leave_if_asked()
        super().process(inputs, outputs)

    def evaluate(self, img_ids=None):
        results = super().evaluate(img_ids)
        if comm.is_main_process() and not results and os.path.exists(self.results_file):
            os.replace(self.results_file, self.submission_file)
            logger.info(
                "No annotations, so no AP here. To submit it to COCO's server, zip "
                f"{self.submission_file}"
            )
        return results
