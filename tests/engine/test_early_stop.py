"""What plateaus of the validation AP do to learning rate and end of a run, however often it is
interrupted.
"""

import math
import os
import shutil
import signal
from itertools import chain

import numpy as np
import pytest
import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage

import reference
from interrupted import assert_same, evaluating, kill, result, start, stepping
from interrupted import train as go_on
from processes import run_ranks
from recorded import history, make_trainer, train
from sad.engine.trainer import SADTrainer
from sad.evaluation.metrics_file import read_metrics
from sad.report.runs import Run
from sad.utils.errors import RESUME_EXIT_CODE, UserError
from toy import run_train_net

# A schedule of 40 iterations, whose learning rate drops at 28 and 36.
OPTIONS = ("SOLVER.MAX_ITER", 40, "TEST.EVAL_PERIOD", 2, "SOLVER.EARLY_STOP.PATIENCE")


@pytest.fixture
def curve(monkeypatch):
    """A function that sets the AP of the first, second, ... evaluation; the last one stays.

    It returns a list of the iterations at which they take place.
    """
    evaluate = SADTrainer.test.__func__

    def set_curve(values, real=False) -> list[int]:
        iterations = []

        def test(cls, cfg, model):
            results = evaluate(cls, cfg, model) if real else {"bbox": {}}
            iterations.append(get_event_storage().iter)
            if comm.is_main_process():
                number = (get_event_storage().iter + 1) // cfg.TEST.EVAL_PERIOD
                results["bbox"]["AP"] = values[min(number, len(values)) - 1]
            return results if comm.is_main_process() else {}

        monkeypatch.setattr(SADTrainer, "test", classmethod(test))
        return iterations

    return set_curve


def positions(*parts) -> list[int]:
    """Of [first, last] iterations of the schedule."""
    return list(chain.from_iterable(range(first, last + 1) for first, last in parts))


CONSTANT, CREEPING = [5.0], [5 + 0.5 * k for k in range(20)]
MIN_GAIN, WARMUP = "SOLVER.EARLY_STOP.MIN_GAIN", "SOLVER.WARMUP_ITERS"


@pytest.mark.parametrize(
    ("patience", "opts", "aps", "parts"),
    [
        (0, (), CONSTANT, [(0, 39)]),
        # The first evaluation is the best one, and the warm-up of 3 iterations does not count.
        (1, (), CONSTANT, [(0, 3), (28, 29), (36, 37)]),
        (3, (), CONSTANT, [(0, 7), (28, 33), (36, 39)]),
        (2, (WARMUP, 7), CONSTANT, [(0, 9), (28, 31), (36, 39)]),
        (2, ("SOLVER.LR_DROPS", ()), CONSTANT, [(0, 5)]),
        (2, (), CREEPING, [(0, 39)]),
        (2, (MIN_GAIN, 1.0), CREEPING, [(0, 5), (28, 33), (36, 39)]),
        # It counts anew after a drop that came in its time.
        (2, (), [*range(1, 14), 13], [(0, 31), (36, 39)]),
        # Nothing is found at first, and later nothing more that is worth it.
        (2, (), [0.0], [(0, 39)]),
        (2, (), [math.nan], [(0, 39)]),
        (2, (), [*[0.0] * 5, 5.0], [(0, 15), (28, 31), (36, 39)]),
        (2, (), [5.0, math.nan], [(0, 5), (28, 31), (36, 39)]),
        (2, (), [5.0, 4.0, 5.1, 5.1, 5.0], [(0, 9), (28, 31), (36, 39)]),
    ],
)
def test_learning_rates_of_a_curve(toy, tmp_path, curve, monkeypatch, patience, opts, aps, parts):
    """The steps themselves are left out here, as they do not change the curve."""
    curve(aps)
    monkeypatch.setattr(SADTrainer, "run_step", lambda self: None)
    cfg = toy.cfg("student.yaml", *OPTIONS, patience, *opts, "OUTPUT_DIR", str(tmp_path))
    trainer = make_trainer(cfg)
    trainer.train()
    warmup = opts[1] if WARMUP in opts else 3
    expected = [
        reference.learning_rate(i, base_lr=0.02, max_iter=40, warmup_iters=warmup)
        for i in positions(*parts)
    ]
    np.testing.assert_allclose(history(trainer, "lr"), expected, rtol=1e-9)


