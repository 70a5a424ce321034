"""Finished runs of train_net.py, as a report needs them."""

import logging
import math
import os
from dataclasses import dataclass
from functools import cached_property

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..config.load import get_sad_cfg
from ..data.datasets import nearest_set, register_from_config
from ..evaluation.bootstrap import read_results
from ..evaluation.coco_evaluator import class_names, evaluate_boxes, read_truth
from ..evaluation.metrics_file import METRICS, read_metrics
from ..evaluation.weights_record import DETECTIONS, check_weights, detections_folder
from ..utils.compat import derive_box_results
from ..utils.errors import UserError

logger = logging.getLogger(__name__)

WEIGHTS = "model_final.pth"
SAME_AP = 0.01  # points that two ways of computing one AP may differ by


@dataclass
class Run:
    """A directory that train_net.py has left behind, and the name it has in the report.

    Attributes:
        weights: the file of the directory whose figures these are. A detector that was only
            evaluated there, on `test_set`, has those of its MODEL.WEIGHTS.
        test_set: the set that it was tested on. Where none is given it is the only one of
            DATASETS.TEST, and the figures are those after the last iteration. Figures on a set that
            is given are found from the detections that an evaluation has left in the directory.
    """

    name: str
    directory: str
    weights: str = WEIGHTS
    test_set: str = ""

    def __post_init__(self):
        self._check_file("config.yaml")
        self.cfg = get_sad_cfg(self.path("config.yaml"))
        if self.test_set and self.weights == WEIGHTS and not os.path.exists(self.path(WEIGHTS)):
            self.weights = os.path.abspath(self.cfg.MODEL.WEIGHTS)  # evaluated here alone
        self._check_file(self.weights)
        if not self.test_set:
            self._check_file("metrics.json")
        metrics = self.path("metrics.json")
        self.metrics = read_metrics(metrics) if os.path.exists(metrics) else []
        self.is_evaluated_again = bool(self.test_set)
        if self.test_set:
            return
        if len(self.cfg.DATASETS.TEST) != 1:
            raise UserError(
                f"run {self.name!r}: DATASETS.TEST is {tuple(self.cfg.DATASETS.TEST)}, a report is "
                "on one set: name it with --test-set"
            )
        if not self.metrics or "bbox/AP" not in self.metrics[-1]:
            raise UserError(
                f"run {self.name!r}: {self.path('metrics.json')} does not end with bbox/AP, so the "
                "model was not evaluated after training; train_net.py --resume does it"
            )
        self.test_set = self.cfg.DATASETS.TEST[0]

    def _check_file(self, file: str) -> None:
        if not os.path.isfile(self.path(file)):
            raise UserError(
                f"run {self.name!r}: {self.path(file)} does not exist, so this is no finished run "
                "of train_net.py; let it end (train_net.py --resume) or name another"
            )

    def path(self, file: str) -> str:
        return os.path.join(self.directory, file)

    @property
    def detections_file(self) -> str:
        """What the last evaluation on the test set has found; it may be absent."""
        folder = detections_folder(self.directory, self.test_set)
        return os.path.join(folder, DETECTIONS)

    def require_detections(self) -> None:
        """
        Raises:
            UserError: they are absent.
        """
        if not os.path.isfile(self.detections_file):
            raise UserError(f"{self.detections_file} does not exist")

    def check_same_ap(self, ap: float) -> None:
        """
        Args:
            ap: of the detections in the directory, in percent.
        Raises:
            UserError: the run's own is another, so that the detections are of other weights.
        """
        if abs(ap - self.accuracy["AP"]) > SAME_AP:
            raise UserError(
                f"the detections in {self.detections_file} have AP {ap:.2f}, those of "
                f"{self.weights} had {self.accuracy['AP']:.2f}"
            )

    @cached_property
    def results(self) -> dict[str, float]:
        """COCO's numbers in percent: AP, its kinds and AP-<class>; NaN where there is no object.

        Raises:
            UserError: detections on a set that was given are absent, or of other weights or images.
        """
        if not self.is_evaluated_again:
            return {
                key.removeprefix("bbox/"): value
                for key, value in self.metrics[-1].items()
                if key.startswith("bbox/")
            }
        check_weights(os.path.dirname(self.detections_file), self.path(self.weights))
        truth = read_truth(MetadataCatalog.get(self.test_set).json_file)
        boxes = read_results(self.detections_file, truth)
        found = evaluate_boxes(truth, boxes) if boxes else None
        return derive_box_results(found, class_names(truth), logger)

    @property
    def accuracy(self) -> dict[str, float]:
        """AP, AP50 and AP75 in percent."""
        # Detectron2 says NaN where nothing was found.
        return {m: 0.0 if math.isnan(self.results[m]) else self.results[m] for m in METRICS}

    @property
    def class_accuracy(self) -> dict[str, float | None]:
        """AP of each class in percent; None where the test set has no object of it."""
        return {
            key.removeprefix("AP-"): None if math.isnan(value) else value
            for key, value in self.results.items()
            if key.startswith("AP-")
        }

    @property
    def size_accuracy(self) -> dict[str, float | None]:
        """AP by the objects' size in percent; None where the test set has none of it."""
        values = {"small": "APs", "medium": "APm", "large": "APl"}
        values = {size: self.results.get(key, math.nan) for size, key in values.items()}
        return {size: None if math.isnan(value) else value for size, value in values.items()}

    @cached_property
    def minutes(self) -> float:
        """How long the iterations took, evaluations and what a resume did again left out."""
        seconds, done = 0.0, 0
        for line in self.metrics:
            if "time" in line:  # the median of the iterations since the last one
                seconds += line["time"] * (line["iteration"] + 1 - done)
                done = line["iteration"] + 1
        return seconds / 60

    def figures(self) -> dict:
        """The run's entry of report.json, without its costs."""
        return {
            "name": self.name,
            "directory": self.directory,
            "weights": self.weights,
            **self.accuracy,
            "class_AP": self.class_accuracy,
            "AP_by_size": self.size_accuracy,
            "minutes": self.minutes,
        }

    def curve(self, *keys: str) -> tuple[list[int], list[float]]:
        """(iterations done, values) of one entry of metrics.json: the first key that is there."""
        key = next((key for key in keys if any(key in m for m in self.metrics)), keys[0])
        # After training the iteration is the number of those done, before that one less.
        last = self.metrics[-1]["iteration"] if self.metrics else 0
        points = [(min(m["iteration"] + 1, last), m[key]) for m in self.metrics if key in m]
        return [x for x, _ in points], [y for _, y in points]

    def accuracy_curve(self) -> tuple[list[int], list[float]]:
        """AP while training, on the first of DATASETS.TEST."""
        first = next(iter(self.cfg.DATASETS.TEST), "")
        return self.curve("bbox/AP", f"{first}/bbox/AP")


