"""Experiments over configs and seeds: each one a run of train_net.py, with all that it depends on.

A config says by itself what it needs: its teacher is the yaml of SAD.TEACHER.CONFIG_FILE, trained
with the same seed, and its pseudo-labels are those of that teacher. Finished results are kept in a
json and reused as long as the settings they came from are the same.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from detectron2.data import MetadataCatalog

from ..config.defaults import distills
from ..config.identity import training_settings
from ..config.load import get_sad_cfg
from ..data.datasets import data_path
from ..evaluation.metrics_file import METRICS, read_metrics
from ..utils.arguments import between
from ..utils.errors import UserError
from ..utils.files import make_folder, sha256, write_json
from ..utils.folder_lock import alone_in, is_taken

PUNCTUATION = "(',)"  # of a tuple of one name


@dataclass(frozen=True)
class Experiment:
    """One run: configs/<benchmark>/<config>.yaml with a seed and KEY VALUE pairs."""

    benchmark: str
    config: str
    seed: int = 0
    opts: tuple = ()  # of this run alone
    shared_opts: tuple = ()  # of its teacher too, and of the labelling

    @property
    def name(self) -> str:
        """Its name in results: the config, then the last part of each key and its value."""
        opts = (*self.opts, *self.shared_opts)
        pairs = zip(opts[::2], opts[1::2], strict=True)
        named = (f"{key.split('.')[-1]}={str(value).strip(PUNCTUATION)}" for key, value in pairs)
        return " ".join([self.config, *named])

    @property
    def yaml(self) -> str:
        return f"configs/{self.benchmark}/{self.config}.yaml"

    @cached_property
    def cfg(self):
        return get_sad_cfg(self.yaml, [str(x) for x in (*self.shared_opts, *self.opts)])

    @property
    def teacher(self) -> "Experiment | None":
        """The run that its teacher comes from; None where it has none, or a downloaded one."""
        cfg = self.cfg
        taught = distills(cfg) and "://" not in cfg.SAD.TEACHER.WEIGHTS
        if not (taught or self.pseudo_label_set):
            return None
        file = Path(cfg.SAD.TEACHER.CONFIG_FILE)
        config = file.relative_to(f"configs/{self.benchmark}").with_suffix("")
        return replace(self, config=str(config), opts=())

    @property
    def pseudo_label_set(self) -> str | None:
        cfg = self.cfg
        if cfg.DATASETS.UNLABELED and "hard" in cfg.SAD.TARGETS.UNLABELED:
            return cfg.DATASETS.UNLABELED[0]
        return None

    def settings(self) -> dict:
        """What its result depends on besides the seed, the teacher's settings included."""
        chosen = training_settings(self.cfg)
        chosen.pop("SEED", None)
        if self.teacher:
            chosen["teacher"] = self.teacher.settings()
        elif distills(self.cfg):
            chosen["teacher"] = self.cfg.SAD.TEACHER.WEIGHTS
        return chosen

    @property
    def data(self) -> dict | None:
        """How scripts/make_digits.py made the benchmark's images, or the sha256 of the annotations;
        None where these are not on this machine.
        """
        path = Path(data_path(f"{self.benchmark}/digits.json"))
        if path.exists():
            return json.loads(path.read_text())
        sets = self.cfg.DATASETS
        files = {name: _annotations(name, sets.REGISTER) for name in (*sets.TRAIN, *sets.TEST)}
        there = all(file and os.path.exists(file) for file in files.values())
        return {name: sha256(file) for name, file in files.items()} if there else None

    @cached_property
    def digest(self) -> str:
        text = json.dumps(self.settings(), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _annotations(name: str, registered) -> str | None:
    """The json of a data set."""
    if name in registered:
        return data_path(registered[name].JSON)
    return MetadataCatalog.get(name).get("json_file")


@dataclass
class Lab:
    """Runs experiments below `output`, and keeps their results in the json `results`.

    Several commands may work below one folder, also at the same experiments: each takes what none
    of the others is at, and waits for them at the end.

    Args:
        root: the repository, where the commands are.
        jobs: runs at the same time; each gets its share of the cores.
        num_gpus: of each run.
    """

    root: Path
    output: Path
    results: Path
    unlabeled: str  # data set of the images without labels
    jobs: int = 2
    num_gpus: int = 1

    def run_all(self, experiments: list[Experiment]) -> dict[Experiment, dict]:
        """The result of each: AP, AP50, AP75 in percent and seconds_per_iteration.

        A distilled student's holds its teacher's AP too, as teacher_AP: a teacher that is trained
        again, on another machine, is another one.

        Raises:
            UserError: a run failed; those under way come to their end, no other is begun.
        """
        stopped = threading.Event()

        def run(experiment):
            if stopped.is_set():
                return None
            try:
                return self.result(experiment)
            except BaseException:
                stopped.set()
                raise

        def run_unless_under_way(experiment):
            if not is_taken(self.directory(experiment)):
                run(experiment)

        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                list(pool.map(run_unless_under_way, experiments))
                return dict(zip(experiments, pool.map(run, experiments), strict=True))
            finally:
                stopped.set()  # at Ctrl-C, too

    def known(self) -> dict:
        """The results file: name -> seed -> result."""
        try:
            return json.loads(self.results.read_text()) if self.results.exists() else {}
        except json.JSONDecodeError as error:
            raise UserError(
                f"results {self.results} are no json ({error}): restore them"
            ) from error

    def find(self, experiment: Experiment) -> dict | None:
        """The result of this seed, these settings and, where they are known, these images.

        Whatever the name it was kept under: two configs may say the same.
        """
        for by_seed in self.known().values():
            entry = by_seed.get(str(experiment.seed))
            if entry and entry["digest"] == experiment.digest:
                if experiment.data in (None, entry.get("data")):
                    return entry
        return None

    def result(self, experiment: Experiment) -> dict:
        found = self.find(experiment)
        if found:
            return found
        metrics = read_metrics(str(self.train(experiment) / "metrics.json"))
        result = {
            **{metric: metrics[-1][f"bbox/{metric}"] for metric in METRICS},
            "seconds_per_iteration": statistics.median(m["time"] for m in metrics if "time" in m),
            "digest": experiment.digest,
            "data": experiment.data,
        }
        if experiment.teacher:
            of_teacher = read_metrics(str(self.train(experiment.teacher) / "metrics.json"))
            result["teacher_AP"] = of_teacher[-1]["bbox/AP"]
        with alone_in(self.results.parent):
            known = self.known()
            known.setdefault(experiment.name, {})[str(experiment.seed)] = result
            write_json(str(self.results), known, indent=1, sort_keys=True)
        return result

    def train(self, experiment: Experiment) -> Path:
        """The directory of the finished run, which is done now or was before."""
        run = self.directory(experiment)
        with alone_in(run) as lock:
            if self._finished(run):
                return run
            options = ["SEED", experiment.seed, "OUTPUT_DIR", run]
            if teacher := experiment.teacher:
                options += ["SAD.TEACHER.WEIGHTS", self.train(teacher) / "model_final.pth"]
            if name := experiment.pseudo_label_set:
                options += [f"DATASETS.REGISTER.{name}.JSON", self.label(teacher)]
            print(f"{experiment.name}, seed {experiment.seed}", flush=True)
            self._call(
                ["projects/SAD/train_net.py", "--resume", "--config-file", experiment.yaml,
                 "--num-gpus", self.num_gpus, *options, *experiment.shared_opts, *experiment.opts],
                run / "output.txt",
                lock,
            )  # fmt: skip
        return run

    def label(self, teacher: Experiment) -> Path:
        """The teacher's pseudo-labels."""
        run = self.train(teacher)
        weights, output = run / "model_final.pth", run / "pseudo_labels.json"
        with alone_in(run) as lock:
            if not output.exists():
                self._call(
                    ["scripts/label_unlabeled.py", "--config-file", teacher.yaml,
                     "--weights", weights, "--dataset", self.unlabeled, "--num-gpus", self.num_gpus,
                     "--labeled-dataset", teacher.cfg.DATASETS.TRAIN[0], "--output", output,
                     *teacher.shared_opts],
                    run / "label_output.txt",
                    lock,
                )  # fmt: skip
        return output

    def directory(self, experiment: Experiment) -> Path:
        # Other settings, or other images, are another run.
        made_from = json.dumps([experiment.digest, experiment.data], sort_keys=True)
        digest = hashlib.sha256(made_from.encode()).hexdigest()[:8]
        name = f"{experiment.name.replace(' ', '-')}-{digest}"
        return (self.output / experiment.benchmark / f"seed{experiment.seed}" / name).resolve()

    def _finished(self, run: Path) -> bool:
        if not (run / "model_final.pth").exists():
            return False
        return "bbox/AP" in read_metrics(str(run / "metrics.json"))[-1]

    def _call(self, command: list, log: Path, lock: int) -> None:
        threads = max(1, len(os.sched_getaffinity(0)) // (self.jobs * self.num_gpus))
        with open(log, "a") as file:
            done = subprocess.run(
                [sys.executable, *map(str, command)],
                cwd=self.root,
                env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"},
                stdout=file,
                stderr=file,
                pass_fds=[lock],  # a run that outlives this process keeps its folder
            )
        if done.returncode:
            raise UserError(f"{command[0]} failed, see {log}; the same command goes on from there")


def add_lab_arguments(parser: argparse.ArgumentParser, root: Path) -> None:
    """How and where a command runs experiments; `root` is the repository."""
    jobs = 1 if torch.cuda.is_available() else 2  # GPUs are not shared out
    parser.add_argument("--jobs", type=between(int, 1), default=jobs, help="runs at the same time")
    parser.add_argument("--no-run", action="store_true", help="write what is known, train nothing")
    for name, default, content in (
        ("--output", "output/reproduce", "runs"),
        ("--results", "docs/results", "numbers, used again"),
        ("--tables", "docs/tables", "tables and pictures"),
    ):
        parser.add_argument(
            name, type=lambda path: Path(path).resolve(), default=root / default, help=content
        )


def make_lab_folders(args) -> None:
    """
    Raises:
        UserError: one of the folders of `add_lab_arguments` cannot be written to.
    """
    for flag in ("results", "tables") if args.no_run else ("output", "results", "tables"):
        make_folder(getattr(args, flag), f"--{flag}")