def test_an_early_end_leaves_what_a_full_run_leaves(toy, tmp_path, curve):
    """And its last weights are not evaluated twice."""
    evaluated = curve([5.0, 6.0, 5.5])
    output = tmp_path / "run"
    train(toy, output, "student.yaml", *OPTIONS, 1)  # 6 iterations, then 2 for each drop
    assert evaluated == [1, 3, 5, 7, 9]
    final = torch.load(output / "model_final.pth", weights_only=True)
    assert final["iteration"] == 9 and final["class_names"]
    best = torch.load(output / "model_best.pth", weights_only=True)
    assert best["iteration"] == 3
    assert (output / "last_checkpoint").read_text() == "model_final.pth"
    *_, before, last = read_metrics(output / "metrics.json")
    assert before["iteration"] == 9 and before["eta_seconds"] == 0 and before["lr"] < 3e-4
    assert last["iteration"] == 10 and last["bbox/AP"] == 5.5


# --- interrupted ---------------------------------------------------------------------------------

# Checkpoints come between evaluations, too; plateaus after 6, 10 and 14 iterations.
INTERRUPTED = (*OPTIONS, 2, "SOLVER.CHECKPOINT_PERIOD", 3, "SOLVER.LR_DROPS", (0.5, 0.8))
SAD = (*INTERRUPTED, "SOLVER.ACCUMULATION_STEPS", 2, "SAD.DISTILL.CLASS.WARMUP_ITERS", 8)


@pytest.mark.slow
def test_resumed_from_every_checkpoint(toy, tmp_path, curve):
    """Before, at and after each plateau, and the end."""
    curve(CONSTANT)
    unbroken = tmp_path / "unbroken"
    go_on(toy.cfg("SAD.yaml", *SAD, "OUTPUT_DIR", str(unbroken)))
    expected = result(unbroken)
    assert expected["trainer"]["iteration"] == 13
    names = [f"model_{i:07d}.pth" for i in (1, 2, 3, 5, 7, 8, 9, 11, 13)]
    assert expected["files"] == [*names, "model_best.pth", "model_final.pth"]
    for name in (*(names[i] for i in (0, 3, 4, 6, 8)), "model_final.pth"):
        output = tmp_path / name
        shutil.copytree(unbroken, output)
        for path in output.glob("model_*.pth"):
            if path.name > name and (path.stem != "model_best" or name == names[0]):
                path.unlink()
        (output / "last_checkpoint").write_text(name)
        go_on(toy.cfg("SAD.yaml", *SAD, "OUTPUT_DIR", str(output)))
        assert_same(result(output), expected, name)
        shutil.rmtree(output)


@pytest.mark.slow
@pytest.mark.parametrize("iteration", [5, 6, 13])
def test_sigterm_at_a_plateau(toy, tmp_path, curve, iteration):
    curve(CONSTANT)

    class Preempted(HookBase):
        def before_step(self):
            if self.trainer.iter == iteration:
                os.kill(os.getpid(), signal.SIGTERM)

    unbroken, output = tmp_path / "unbroken", tmp_path / "run"
    go_on(toy.cfg("student.yaml", *INTERRUPTED, "OUTPUT_DIR", str(unbroken)))
    cfg = toy.cfg("student.yaml", *INTERRUPTED, "OUTPUT_DIR", str(output))
    with pytest.raises(SystemExit) as end:
        go_on(cfg, hooks=[Preempted()])
    assert end.value.code == RESUME_EXIT_CODE
    assert (output / "last_checkpoint").read_text() == f"model_{iteration:07d}.pth"
    go_on(cfg)
    one, other = result(output), result(unbroken)
    for found in (one, other):
        found["files"] = [name for name in found["files"] if f"{iteration:07d}" not in name]
    assert_same(one, other)


def at_its_end(output) -> bool:
    return (output / "model_final.pth").exists()


def after_a_plateau(output) -> bool:
    return (output / "model_0000006.pth").exists()


@pytest.mark.slow
def test_killed_and_told_to_go_on(toy, tmp_path, curve):
    curve(CONSTANT, real=True)
    unbroken, output = tmp_path / "unbroken", tmp_path / "run"
    for folder in (unbroken, output):
        cfg = toy.cfg("SAD.yaml", *SAD, "SOLVER.CHECKPOINT_PERIOD", 1, "OUTPUT_DIR", str(folder))
        if folder == output:
            moments = [stepping, evaluating, after_a_plateau, at_its_end]
            assert sum(kill(start(cfg), output, moment, 60) for moment in moments) >= 3
        process = start(cfg)
        process.join()
        assert process.exitcode == 0
    assert_same(result(output), result(unbroken))


