"""What a detector is worth on the validation set: Detectron2's own, or one in an exported file."""

import contextlib
import io
import logging
import tempfile
from typing import NamedTuple

from detectron2.evaluation import inference_on_dataset

from ..evaluation.coco_evaluator import BoxEvaluator
from ..evaluation.finished import best_point_in
from ..evaluation.loader import build_test_loader
from ..evaluation.operating_point import OperatingPoint
from ..utils.errors import UserError

METRICS = ("AP", "AP50", "AP75")


class Worth(NamedTuple):
    metrics: dict[str, float]  # AP, AP50 and AP75 in percent; 0 where nothing is found
    best: OperatingPoint | None

    @property
    def ap(self) -> float:
        return self.metrics["AP"]


def evaluate(detector, cfg, name: str) -> Worth:
    """COCO's numbers of a detector on a registered set, by the evaluator of the trainer.

    Args:
        detector: called as Detectron2 calls a model.
        cfg: says how images are read and resized.
    Raises:
        UserError: the set cannot be read, or has no boxes.
    """
    with tempfile.TemporaryDirectory() as folder:
        evaluator = BoxEvaluator(name, folder, "export")
        with contextlib.redirect_stdout(io.StringIO()):  # COCO's table
            found = inference_on_dataset(detector, build_test_loader(cfg, name), evaluator)
        if not found:
            raise UserError(f"data set {name} has no annotations, name one that has by --dataset")
        numbers = {key: found["bbox"][key] for key in METRICS}
        metrics = {key: value if value == value else 0.0 for key, value in numbers.items()}
        return Worth(metrics, best_point_in(folder, name))


def quiet() -> None:
    """Detectron2 logs every step of an evaluation; a command that does several says the result."""
    logging.getLogger("detectron2").setLevel(logging.WARNING)