def read_runs(
    pairs: list[tuple[str, str]], *, weights: str = WEIGHTS, test_set: str = ""
) -> list[Run]:
    """The runs of (name, directory) pairs, their data sets registered.

    Args:
        weights, test_set: see `Run`; of all of them.
    Raises:
        UserError: a run is missing or unfinished, or has the name of another, or not all are tested
            on the same set; or other weights than the last ones are without a set of which there
            are detections.
    """
    if len({name for name, _ in pairs}) < len(pairs):
        raise UserError("two runs have one name: give each --run a NAME of its own")
    if weights != WEIGHTS and not test_set:
        raise UserError(
            f"--weights {weights} needs --test-set: metrics.json ends with the figures of {WEIGHTS}"
        )
    runs = [Run(name, directory, weights, test_set) for name, directory in pairs]
    for run in runs:
        register_from_config(run.cfg)
        if run.test_set not in DatasetCatalog:
            raise UserError(
                f"run {run.name!r}: test set {run.test_set!r} is no registered data set: "
                f"{nearest_set(run.test_set)}"
            )
        if run.test_set != runs[0].test_set:
            raise UserError(
                f"run {run.name!r} was tested on {run.test_set} and {runs[0].name!r} on "
                f"{runs[0].test_set}: their APs do not compare"
            )
    return runs
