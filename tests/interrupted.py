"""Runs of the toy problem that are killed and go on, and all that must not depend on it."""

import json
import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path

import torch
from detectron2.utils.env import seed_all_rng

from sad.engine.trainer import SADTrainer

WALL_CLOCK = {"time", "cpu_time", "data_time", "rank_data_time", "eta_seconds"}


def train(cfg, resume=True, hooks=()) -> None:
    """To the end, from wherever it was."""
    os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
    seed_all_rng(cfg.SEED)
    trainer = SADTrainer(cfg)
    trainer.register_hooks(hooks)
    trainer.resume_or_load(resume)
    trainer.train()


def start(cfg) -> multiprocessing.Process:
    """`train` in a process forked from this one, which need not import anything."""

    def quietly():
        logging.disable()
        train(cfg)

    process = multiprocessing.get_context("fork").Process(target=quietly)
    process.start()
    return process


def result(output: Path) -> dict:
    """All that must not depend on interruptions."""
    final = torch.load(output / "model_final.pth", weights_only=True)
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    metrics = [{k: x for k, x in line.items() if k not in WALL_CLOCK} for line in lines]
    trainer = final["trainer"]
    storage = trainer["hooks"].pop("MetricsHistory")
    storage["scalars"] = [entry for entry in storage["scalars"] if entry[0] not in WALL_CLOCK]
    del storage["size"]  # the wall clock's digits
    best = torch.load(output / "model_best.pth", weights_only=True)
    return {
        **{"model": final["model"], "trainer": trainer, "storage": storage, "best": best},
        **{"metrics": metrics, "files": sorted({path.name for path in output.glob("*.pth*")})},
    }


def assert_same(one, other, path="result"):
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert list(one) == list(other), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{path}[{i}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other or one != one and other != other, f"{path}: {one} and {other}"


def writing_a_checkpoint(output: Path) -> bool:
    return any(output.glob(".model_*.pth.*"))


def evaluating(output: Path) -> bool:
    """Its results are written before they are compared with the annotations."""
    found = output / "inference" / "toy_labeled" / "coco_instances_results.json"
    return found.exists() and time.time() - found.stat().st_mtime < 0.2


def stepping(output: Path) -> bool:
    last = output / "last_checkpoint"
    return last.exists() and 0.03 < time.time() - last.stat().st_mtime < 0.2


def kill(process, output: Path, moment, seconds: float) -> bool:
    """Kill it at a moment: a condition, or a time. False where it had ended before."""
    begin = time.monotonic()
    while process.is_alive():
        elapsed = time.monotonic() - begin
        if elapsed >= moment if isinstance(moment, float) else moment(output):
            process.kill()
            break
        assert elapsed < 60 + 10 * seconds
        time.sleep(0.001)
    process.join()
    return process.exitcode == -signal.SIGKILL
