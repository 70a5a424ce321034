"""A run that was killed, at whatever moment, ends as one that was not."""

import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.engine import DefaultTrainer
from detectron2.utils.env import seed_all_rng

from processes import run_workers
from sad.errors import RESUME_EXIT_CODE, UserError
from sad.resume import check_same_run, rng_state, set_rng_state
from sad.trainer import SADTrainer
from toy import TRAIN_NET

# Checkpoints, evaluations and written metrics fall on other iterations each.
PERIODS = ("SOLVER.MAX_ITER", 50, "SOLVER.CHECKPOINT_PERIOD", 7, "TEST.EVAL_PERIOD", 15)
WALL_CLOCK = {"time", "data_time", "rank_data_time", "eta_seconds"}


def train(cfg) -> None:
    """To the end, from wherever it was."""
    os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
    seed_all_rng(cfg.SEED)
    trainer = SADTrainer(cfg)
    trainer.resume_or_load(resume=True)
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


@pytest.fixture(scope="module")
def unbroken(toy, tmp_path_factory):
    """(result, seconds) of the run that nothing interrupts."""
    output = tmp_path_factory.mktemp("unbroken") / "run"
    begin = time.monotonic()
    process = start(toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS))
    process.join()
    assert process.exitcode == 0
    return result(output), time.monotonic() - begin


# --- kill -9 ------------------------------------------------------------------------------------


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


def check_killed(toy, unbroken, output: Path, moments: list, *opts) -> int:
    """Kill a run at each of the moments, let it end; how often it was killed."""
    expected, seconds = unbroken
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS, *opts)
    killed = sum(kill(start(cfg), output, moment, seconds) for moment in moments)
    process = start(cfg)
    process.join()
    assert process.exitcode == 0
    found = result(output)
    if cfg.DATALOADER.NUM_WORKERS:
        # The mapper seeds numpy for each sample, in this process or in the loader's.
        (worker,), (other,) = (r["trainer"]["_trainer"]["workers"] for r in (found, expected))
        worker["rng"]["numpy"] = other["rng"]["numpy"]
    assert_same(found, expected)
    return killed


def test_killed_in_a_step_a_checkpoint_and_an_evaluation(toy, unbroken, tmp_path):
    moments = [stepping, writing_a_checkpoint, evaluating]
    assert check_killed(toy, unbroken, tmp_path / "run", moments) >= 2


@pytest.mark.slow
def test_two_workers_go_on(toy, tmp_path):
    """From a checkpoint in the midst, with what each of them has of its own."""
    unbroken, resumed = tmp_path / "unbroken", tmp_path / "resumed"
    for output in (unbroken, resumed):
        if output is resumed:
            shutil.copytree(unbroken, resumed)
            (resumed / "last_checkpoint").write_text("model_0000013.pth")
            (resumed / "model_final.pth").unlink()
        cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS, "SOLVER.MAX_ITER", 30)
        run_workers(train, cfg)
    state = torch.load(unbroken / "model_final.pth", weights_only=True)["trainer"]["_trainer"]
    one, other = state["workers"]
    assert one["loss_normalizer"] != other["loss_normalizer"]
    assert_same(result(resumed), result(unbroken))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_twenty_moments(toy, unbroken, tmp_path, workers):
    """In runs of ten kills at random times, and ten within what takes the shortest."""
    rng = random.Random(workers)
    _, seconds = unbroken
    moments = [rng.uniform(0, seconds) for _ in range(10)]
    moments += [stepping, writing_a_checkpoint, evaluating] * 3 + [0.0]
    rng.shuffle(moments)
    killed = 0
    for part in range(4):
        output = tmp_path / f"run{part}"
        opts = ("DATALOADER.NUM_WORKERS", workers)
        killed += check_killed(toy, unbroken, output, moments[part::4], *opts)
    assert killed >= 15  # the others came after the end


# --- SIGTERM ------------------------------------------------------------------------------------


def test_preempted(toy, unbroken, tmp_path):
    """A checkpoint between the periods, an exit code of its own, and the same end."""
    output = tmp_path / "run"
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS)
    process = start(cfg)
    while not stepping(output):
        time.sleep(0.001)
    before = (output / "last_checkpoint").read_text()
    process.terminate()
    process.join()
    assert process.exitcode == RESUME_EXIT_CODE
    name = (output / "last_checkpoint").read_text()
    assert name > before and (int(name[6:13]) + 1) % 7
    process = start(cfg)
    process.join()
    (output / name).unlink()  # the only file that the unbroken run has not
    assert_same(result(output), unbroken[0])


