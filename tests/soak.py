"""Memory and open files of training, its loader's workers and labelling, over many iterations, and
the files of kept answers.

    python tests/soak.py --iterations 2000

Prints them every 100 iterations and fails where they rise over the last three quarters by more than
MAX_MB or MAX_FILES. Toy size: what leaks by the iteration shows all the same.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

os.environ["PYTORCH_JIT"] = "0"  # as in conftest.py
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import toy as toy_problem
from sad.engine.trainer import SADTrainer
from sad.modeling.build import load_detector
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.runner import label_shards, plan_shards

# Of the line fitted through the last three quarters, from its start to its end. Detectron2 keeps
# every value it logs, about 2 kB an iteration; files that samples are handed over in come and go.
MAX_MB, MAX_FILES = 10, 8


class Watch:
    """Reads memory and files of this process and its children every so many forward passes."""

    COLUMNS = ("MB", "files", "workers' MB", "workers' files", "files kept")

    def __init__(self, model: torch.nn.Module, every: int, folder: Path | None = None):
        """
        Args:
            folder: of what is kept on disk.
        """
        self.every, self.iterations, self.rows, self.folder = every, 0, [], folder
        model.register_forward_pre_hook(self._step)

    def _step(self, *_):
        self.iterations += 1
        if self.iterations % self.every == 0:
            workers = [child.pid for child in multiprocessing.active_children()]
            usage = [sum(kind(pid) for pid in workers) for kind in (resident, open_files)]
            row = [resident(os.getpid()), open_files(os.getpid()), *usage]
            kept = len(list(self.folder.rglob("*"))) if self.folder else 0
            self.rows.append([self.iterations, *row, kept])
            print("{:6d} {:8.1f} {:5d} {:8.1f} {:5d} {:5d}".format(*self.rows[-1]), flush=True)

    def rises(self) -> dict[str, float]:
        """By how much each column rises over the last three quarters."""
        rows = np.array(self.rows[len(self.rows) // 4 :], float)
        fitted = np.polyfit(rows[:, 0], rows[:, 1:], 1)[0] * (rows[-1, 0] - rows[0, 0])
        return dict(zip(self.COLUMNS, fitted.round(2).tolist(), strict=True))


def resident(pid: int) -> float:
    """MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def soak_training(
    toy, output: Path, iterations: int, every: int, *opts, folder: Path | None = None
) -> dict[str, float]:
    """SAD with teacher, mixed loader, checkpoints and one evaluation."""
    options = ("OUTPUT_DIR", str(output), "SOLVER.MAX_ITER", iterations)
    options += ("SOLVER.BASE_LR", 1e-4, "DATALOADER.NUM_WORKERS", 2)
    output.mkdir()
    trainer = SADTrainer(toy.cfg("SAD.yaml", *options, *opts))
    trainer.resume_or_load(False)
    watch = Watch(trainer.model, every, folder)
    trainer.train()
    return watch.rises()


def soak_kept_answers(toy, output: Path, iterations: int, every: int) -> dict[str, float]:
    """The same, with the teacher's answers on disk: nearly all of them are read."""
    folder = output / "answers"
    opts = ("SAD.TEACHER.CACHE.DIR", str(folder))
    return soak_training(toy, output, iterations, every, *opts, folder=folder)


def soak_labelling(toy, output: Path, iterations: int, every: int) -> dict[str, float]:
    """Batches of one image, a shard every few batches."""
    output.mkdir()
    content = toy.json("image_info.json")
    entries = content["images"]
    images = [{**entries[n % len(entries)], "id": n} for n in range(iterations)]
    (output / "info.json").write_text(json.dumps({**content, "images": images}))
    job = prepare(
        toy.path("teacher.yaml"),
        toy.path("teacher.pth"),
        toy.path("unlabeled"),
        str(output / "hard.json"),
        image_json=str(output / "info.json"),
        target_mean=2,
        batch_size=1,
        opts=["DATALOADER.NUM_WORKERS", "2"],
    )
    model, cfg = load_detector(job.config_file, job.weights, "cpu", job.opts)
    watch = Watch(model.backbone, every)
    label_shards(model, cfg, job, plan_shards(model, cfg, job))
    return watch.rises()


def soak(folder: Path, iterations: int, every: int) -> dict[str, dict[str, float]]:
    """{what: {column: its rise over the last three quarters}}"""
    (folder / "toy").mkdir()
    toy = toy_problem.build(folder / "toy")
    rises = {}
    for what, run in (
        ("training", soak_training),
        ("training with kept answers", soak_kept_answers),
        ("labelling", soak_labelling),
    ):
        print(f"{what}: iterations, {', '.join(Watch.COLUMNS)}", flush=True)
        rises[what] = run(toy, folder / what, iterations, every)
        print(f"rise over the last three quarters: {rises[what]}", flush=True)
    return rises


def too_much(rises: dict[str, dict[str, float]]) -> list[str]:
    """A sentence for whatever rises beyond its bound."""
    return [
        f"{what}: {column} rise by {rise}"
        for what, columns in rises.items()
        for column, rise in columns.items()
        if rise > (MAX_MB if column.endswith("MB") else MAX_FILES)
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=2000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = too_much(soak(Path(folder), args.iterations, every=100))
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
