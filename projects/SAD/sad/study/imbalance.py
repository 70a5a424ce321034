"""Losses as anchors and classes grow: the arms, and the terms that each benchmark has."""

import json
from collections import Counter
from pathlib import Path

import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from ..config.load import get_sad_cfg
from ..data.datasets import register_from_config
from ..data.loader import build_mixed_loader
from ..losses.distillation import foreground_count
from ..modeling.teacher import build_teacher
from . import table_pictures, tables
from .experiments import Experiment, Lab
from .table_files import write_files

EASY = 0.01  # the prior that RetinaNet's class scores start from
BATCHES = 20


def experiments(spec: dict, benchmark: str) -> dict[tuple, Experiment]:
    """(arm, weight) -> experiment; the plain student has the weight None."""
    test = ("DATASETS.TEST", f"('{spec['benchmarks'][benchmark]}',)")
    found = {("student alone", None): Experiment(benchmark, spec["plain"], spec["seed"], test)}
    for arm, keys in spec["arms"].items():
        for weight in spec["weights"]:
            opts = [
                item
                for key, value in {**keys, "WEIGHT": weight}.items()
                for item in (f"SAD.DISTILL.CLASS.{key}", value)
            ]
            found[arm, weight] = Experiment(
                benchmark, spec["distilled"], spec["seed"], (*test, *opts)
            )
    return found


@torch.no_grad()
def count_terms(lab: Lab, experiment: Experiment) -> dict[str, float]:
    """Per image of the labelled set: terms of the loss, easy ones, and foreground anchors."""
    weights = lab.train(experiment.teacher) / "model_final.pth"
    cfg = get_sad_cfg(experiment.yaml, ["SAD.TEACHER.WEIGHTS", str(weights)])
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    register_from_config(cfg)
    student = build_model(cfg).train()
    student.attach_teacher(build_teacher(cfg)[0])
    terms = easy = foreground = images = 0
    for batch, _ in zip(build_mixed_loader(cfg), range(BATCHES), strict=False):
        with EventStorage():
            (prepared,) = student.prepare([batch])
        labels = prepared.targets.labels[prepared.soft]
        q = torch.cat(prepared.teacher.logits, dim=1)[labels >= 0].sigmoid()
        terms, easy = terms + q.numel(), easy + (q < EASY).sum().item()
        foreground += int(foreground_count(labels, student.student.num_classes))
        images += len(batch)
    return {
        "terms": terms / images,
        "easy": easy / images,
        "foreground": foreground / images,
        "easy_per_foreground": easy / foreground,
    }


class Imbalance:
    """The arms of configs/tables.yaml's `imbalance`, and the file of what is known of them."""

    def __init__(self, args, spec: dict, *, root: Path, command: str):
        """
        Args:
            args: of scripts/imbalance.py.
            spec: `imbalance` of `sad.study.tables.read_tables`.
            root: the repository.
            command: what the table says that it is made by.
        """
        self.command = command
        self.labs = {
            name: Lab(root, args.output, args.results / f"{name}_tune.json", "", args.jobs)
            for name in spec["benchmarks"]
        }
        self.wanted = {name: experiments(spec, name) for name in spec["benchmarks"]}
        self.path = args.tables / "imbalance.json"
        before = json.loads(self.path.read_text())["benchmarks"] if self.path.exists() else {}
        self.terms = {}
        for name in spec["benchmarks"]:
            terms = before.get(name, {}).get("terms")
            if terms and terms["digest"] == self.distilled(name).digest:
                self.terms[name] = terms

    def distilled(self, benchmark: str) -> Experiment:
        """One whose teacher and images the terms are counted with."""
        return next(e for (_, weight), e in self.wanted[benchmark].items() if weight)

    def run(self, benchmark: str) -> None:
        """What is not known yet; the terms first, so that every arm that is done can be drawn."""
        lab, distilled = self.labs[benchmark], self.distilled(benchmark)
        if benchmark not in self.terms:
            counted = count_terms(lab, distilled)
            self.terms[benchmark] = {"digest": distilled.digest, **counted}
            self.write()
        lab.run_all(list(self.wanted[benchmark].values()))

    def arms(self, benchmark: str) -> dict[str, dict]:
        """Arm -> weight -> AP, of the arms whose every weight is known: fewer are no search."""
        arms = {}
        for (arm, weight), experiment in self.wanted[benchmark].items():
            if result := self.labs[benchmark].find(experiment):
                arms.setdefault(arm, {})[weight] = result["AP"]
        tried = Counter(arm for arm, _ in self.wanted[benchmark])
        return {arm: found for arm, found in arms.items() if len(found) == tried[arm]}

    def write(self) -> str:
        """The markdown, which lies beside the json and the picture."""
        content = {
            "title": "Distillation losses as anchors and classes grow",
            "command": self.command,
            "benchmarks": {
                name: {"terms": self.terms.get(name), "arms": self.arms(name)}
                for name in self.wanted
            },
        }
        figure = table_pictures.imbalance_picture(content)
        return write_files(
            self.path.with_suffix(""), content, tables.imbalance_markdown(content), figure
        )
