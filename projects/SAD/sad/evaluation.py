"""COCO's evaluation of boxes; a set without annotations ends in a file for COCO's server."""

import logging
import os
from pathlib import Path

from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm

logger = logging.getLogger(__name__)


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

    def evaluate(self, img_ids=None):
        results = super().evaluate(img_ids)
        if comm.is_main_process() and not results and os.path.exists(self.results_file):
            os.replace(self.results_file, self.submission_file)
            logger.info(
                "No annotations, so no AP here. To submit it to COCO's server, zip "
                f"{self.submission_file}"
            )
        return results