@pytest.mark.slow
def test_two_ranks_decide_alike(toy, tmp_path, curve):
    """The first one alone has evaluated; also from a checkpoint between two plateaus."""
    curve(CONSTANT, real=True)
    unbroken, resumed = tmp_path / "unbroken", tmp_path / "resumed"
    for output in (unbroken, resumed):
        if output is resumed:
            shutil.copytree(unbroken, resumed)
            (resumed / "last_checkpoint").write_text("model_0000008.pth")
            (resumed / "model_final.pth").unlink()
        opts = (*INTERRUPTED, "OUTPUT_DIR", str(output))
        run_ranks(go_on, toy.cfg("SAD.yaml", *opts))
    assert result(unbroken)["trainer"]["iteration"] == 13
    assert_same(result(resumed), result(unbroken))


# --- through the command -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """(weights, AP) of a student that finds something."""
    output = tmp_path_factory.mktemp("trained") / "run"
    opts = ("SOLVER.MAX_ITER", 50, "SOLVER.BASE_LR", 0.1, "SOLVER.CLIP_FULL_MODEL_NORM", 1.0)
    trainer, _ = train(toy, output, "student.yaml", *opts)
    return output / "model_final.pth", trainer._last_eval_results["bbox"]["AP"]


@pytest.mark.slow
def test_a_run_that_learns_no_more(toy, tmp_path, trained, monkeypatch):
    """Its own APs end it; sad.report reads it, and --resume finds it finished."""
    output, (weights, ap) = tmp_path / "run", trained
    opts = ("OUTPUT_DIR", output, *OPTIONS, 2, MIN_GAIN, ap / 2, "SOLVER.BASE_LR", 1e-8,
            "MODEL.WEIGHTS", weights, "SOLVER.LR_DROPS", "(0.5, 0.8)")  # fmt: skip
    arguments = ("--config-file", toy.path("student.yaml"), *opts)
    run_train_net(monkeypatch, *arguments)
    assert "early stop: 2 evaluations" in (output / "log.txt").read_text()
    run = Run("student", str(output))
    assert run.metrics[-1]["iteration"] == 14 and run.accuracy["AP"] > ap / 2
    before = torch.load(output / "model_final.pth", weights_only=True)
    run_train_net(monkeypatch, "--resume", *arguments)
    assert_same(torch.load(output / "model_final.pth", weights_only=True), before)
    again = Run("student", str(output))
    assert again.accuracy == run.accuracy
    assert again.curve("bbox/AP") == run.curve("bbox/AP")


@pytest.mark.slow
def test_it_goes_on_with_the_same_patience_alone(toy, tmp_path, curve):
    curve(CONSTANT)
    output = tmp_path / "run"
    train(toy, output, "student.yaml", *INTERRUPTED)
    for key, value in (("PATIENCE", 0), ("PATIENCE", 3), ("MIN_GAIN", 1.0)):
        opts = (*INTERRUPTED, f"SOLVER.EARLY_STOP.{key}", value)
        with pytest.raises(UserError, match=f"EARLY_STOP.{key} .* before, {value} now"):
            train(toy, output, "student.yaml", *opts, resume=True)


@pytest.mark.slow
def test_a_run_that_ended_early_can_be_made_longer(toy, tmp_path, curve):
    """It goes on at the end of its schedule, where the learning rate has not dropped yet."""
    curve([5.0] * 7 + [6.0, 7.0, 8.0])
    output = tmp_path / "run"
    train(toy, output, "student.yaml", *INTERRUPTED)
    longer = (*INTERRUPTED, "SOLVER.MAX_ITER", 100)  # drops at 50 and 80
    _, recorder = train(toy, output, "student.yaml", *longer, resume=True)
    assert recorder.iterations[0] == 14
    with pytest.raises(UserError, match="SOLVER.MAX_ITER is 30, .*--eval-only"):
        train(toy, output, "student.yaml", *INTERRUPTED, "SOLVER.MAX_ITER", 30, resume=True)
