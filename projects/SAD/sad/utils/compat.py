"""What is called of Detectron2 and torch that they do not promise to keep, each with its reason.

What classes of this project override of theirs is tested beside it.
"""

import os
from importlib.util import find_spec
from shutil import which
from types import SimpleNamespace

from detectron2.evaluation import COCOEvaluator

# The box loss of dense detectors; RetinaNet and FCOS call it from the middle of their `losses`,
# which find the number to divide by on their own.
from detectron2.modeling.box_regression import (
    _dense_box_regression_loss as dense_box_regression_loss,  # noqa: F401
)
from detectron2.utils.events import CommonMetricPrinter

# What torch's own spawned processes call to end with their parent; they end by SIGINT, which ranks
# ignore.
from torch.multiprocessing import _prctl_pr_set_pdeathsig as end_with_parent  # noqa: F401


def derive_box_results(found, class_names: list[str], logger) -> dict[str, float]:
    """AP, its kinds and that of each class, in percent, as COCOEvaluator says and logs them.

    It is a method of an evaluator that reads its json by other rules than training does.

    Args:
        found: pycocotools' COCOeval after `summarize`; None where there are no detections.
    """
    evaluator = SimpleNamespace(_logger=logger)
    return COCOEvaluator._derive_coco_results(evaluator, found, "bbox", class_names=class_names)


def last_write(writer) -> int:
    """The iteration that a JSONWriter or TensorboardXWriter has come to, which it tells nobody."""
    return writer._last_write


def set_last_write(writer, iteration: int) -> None:
    """Without it a resumed run's writers begin with what is written already."""
    writer._last_write = iteration


def set_max_iter(writers: list, max_iter: int) -> None:
    """Let the ETA be that of a run that ends at another iteration than it was to."""
    for writer in writers:
        if isinstance(writer, CommonMetricPrinter):
            writer._max_iter = max_iter


def has_triton() -> bool:
    """Whether torch.compile finds what it needs for a GPU: Triton, and a C compiler."""
    compilers = os.environ.get("CC"), "gcc", "clang"
    return find_spec("triton") is not None and any(which(name) for name in compilers if name)
