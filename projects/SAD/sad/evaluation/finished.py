"""What is kept of a finished evaluation: whose it is, and which of its detections to believe."""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress

from detectron2.data import MetadataCatalog

from ..utils.errors import UserError
from .bootstrap import read_results
from .coco_evaluator import read_truth
from .operating_point import OperatingPoint, best_f1
from .weights_record import DETECTIONS, check_weights, detections_folder, record_weights

logger = logging.getLogger(__name__)


def record_evaluation(output_dir: str, sets: Sequence[str], weights: str) -> None:
    """Note what weights the detections on these test sets are of, and their best threshold."""
    for name in sets:
        folder = detections_folder(output_dir, name)
        there = os.path.exists(os.path.join(folder, DETECTIONS))  # else it has no annotations
        try:
            best = best_point_in(folder, name) if there else None
        except UserError as error:  # the weights are trained, and their AP is known
            logger.warning(f"no best threshold is noted: {error}")
            best = None
        record_weights(folder, weights, best and best.threshold)


def recorded_threshold(weights: str, sets: Sequence[str]) -> float | None:
    """
    Args:
        weights: a file in the folder of a training or an evaluation.
        sets: that the folder may have detections on.
    Returns:
        the best threshold on the first set where it is known of these weights.
    """
    for name in sets:
        with suppress(UserError):
            threshold = check_weights(detections_folder(os.path.dirname(weights), name), weights)
            if threshold is not None:
                return threshold
    return None


def best_point_in(folder: str, name: str) -> OperatingPoint | None:
    """Of the detections on a set that an evaluation has left in a folder.

    Raises:
        UserError: they cannot be read.
    """
    # A set without a json was written as one by its evaluation.
    json_file = MetadataCatalog.get(name).get("json_file")
    truth = read_truth(json_file or os.path.join(folder, f"{name}_coco_format.json"))
    results = read_results(os.path.join(folder, DETECTIONS), truth)
    return best_f1(truth, results) if results else None
