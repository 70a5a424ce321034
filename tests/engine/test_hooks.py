"""A run that was killed, at whatever moment, ends as one that was not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from detectron2.engine import DefaultTrainer

from interrupted import (
    assert_same,
    evaluating,
    kill,
    result,
    start,
    stepping,
    train,
    writing_a_checkpoint,
)
from processes import run_ranks
from sad.checkpoint.checkpointer import SADCheckpointer
from sad.data import checks as set_checks
from sad.engine.trainer import SADTrainer
from sad.utils.errors import RESUME_EXIT_CODE, STOPPED, UserError
from toy import TRAIN_NET, run_train_net

# Checkpoints, evaluations and written metrics fall on other iterations each.
PERIODS = ("SOLVER.MAX_ITER", 50, "SOLVER.CHECKPOINT_PERIOD", 7, "TEST.EVAL_PERIOD", 15)


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
        (own,), (other,) = (r["trainer"]["_trainer"]["ranks"] for r in (found, expected))
        own["rng"]["numpy"] = other["rng"]["numpy"]
    assert_same(found, expected)
    return killed


@pytest.mark.slow
def test_killed_in_a_step_a_checkpoint_and_an_evaluation(toy, unbroken, tmp_path):
    moments = [stepping, writing_a_checkpoint, evaluating]
    assert check_killed(toy, unbroken, tmp_path / "run", moments) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("resume", [True, False])
def test_killed_before_the_first_checkpoint(toy, tmp_path, log, resume):
    """What it has written to metrics.json is written again, and so is set aside."""
    output = tmp_path / "run"
    opts = ("SOLVER.MAX_ITER", 45, "SOLVER.CHECKPOINT_PERIOD", 1000, "DATASETS.TEST", ())
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *opts)
    metrics = output / "metrics.json"
    kept = [output / f"metrics.json.{number}" for number in (1, 2)]
    left = []
    for before in ([], kept[:1]):

        def is_written(_, before=before):
            begun = metrics.exists() and metrics.stat().st_size > 0
            return begun and all(path.exists() for path in before)

        assert kill(start(cfg), output, is_written, 60)
        left.append(metrics.read_text())
    train(cfg, resume)
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [19, 39, 44]
    assert [path.read_text() for path in kept] == left
    assert any(str(kept[1]) in message for message in log)
    assert len(list(output.glob("metrics.json*"))) == 3


@pytest.mark.slow
def test_trouble_in_an_evaluation_costs_no_iterations(toy, unbroken, tmp_path, monkeypatch):
    """An image that breaks after the start is named; once it is mended, the run goes on from the
    checkpoint before.
    """
    monkeypatch.setattr(set_checks, "check_every_image", lambda *_: None)
    images = tmp_path / "images"
    shutil.copytree(toy.root / "labeled", images)
    broken = images / "000003.png"
    content = broken.read_bytes()
    broken.write_bytes(content[:200])
    (tmp_path / "SAD.yaml").write_text(
        f"_BASE_: {toy.path('SAD.yaml')}\n"
        "DATASETS:\n  REGISTER:\n    toy_minival:\n"
        f"      JSON: {toy.root}/annotations/labeled.json\n      IMAGES: {images}\n"
        "  TEST: [toy_minival]\n"
    )
    output = tmp_path / "run"
    cfg = toy.cfg(str(tmp_path / "SAD.yaml"), "OUTPUT_DIR", str(output), *PERIODS)
    with pytest.raises(UserError, match=f"toy_minival: {broken} cannot be read .*mend it"):
        train(cfg)
    assert (output / "last_checkpoint").read_text() == "model_0000014.pth"
    broken.write_bytes(content)
    train(cfg)
    found, (expected, _) = result(output), unbroken
    found["trainer"]["run"] = expected["trainer"]["run"]  # which names the set
    assert_same(found, expected)


@pytest.mark.slow
def test_an_error_ends_the_command_although_readers_outlive_sigterm(toy, tmp_path):
    command = [sys.executable, TRAIN_NET, "--config-file", toy.path("SAD.yaml"),
               "OUTPUT_DIR", tmp_path / "run", "DATALOADER.NUM_WORKERS", 2,
               "SOLVER.BASE_LR", 1e30, "SOLVER.WARMUP_ITERS", 0]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "at iteration" in done.stderr


@pytest.mark.slow
def test_terms_with_layers_of_their_own_go_on(toy, tmp_path):
    terms = ("SAD.DISTILL.TERMS", ("class", "box", "feature"), "SAD.DISTILL.FEATURE.DECAY_TO", 0.5)
    unbroken, resumed = tmp_path / "unbroken", tmp_path / "resumed"
    for output in (unbroken, resumed):
        if output is resumed:
            shutil.copytree(unbroken, resumed)
            (resumed / "last_checkpoint").write_text("model_0000006.pth")
            (resumed / "model_final.pth").unlink()
        opts = ("OUTPUT_DIR", str(output), *PERIODS, "SOLVER.MAX_ITER", 17, *terms)
        train(toy.cfg("SAD.yaml", *opts))
    assert_same(result(resumed), result(unbroken))
    layers, again = (
        torch.load(output / "model_final.pth", weights_only=True)["terms"]
        for output in (unbroken, resumed)
    )
    assert len(layers) == 6  # weight and bias of three levels
    assert_same(again, layers)
    assert not any(key.startswith("terms") for key in result(resumed)["model"])


@pytest.mark.slow
def test_two_ranks_go_on(toy, tmp_path):
    """From a checkpoint in the midst, with what each of them has of its own."""
    unbroken, resumed = tmp_path / "unbroken", tmp_path / "resumed"
    for output in (unbroken, resumed):
        if output is resumed:
            shutil.copytree(unbroken, resumed)
            (resumed / "last_checkpoint").write_text("model_0000013.pth")
            (resumed / "model_final.pth").unlink()
        cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS, "SOLVER.MAX_ITER", 30)
        run_ranks(train, cfg)
    state = torch.load(unbroken / "model_final.pth", weights_only=True)["trainer"]["_trainer"]
    one, other = state["ranks"]
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
    assert killed >= 10  # the others came after the end


# --- SIGTERM and Ctrl-C -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_preempted(toy, unbroken, tmp_path, number):
    """A checkpoint between the periods, an exit code of its own, and the same end."""
    output = tmp_path / "run"
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS)
    process = start(cfg)
    while not (output / "last_checkpoint").exists():
        assert process.is_alive()
        time.sleep(0.001)
    before = (output / "last_checkpoint").read_text()
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == RESUME_EXIT_CODE
    name = (output / "last_checkpoint").read_text()
    assert name >= before and name != "model_final.pth"
    process = start(cfg)
    process.join()
    found, (expected, _) = result(output), unbroken
    found["files"] = sorted({*found["files"]} - {name} | {*expected["files"]} & {name})
    assert_same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("num_gpus", [1, 2])
def test_preempted_by_a_scheduler_or_a_terminal(toy, tmp_path, num_gpus, number):
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
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == RESUME_EXIT_CODE, stderr
    assert "Traceback" not in stderr and "SIGTERM or Ctrl-C" in (output / "log.txt").read_text()
    assert stderr.splitlines()[-1] == STOPPED
    last = output / (output / "last_checkpoint").read_text()
    state = torch.load(last, weights_only=True)["trainer"]
    assert len(state["_trainer"]["ranks"]) == num_gpus
    assert state["iteration"] == int(last.stem.split("_")[1])


# --- broken checkpoints, full disks -------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_broken_checkpoint_is_named_and_the_one_before_it_used(
    toy, unbroken, tmp_path, damage, caplog
):
    output = tmp_path / "run"
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS)
    last, tag = output / "model_0000020.pth", output / "last_checkpoint"
    is_written = lambda _: tag.exists() and tag.read_text() == last.name  # noqa: E731
    assert kill(start(cfg), output, is_written, unbroken[1])
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


@pytest.mark.slow
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
def test_read_only_disk(toy, small_disk, monkeypatch, capsys):
    """With the last good checkpoint on it."""
    output = small_disk / "run"
    train(toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *PERIODS, "SOLVER.MAX_ITER", 8))
    before = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    opts = ("OUTPUT_DIR", output, *PERIODS, "SOLVER.MAX_ITER", 16)
    with pytest.raises(SystemExit) as end:
        run_train_net(monkeypatch, "--config-file", toy.path("SAD.yaml"), "--resume", *opts)
    assert end.value.code == 2
    assert f"OUTPUT_DIR {output} cannot be written to (Read-only" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in output.iterdir()} == before


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


@pytest.mark.slow
def test_a_run_that_is_longer_already(toy, tmp_path):
    train(toy.cfg("SAD.yaml", "OUTPUT_DIR", str(tmp_path), *PERIODS, "SOLVER.MAX_ITER", 8))
    with pytest.raises(UserError, match=f"MAX_ITER is 5, the run in {tmp_path} has .* 8 iter"):
        train(toy.cfg("SAD.yaml", "OUTPUT_DIR", str(tmp_path), *PERIODS, "SOLVER.MAX_ITER", 5))


def test_a_run_of_detectron2(toy, tmp_path):
    """Its training state lacks what is needed here."""
    cfg = toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", 1)
    stock = DefaultTrainer(cfg)
    stock.checkpointer.save("model_0000000")
    trainer = SADTrainer(cfg)
    with pytest.raises(UserError, match=f"{tmp_path} holds the run of another trainer.*WEIGHTS"):
        trainer.resume_or_load(resume=True)


@pytest.mark.slow
def test_old_checkpoints_are_removed(toy, tmp_path):
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(tmp_path), *PERIODS,
                  "SOLVER.MAX_ITER", 30, "SOLVER.CHECKPOINTS_TO_KEEP", 2)  # fmt: skip
    (tmp_path / ".model_0000006.pth.x1y2").write_bytes(b"what a killed run was writing")
    train(cfg)
    names = ["model_0000020.pth", "model_0000027.pth", "model_best.pth", "model_final.pth"]
    assert sorted(path.name for path in tmp_path.glob("*model*")) == names
    # Back to an earlier one: those of the time after it neither count nor are they in the way.
    shutil.copy(tmp_path / "model_0000020.pth", tmp_path / "model_0000002.pth")
    model = torch.nn.Linear(1, 1)
    SADCheckpointer(model, str(tmp_path), keep=2).save("model_0000009")
    kept = ["model_0000002.pth", "model_0000009.pth", *names]
    assert sorted(path.name for path in tmp_path.glob("*model*")) == kept