@pytest.mark.slow
@pytest.mark.parametrize("num_gpus", [1, 2])
def test_preempted_by_a_scheduler(toy, tmp_path, num_gpus):
    """Through the command, with the signal to every process: loader workers live on until told."""
    output = tmp_path / "run"
    command = [sys.executable, TRAIN_NET, "--config-file", toy.path("SAD.yaml"), "--resume",
               "--num-gpus", num_gpus, "OUTPUT_DIR", output, "DATALOADER.NUM_WORKERS", 2,
               "SOLVER.MAX_ITER", 100000, "SOLVER.CHECKPOINT_PERIOD", 5]  # fmt: skip
    process = subprocess.Popen(
        list(map(str, command)), start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    while not (output / "last_checkpoint").exists():
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == RESUME_EXIT_CODE, stderr
    assert "Traceback" not in stderr and "SIGTERM" in (output / "log.txt").read_text()
    last = output / (output / "last_checkpoint").read_text()
    state = torch.load(last, weights_only=True)["trainer"]
    assert len(state["_trainer"]["workers"]) == num_gpus
    assert state["iteration"] == int(last.stem.split("_")[1])


# --- broken checkpoints, full disks -------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_broken_checkpoint_is_named_and_the_one_before_it_used(
    toy, unbroken, tmp_path, damage, caplog
):
    output = tmp_path / "run"
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS)
    last, tag = output / "model_0000020.pth", output / "last_checkpoint"
    kill(start(cfg), output, lambda _: tag.exists() and tag.read_text() == last.name, unbroken[1])
    content = last.read_bytes()
    last.unlink()
    if damage != "gone":
        last.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    train(cfg)
    named = [record.getMessage() for record in caplog.records if str(last) in record.getMessage()]
    assert any("trying the checkpoint before it" in message for message in named)
    assert_same(result(output), unbroken[0])


def test_all_checkpoints_broken(toy, tmp_path):
    for name in ("model_0000006.pth", "model_0000013.pth"):
        (tmp_path / name).write_bytes(b"cut short")
    (tmp_path / "last_checkpoint").write_text("model_0000013.pth")
    trainer = SADTrainer(toy.cfg("SAD.yaml", "OUTPUT_DIR", str(tmp_path), *PERIODS))
    with pytest.raises(UserError, match=r"0000013.pth .*, and no checkpoint before it can"):
        trainer.resume_or_load(resume=True)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB, on which a toy checkpoint of 0.6 MB fits three times."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk(toy, unbroken, tmp_path, small_disk):
    output = small_disk / "run"
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS)
    with pytest.raises(UserError, match=f"{output}/model_.*No space left.*--resume"):
        train(cfg)
    last = output / (output / "last_checkpoint").read_text()
    assert torch.load(last, weights_only=True)["trainer"]["iteration"] >= 6
    assert not list(output.glob(".*"))
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    train(cfg)
    assert_same(result(output), unbroken[0])


@pytest.mark.slow
def test_full_disk_through_the_command(toy, small_disk):
    """One sentence, also where log and metrics cannot be written any more."""
    (small_disk / "ballast").write_bytes(bytes(2**20))
    command = [sys.executable, TRAIN_NET, "--config-file", toy.path("SAD.yaml"), "--resume",
               "OUTPUT_DIR", small_disk / "run", *PERIODS]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 2
    assert "No space left" in done.stderr and "Traceback" not in done.stderr + done.stdout
    assert done.stderr.count("error: ") == 1


# --- what a run goes on with --------------------------------------------------------------------


def test_random_numbers_go_on(tmp_path):
    """Through a file that is read without running code."""
    seed_all_rng(3)
    torch.save(rng_state(), tmp_path / "rng.pth")

    def draw():
        return random.random(), np.random.rand(), torch.rand(2).tolist()

    drawn = draw()
    assert draw() != drawn
    set_rng_state(torch.load(tmp_path / "rng.pth", weights_only=True))
    assert draw() == drawn


RUN = {"settings": {"SOLVER.BASE_LR": 0.2, "SOLVER.MAX_ITER": 50}, "images": [6, 6],
       "teacher": "ab12", "world_size": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"settings": {"SOLVER.MAX_ITER": 50}}, "SOLVER.BASE_LR 0.2 before, None now"),
        (
            {"settings": {**RUN["settings"], "SAD.DISTILL.LOSS": "kl"}},
            "SAD.DISTILL.LOSS None before, kl now",
        ),
        ({"images": [6, 5]}, r"the images \[6, 6\] before, \[6, 5\] now"),
        ({"teacher": "cd34"}, "the teacher ab12 before, cd34 now"),
    ],
)
def test_another_experiment_is_refused(changed, named):
    with pytest.raises(UserError, match=f"--resume .* differs: {named} .*OUTPUT_DIR"):
        check_same_run(RUN, {**RUN, **changed})


def test_longer_runs_and_other_machines_are_warned_of(log):
    check_same_run(RUN, RUN)
    assert log == []
    check_same_run(RUN, {**RUN, "settings": {**RUN["settings"], "SOLVER.MAX_ITER": 60}})
    check_same_run(RUN, {**RUN, "world_size": 4})
    assert log == [
        "Going on with another SOLVER.MAX_ITER: 50 before, 60 now",
        "Going on with another number of workers: 2 before, 4 now",
    ]


def test_a_run_of_detectron2(toy, tmp_path):
    """Its training state lacks what is needed here."""
    cfg = toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", 1)
    stock = DefaultTrainer(cfg)
    stock.checkpointer.save("model_0000000")
    trainer = SADTrainer(cfg)
    with pytest.raises(UserError, match=f"{tmp_path} holds the run of another trainer.*WEIGHTS"):
        trainer.resume_or_load(resume=True)


def test_old_checkpoints_are_removed(toy, tmp_path):
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(tmp_path), *PERIODS,
                  "SOLVER.MAX_ITER", 30, "SOLVER.CHECKPOINTS_TO_KEEP", 2)  # fmt: skip
    (tmp_path / ".model_0000006.pth.x1y2").write_bytes(b"what a killed run was writing")
    train(cfg)
    names = ["model_0000020.pth", "model_0000027.pth", "model_best.pth", "model_final.pth"]
    assert sorted(path.name for path in tmp_path.glob("*model*")) == names
