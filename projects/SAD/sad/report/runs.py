"""Finished runs of train_net.py, as a report needs them."""

import os
from dataclasses import dataclass
from functools import cached_property

from ..config.load import get_sad_cfg
from ..data.datasets import register_from_config
from ..evaluation.metrics_file import METRICS, read_metrics
from ..utils.errors import UserError


@dataclass
class Run:
    """A directory that train_net.py has left behind, and the name it has in the report."""

    name: str
    directory: str

    def __post_init__(self):
        for file in ("config.yaml", "metrics.json", "model_final.pth"):
            if not os.path.isfile(self.path(file)):
                raise UserError(
                    f"run {self.name!r}: {self.path(file)} does not exist, so this is no finished "
                    "run of train_net.py; let it end (train_net.py --resume) or name another"
                )
        self.metrics = read_metrics(self.path("metrics.json"))
        if not self.metrics or "bbox/AP" not in self.metrics[-1]:
            raise UserError(
                f"run {self.name!r}: {self.path('metrics.json')} does not end with bbox/AP, so the "
                "model was not evaluated after training; train_net.py --resume does it"
            )
        self.cfg = get_sad_cfg(self.path("config.yaml"))
        if len(self.cfg.DATASETS.TEST) != 1:
            raise UserError(
                f"run {self.name!r}: DATASETS.TEST is {tuple(self.cfg.DATASETS.TEST)}, a report "
                "needs exactly one"
            )

    def path(self, file: str) -> str:
        return os.path.join(self.directory, file)

    @property
    def test_set(self) -> str:
        return self.cfg.DATASETS.TEST[0]

    @cached_property
    def accuracy(self) -> dict[str, float]:
        """AP, AP50 and AP75 in percent after the last iteration."""
        return {metric: self.metrics[-1][f"bbox/{metric}"] for metric in METRICS}

    def curve(self, *keys: str) -> tuple[list[int], list[float]]:
        """(iterations done, values) of one entry of metrics.json: the first key that is there."""
        key = next((key for key in keys if any(key in m for m in self.metrics)), keys[0])
        # After training the iteration is the number of those done, before that one less.
        last = self.metrics[-1]["iteration"]
        points = [(min(m["iteration"] + 1, last), m[key]) for m in self.metrics if key in m]
        return [x for x, _ in points], [y for _, y in points]


def read_runs(pairs: list[tuple[str, str]]) -> list[Run]:
    """The runs of (name, directory) pairs, their data sets registered.

    Raises:
        UserError: a run is missing or unfinished, or not all are tested on the same set.
    """
    runs = [Run(name, directory) for name, directory in pairs]
    for run in runs:
        register_from_config(run.cfg)
        if run.test_set != runs[0].test_set:
            raise UserError(
                f"run {run.name!r} was tested on {run.test_set} and {runs[0].name!r} on "
                f"{runs[0].test_set}: their APs do not compare"
            )
    return runs
