"""A whole run: schedule, clipping, what is logged, checkpoints, resuming, several processes."""

import copy
import json
import re
import shutil

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import HookBase
from detectron2.modeling import box_regression, build_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

import reference
from processes import run_ranks
from sad.checkpoint.checkpointer import SADCheckpointer
from sad.data.loader import build_mixed_loader
from sad.engine.schedule import derive_schedule, describe_start
from sad.engine.trainer import SADTrainer
from sad.losses import fused
from sad.modeling.adapters import retinanet
from sad.utils.errors import UserError

TEN = ("SOLVER.MAX_ITER", 10)


class Recorder(HookBase):
    """The learning rate and the samples of every iteration, and the gradients of the last."""

    def __init__(self):
        self.learning_rates, self.iterations, self.samples = [], [], []

    def before_train(self):
        student = self.trainer._trainer.student
        self.preprocess = student.preprocess_image
        student.preprocess_image = self.record

    def record(self, batch):
        if self.trainer.model.training:
            self.samples.append(
                [(s["image_id"], s["origin"], s["image"].float().mean().item()) for s in batch]
            )
        return self.preprocess(batch)

    def before_step(self):
        self.iterations.append(self.trainer.iter)
        self.learning_rates.append({group["lr"] for group in self.trainer.optimizer.param_groups})

    def after_step(self):
        self.gradients = [p.grad.clone() for p in self.trainer.model.parameters()]


def make_trainer(cfg, *hooks, resume=False):
    trainer = SADTrainer(cfg)
    trainer.register_hooks(hooks)
    trainer.resume_or_load(resume)
    return trainer


def train(toy, output, name, *opts, resume=False, hooks=()):
    """Run to the end: (trainer, its Recorder)."""
    torch.manual_seed(0)  # the command line seeds through default_setup
    recorder = Recorder()
    cfg = toy.cfg(name, "OUTPUT_DIR", str(output), *opts)
    output.mkdir(exist_ok=True)
    trainer = make_trainer(cfg, recorder, *hooks, resume=resume)
    trainer.train()
    return trainer, recorder


def history(trainer, key) -> list[float]:
    return [value for value, _ in trainer.storage.history(key).values()]


def weights(path) -> dict:
    return torch.load(path, weights_only=True)["model"]


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    """20 iterations of SAD with a checkpoint after the 10th: (output, trainer, Recorder)."""
    output = tmp_path_factory.mktemp("run")
    opts = ("SOLVER.MAX_ITER", 20, "SOLVER.WARMUP_ITERS", 6, "SOLVER.CHECKPOINT_PERIOD", 10)
    return output, *train(toy, output, "SAD.yaml", *opts)


# --- schedule -----------------------------------------------------------------------------------


def test_learning_rate_of_every_iteration(run):
    _, trainer, recorder = run
    assert recorder.iterations == list(range(20))
    expected = [
        reference.learning_rate(i, base_lr=0.02, max_iter=20, warmup_iters=6) for i in range(20)
    ]
    assert all(len(rates) == 1 for rates in recorder.learning_rates)
    rates = [rates.pop() for rates in map(set, recorder.learning_rates)]
    np.testing.assert_allclose(rates, expected, rtol=1e-9)
    np.testing.assert_allclose(history(trainer, "lr"), expected, rtol=1e-9)


def test_drops_are_derived_from_max_iter(toy):
    cfg = toy.cfg("student.yaml", "SOLVER.MAX_ITER", 90000)
    assert derive_schedule(cfg, 1).SOLVER.STEPS == (63000, 81000)
    cfg = toy.cfg("student.yaml", "SOLVER.MAX_ITER", 90000, "SOLVER.LR_DROPS", (2 / 3, 8 / 9))
    assert derive_schedule(cfg, 1).SOLVER.STEPS == (60000, 80000)
    assert cfg.SOLVER.STEPS == () and cfg.is_frozen()


@pytest.mark.parametrize("drops", [(), ("SOLVER.LR_DROPS", ())])
@pytest.mark.parametrize("steps", [(3, 5), (6,), ()])
def test_steps_that_are_given_are_taken(toy, tmp_path, drops, steps):
    """Also from the config.yaml of a run, in which every key is given."""
    cfg = toy.cfg("student.yaml", *drops, "SOLVER.STEPS", steps)
    assert derive_schedule(cfg, 1).SOLVER.STEPS == steps
    again = tmp_path / "config.yaml"
    again.write_text(cfg.dump())
    assert derive_schedule(toy.cfg(str(again)), 1).SOLVER.STEPS == steps


def test_a_dumped_config_drops_where_its_run_did(toy, tmp_path):
    again = tmp_path / "config.yaml"
    for drops, steps in (((), (7, 9)), (("SOLVER.LR_DROPS", (0.5,)), (5,))):
        again.write_text(toy.cfg("student.yaml", *drops).dump())
        assert derive_schedule(toy.cfg(str(again)), 1).SOLVER.STEPS == steps
        longer = toy.cfg(str(again), "SOLVER.MAX_ITER", 100)
        assert derive_schedule(longer, 1).SOLVER.STEPS == tuple(10 * step for step in steps)


def test_steps_of_detectron2s_default_are_steps_that_are_given(toy):
    cfg = toy.cfg("student.yaml", "SOLVER.MAX_ITER", 40000, "SOLVER.STEPS", (30000,))
    assert derive_schedule(cfg, 1).SOLVER.STEPS == (30000,)


def test_steps_and_shares_are_not_both_taken(toy):
    cfg = toy.cfg("student.yaml", "SOLVER.STEPS", (3, 5), "SOLVER.LR_DROPS", (0.7, 0.9))
    with pytest.raises(UserError, match=r"STEPS is \(3, 5\) and .*LR_DROPS is \(0\.7, 0\.9\)"):
        derive_schedule(cfg, 1)


def test_steps_are_scaled_to_the_ranks(toy):
    opts = ("SOLVER.REFERENCE_WORLD_SIZE", 8, "SOLVER.IMS_PER_BATCH", 16, "SOLVER.MAX_ITER", 1000)
    cfg = toy.cfg("student.yaml", *opts, "SOLVER.STEPS", (500, 800))
    assert derive_schedule(cfg, 2).SOLVER.STEPS == (2000, 3200)


def test_steps_beyond_the_end_are_left_out_and_said(toy, log):
    cfg = derive_schedule(toy.cfg("student.yaml", "SOLVER.STEPS", (5, 10, 60000)), 1)
    assert cfg.SOLVER.STEPS == (5,)
    assert any("[10, 60000] are left out" in message for message in log)
    SADTrainer.build_lr_scheduler(cfg, torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1))


def test_drops_come_after_the_scaling_to_the_ranks(toy):
    cfg = toy.cfg(
        *("student.yaml", "SOLVER.REFERENCE_WORLD_SIZE", 8, "SOLVER.IMS_PER_BATCH", 16),
        *("SOLVER.BASE_LR", 0.08, "SOLVER.MAX_ITER", 1000, "SOLVER.WARMUP_ITERS", 100),
        *("SAD.DISTILL.CLASS.WARMUP_ITERS", 50),
    )
    cfg = derive_schedule(cfg, 2)
    assert cfg.SAD.DISTILL.CLASS.WARMUP_ITERS == 200
    solver = cfg.SOLVER
    assert (solver.IMS_PER_BATCH, solver.BASE_LR, solver.MAX_ITER) == (4, 0.02, 4000)
    assert (solver.WARMUP_ITERS, solver.STEPS) == (400, (2800, 3600))
    line = describe_start(cfg, 6, 0, 2)
    assert "Effective batch 4 = 2 ranks x 1 accumulation steps x 2 images a forward" in line
    assert line.endswith("rate 0.02 over 4000 iterations, warm-up 400, times 0.1 at (2800, 3600)")


def test_batch_must_be_a_multiple_of_the_reference(toy):
    cfg = toy.cfg("student.yaml", "SOLVER.REFERENCE_WORLD_SIZE", 8, "SOLVER.IMS_PER_BATCH", 12)
    with pytest.raises(UserError, match="12, it must be a multiple of .*REFERENCE_WORLD_SIZE 8"):
        derive_schedule(cfg, 2)


def test_accumulation_keeps_the_schedule(toy):
    opts = ("SOLVER.IMS_PER_BATCH", 16, "SOLVER.MAX_ITER", 90000, "SOLVER.BASE_LR", 0.01)
    cfg = toy.cfg("SAD.yaml", *opts, "SOLVER.ACCUMULATION_STEPS", 4)
    assert describe_start(derive_schedule(cfg, 2), 115, 120, 2) == (
        "Effective batch 16 = 2 ranks x 4 accumulation steps x 2 images a forward, loss "
        "normalisers local; mix alternate of 115 labelled and 120 unlabelled images: 74% of the "
        "images seen are labelled, targets hard+soft on labelled and hard+soft on unlabelled; "
        "learning rate 0.01 over 90000 iterations, warm-up 3, times 0.1 at (63000, 81000)"
    )


@pytest.mark.parametrize(
    ("opts", "unlabeled", "share"),
    [
        ((), 6, "75%"),
        (("SAD.LOADER.MIX", "union"), 6, "50%"),
        (("SAD.LOADER.MIX", "ratio", "SAD.LOADER.RATIO", (1, 3)), 6, "25%"),
        ((), 0, "100%"),
    ],
)
def test_share_of_labeled_images_is_stated(toy, opts, unlabeled, share):
    assert f": {share} of the images" in describe_start(toy.cfg("SAD.yaml", *opts), 6, unlabeled, 1)


@pytest.mark.parametrize("opts", [(), ("SAD.DISTILL.TERMS", "()")])
def test_soft_targets_are_stated_where_there_are_any(toy, opts):
    cfg = toy.cfg("SAD.yaml" if opts else "student.yaml", *opts)
    assert "targets hard on labelled and hard on unlabelled" in describe_start(cfg, 6, 6, 1)
    if opts:
        opts += ("SAD.TARGETS.UNLABELED", "('soft',)")
        cfg = toy.cfg("SAD.yaml", *opts, checked=False)
        assert "hard on labelled and none on unlabelled" in describe_start(cfg, 6, 6, 1)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 5])
def test_very_short_runs_train(toy, max_iter):
    """The first thing anybody tries is a run of a few iterations."""
    cfg = derive_schedule(toy.cfg("student.yaml", "SOLVER.MAX_ITER", max_iter), 1)
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.02)
    SADTrainer.build_lr_scheduler(cfg, optimizer)


# --- one step -----------------------------------------------------------------------------------


def test_gradient_norm_of_the_whole_model_is_clipped(toy, tmp_path):
    one = ("SOLVER.MAX_ITER", 10, "SOLVER.LR_DROPS", (), "SOLVER.WARMUP_ITERS", 0)
    gradients = {}
    for clip in (0.0, 0.001, 1e6):
        torch.manual_seed(0)
        recorder = Recorder()
        opts = (*one, "OUTPUT_DIR", str(tmp_path), "SOLVER.CLIP_FULL_MODEL_NORM", clip)
        trainer = make_trainer(toy.cfg("SAD.yaml", *opts), recorder)
        trainer.max_iter = 1
        trainer.train()
        gradients[clip] = recorder.gradients
    norm = torch.stack([gradient.norm() for gradient in gradients[0.0]]).norm().item()
    assert norm > 0.01
    clipped = torch.stack([gradient.norm() for gradient in gradients[0.001]]).norm().item()
    assert clipped == pytest.approx(0.001, rel=1e-3)
    for free, short, loose in zip(*gradients.values(), strict=True):
        torch.testing.assert_close(short, free * (0.001 / norm), rtol=1e-3, atol=1e-9)
        assert torch.equal(loose, free)


def test_accumulated_gradient_is_the_mean_of_the_micro_batches(toy, tmp_path):
    """With a plain RetinaNet and Detectron2's own normalisers."""
    one = ("SOLVER.MAX_ITER", 1, "SOLVER.LR_DROPS", (), "SOLVER.CLIP_FULL_MODEL_NORM", 0.0)
    opts = (*one, "SOLVER.IMS_PER_BATCH", 4, "DATASETS.TEST", (), "SOLVER.BASE_LR", 0.0)
    trainer, recorder = train(
        toy, tmp_path / "run", "student.yaml", *opts, "SOLVER.ACCUMULATION_STEPS", 2
    )
    batch = next(iter(build_mixed_loader(trainer.cfg)))
    assert len(batch) == 4 and [len(samples) for samples in recorder.samples] == [2, 2]
    torch.manual_seed(0)
    model = build_model(trainer.cfg)
    with EventStorage():
        micro_batches = [model(batch[:2]), model(batch[2:])]
    for losses in micro_batches:
        (sum(losses.values()) / 2).backward()
    expected = [parameter.grad for parameter in model.parameters()]
    for ours, theirs in zip(recorder.gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    for name in ("loss_cls", "loss_box_reg"):  # the whole batch's are logged
        mean = sum(losses[name].item() for losses in micro_batches) / 2
        assert history(trainer, name) == [pytest.approx(mean)]


AMP = ("SOLVER.AMP.ENABLED", True, "SOLVER.AMP.PRECISION")


@pytest.fixture
def loss_inputs(monkeypatch):
    """The kinds of numbers that reach the focal loss and the box loss, by the loss's name."""
    seen = {}
    for module, name in (
        (fused, "focal_slope"),
        (retinanet, "dense_box_regression_loss"),
        (box_regression, "smooth_l1_loss"),
    ):
        loss = getattr(module, name)

        def spy(*args, name=name, loss=loss, **kwargs):
            tensors = [x for x in args if isinstance(x, torch.Tensor) and x.is_floating_point()]
            seen.setdefault(name, set()).update(x.dtype for x in tensors)
            return loss(*args, **kwargs)

        monkeypatch.setattr(module, name, spy)
    return seen


@pytest.mark.parametrize("teacher", ["float32", "bfloat16"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains(toy, tmp_path, precision, teacher, loss_inputs):
    opts = (*TEN, "DATASETS.TEST", (), "SOLVER.IMS_PER_BATCH", 4, "SOLVER.ACCUMULATION_STEPS", 2)
    exact, _ = train(toy, tmp_path / "exact", "SAD.yaml", *opts)
    loss_inputs.clear()
    opts += (*AMP, precision, "SAD.TEACHER.PRECISION", teacher)
    trainer, _ = train(toy, tmp_path / "amp", "SAD.yaml", *opts)
    for key in ("loss_cls", "loss_box_reg", "loss_distill_class"):
        ours, theirs = history(trainer, key), history(exact, key)
        assert ours[0] == pytest.approx(theirs[0], rel=0.05)
        assert ours != theirs
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trainer.model.parameters())
    assert loss_inputs["focal_slope"] == {torch.float32}
    assert loss_inputs["smooth_l1_loss"] == {torch.float32}


@pytest.mark.parametrize("name", ["student.yaml", "SAD.yaml"])
def test_step_that_overflows_is_skipped(toy, tmp_path, name):
    """float16 gradients beyond 65504 are infinite; the scale is halved and training goes on."""
    opts = ("SOLVER.MAX_ITER", 3, "SOLVER.LR_DROPS", (), "DATASETS.TEST", (), *AMP, "float16")

    class Scaled(HookBase):
        """A scale far too large for the first step and a fitting one for the second."""

        def __init__(self):
            self.weights = []

        def before_step(self):
            self.weights.append([p.detach().clone() for p in self.trainer.model.parameters()])
            scale = (1e30, 1024.0, 1024.0)[self.trainer.iter]
            self.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            self.trainer._trainer.scaler = self.scaler

        def after_step(self):
            if self.trainer.iter == 0:
                gradients = [p.grad for p in self.trainer.model.parameters()]
                assert not all(gradient.isfinite().all() for gradient in gradients)
                assert self.scaler.get_scale() == pytest.approx(5e29)

    hook = Scaled()
    train(toy, tmp_path / "run", name, *opts, "SOLVER.ACCUMULATION_STEPS", 2, hooks=[hook])
    start, skipped, trained = hook.weights
    assert all(map(torch.equal, start, skipped))
    assert not any(map(torch.equal, start, trained))


# --- what is logged -----------------------------------------------------------------------------


def test_losses_and_their_ratio_are_logged(run):
    output, trainer, _ = run
    distill = np.array(history(trainer, "loss_distill_class"))
    detection = np.array(history(trainer, "loss_cls")) + np.array(history(trainer, "loss_box_reg"))
    assert len(distill) == 20 and (distill > 0).all()
    np.testing.assert_allclose(
        history(trainer, "distill_class_to_detection"), distill / detection, rtol=1e-5
    )
    np.testing.assert_allclose(history(trainer, "total_loss"), distill + detection, rtol=1e-5)
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    keys = {key for line in lines for key in line}
    assert keys >= {
        *("iteration", "total_loss", "loss_cls", "loss_box_reg", "loss_distill_class", "lr"),
        *("distill_class_to_detection", "eta_seconds", "time", "bbox/AP", "bbox/AP50", "bbox/AP75"),
    }


def test_it_learns(toy, tmp_path):
    """The focal normaliser's average starts at 100, so detection is judged by AP, not by loss."""
    opts = ("SOLVER.MAX_ITER", 50, "SOLVER.BASE_LR", 0.1, "SOLVER.CLIP_FULL_MODEL_NORM", 1.0)
    trainer, _ = train(toy, tmp_path / "run", "SAD.yaml", *opts)
    distill = history(trainer, "loss_distill_class")
    assert np.mean(distill[-10:]) < 0.7 * np.mean(distill[:10])
    assert trainer._last_eval_results["bbox"]["AP50"] > 5


# --- against stock RetinaNet --------------------------------------------------------------------


def test_distillation_off_is_the_plain_run(toy, tmp_path):
    off = ("SAD.DISTILL.TERMS", "()", "DATASETS.UNLABELED", (), "SAD.TEACHER.WEIGHTS", "")
    plain, one = train(toy, tmp_path / "plain", "student.yaml", *TEN, "DATASETS.TEST", ())
    ours, other = train(toy, tmp_path / "ours", "SAD.yaml", *TEN, *off, "DATASETS.TEST", ())
    assert one.samples == other.samples
    for key in ("loss_cls", "loss_box_reg", "total_loss", "lr"):
        assert history(plain, key) == history(ours, key)
    assert "loss_distill_class" not in ours.storage.histories()
    assert_same_weights(
        *(weights(tmp_path / name / "model_final.pth") for name in ("plain", "ours"))
    )


def test_checkpoint_is_a_plain_retinanet(toy, run):
    output, _, _ = run
    state = weights(output / "model_final.pth")
    stock = build_model(toy.cfg("student.yaml"))
    assert list(state) == list(stock.state_dict())
    stock.load_state_dict(state, strict=True)
    assert_same_weights(stock.state_dict(), state)
    ours = build_model(toy.cfg("SAD.yaml"))
    SADCheckpointer(ours, strict=True).load(str(output / "model_final.pth"))
    assert_same_weights(ours.state_dict(), state)


def test_stock_checkpointer_loads_it(toy, run):
    output, _, _ = run
    model = build_model(toy.cfg("student.yaml"))
    DetectionCheckpointer(model).load(str(output / "model_final.pth"))
    assert_same_weights(model.state_dict(), weights(output / "model_final.pth"))


def test_same_ap_on_the_students_yaml_and_on_sads(toy, run, tmp_path):
    output, _, _ = run
    results = {}
    for name in ("student.yaml", "SAD.yaml"):
        cfg = toy.cfg(name, "OUTPUT_DIR", str(tmp_path / name))
        model = build_model(cfg)
        SADCheckpointer(model, strict=True).load(str(output / "model_final.pth"))
        results[name] = dict(SADTrainer.test(cfg, model)["bbox"])
    one, other = results.values()
    assert one["AP"] > 0
    assert one == pytest.approx(other, nan_ok=True, abs=0)
    last = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()][-1]
    assert last["bbox/AP"] == pytest.approx(one["AP"])


# --- going on where a run stopped ---------------------------------------------------------------


def resumed_from(run, toy, folder, *opts):
    """The run of the fixture, resumed from its checkpoint after 10 iterations."""
    output, _, _ = run
    folder.mkdir()
    shutil.copy(output / "model_0000009.pth", folder)
    (folder / "last_checkpoint").write_text("model_0000009.pth")
    same = ("SOLVER.MAX_ITER", 20, "SOLVER.WARMUP_ITERS", 6, "SOLVER.CHECKPOINT_PERIOD", 10)
    return train(toy, folder, "SAD.yaml", *same, "DATASETS.TEST", (), *opts, resume=True)


def test_resumed_run_is_the_unbroken_run(run, toy, tmp_path):
    output, unbroken, recorded = run
    trainer, recorder = resumed_from(run, toy, tmp_path / "resumed")
    assert recorder.iterations == list(range(10, 20))
    assert recorder.samples == recorded.samples[10:]
    assert recorder.learning_rates == recorded.learning_rates[10:]
    for key in ("loss_cls", "loss_box_reg", "loss_distill_class"):
        assert history(trainer, key) == history(unbroken, key)
    assert_same_weights(
        weights(tmp_path / "resumed" / "model_final.pth"), weights(output / "model_final.pth")
    )


@pytest.mark.parametrize(
    ("keys", "rates"),
    [
        ({"BASE_LR": 0.01}, {"base_lr": 0.01}),
        ({"WARMUP_ITERS": 12}, {"warmup_iters": 12}),
        ({"BASE_LR": 0.01, "WARMUP_ITERS": 12}, {"base_lr": 0.01, "warmup_iters": 12}),
        ({"MAX_ITER": 14}, {"max_iter": 14}),
    ],
)
def test_a_resumed_run_has_the_learning_rates_of_its_own_config(run, toy, tmp_path, keys, rates):
    """From its first iteration on, although the checkpoint brings optimizer and schedule."""
    opts = [x for key, value in keys.items() for x in (f"SOLVER.{key}", value)]
    trainer, recorder = resumed_from(run, toy, tmp_path / "resumed", *opts)
    rates = {"base_lr": 0.02, "max_iter": 20, "warmup_iters": 6, **rates}
    assert recorder.iterations == list(range(10, rates["max_iter"]))
    expected = [reference.learning_rate(i, **rates) for i in recorder.iterations]
    found = [rate for rates in recorder.learning_rates for rate in rates]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(history(trainer, "lr")[-len(found) :], expected, rtol=1e-9)


def test_a_resumed_run_clips_as_its_own_config_says(run, toy, tmp_path):
    opts = ("SOLVER.CLIP_FULL_MODEL_NORM", 0.001)
    _, recorder = resumed_from(run, toy, tmp_path / "resumed", *opts)
    norm = torch.stack([gradient.norm() for gradient in recorder.gradients]).norm().item()
    assert norm == pytest.approx(0.001, rel=1e-3)


def test_resumed_run_without_a_seed_of_its_own(toy, tmp_path):
    """SEED -1, Detectron2's default, draws a seed; the resumed run goes on with that one."""
    opts = (*TEN, "SEED", -1, "SOLVER.CHECKPOINT_PERIOD", 5, "DATASETS.TEST", ())
    _, unbroken = train(toy, tmp_path / "run", "SAD.yaml", *opts)
    (tmp_path / "run" / "last_checkpoint").write_text("model_0000004.pth")
    _, resumed = train(toy, tmp_path / "run", "SAD.yaml", *opts, resume=True)
    assert resumed.iterations == list(range(5, 10))
    assert resumed.samples == unbroken.samples[5:]


def test_resumed_with_worker_processes(run, toy, tmp_path):
    _, _, recorded = run
    _, recorder = resumed_from(run, toy, tmp_path / "resumed", "DATALOADER.NUM_WORKERS", 2)
    assert recorder.samples == recorded.samples[10:]


def test_broken_off_run_goes_on(run, toy, tmp_path):
    """Whatever ended it: the last checkpoint counts, and later iterations are done again."""

    class PowerCut(HookBase):
        def after_step(self):
            if self.trainer.iter == 13:
                raise KeyboardInterrupt

    output, _, recorded = run
    opts = ("SOLVER.MAX_ITER", 20, "SOLVER.WARMUP_ITERS", 6, "SOLVER.CHECKPOINT_PERIOD", 10)
    opts += ("DATASETS.TEST", ())
    with pytest.raises(KeyboardInterrupt):
        train(toy, tmp_path / "run", "SAD.yaml", *opts, hooks=[PowerCut()])
    assert (tmp_path / "run" / "last_checkpoint").read_text() == "model_0000009.pth"
    assert not (tmp_path / "run" / "model_final.pth").exists()
    _, recorder = train(toy, tmp_path / "run", "SAD.yaml", *opts, resume=True)
    assert recorder.iterations == list(range(10, 20))
    assert recorder.samples == recorded.samples[10:]
    assert_same_weights(
        weights(tmp_path / "run" / "model_final.pth"), weights(output / "model_final.pth")
    )


def test_resuming_a_finished_run_only_evaluates(run, toy, tmp_path):
    output, _, _ = run
    shutil.copytree(output, tmp_path / "run")
    opts = ("SOLVER.MAX_ITER", 20, "SOLVER.WARMUP_ITERS", 6, "SOLVER.CHECKPOINT_PERIOD", 10)
    trainer, recorder = train(toy, tmp_path / "run", "SAD.yaml", *opts, resume=True)
    assert recorder.iterations == []
    assert trainer._last_eval_results["bbox"]["AP"] > 0
    assert_same_weights(
        weights(tmp_path / "run" / "model_final.pth"), weights(output / "model_final.pth")
    )


def test_without_resume_the_directory_is_not_looked_at(run, toy, tmp_path):
    output, _, _ = run
    shutil.copytree(output, tmp_path / "run")
    _, recorder = train(toy, tmp_path / "run", "SAD.yaml", *TEN, "DATASETS.TEST", ())
    assert recorder.iterations == list(range(10))


def test_evaluation_in_between_changes_nothing(run, toy, tmp_path):
    output, _, _ = run
    opts = ("SOLVER.MAX_ITER", 20, "SOLVER.WARMUP_ITERS", 6, "TEST.EVAL_PERIOD", 7)
    train(toy, tmp_path / "run", "SAD.yaml", *opts)
    assert_same_weights(
        weights(tmp_path / "run" / "model_final.pth"), weights(output / "model_final.pth")
    )


def test_weights_to_start_from(run, toy, tmp_path):
    """MODEL.WEIGHTS starts the student at other weights, at iteration 0."""
    output, _, _ = run
    path = str(output / "model_final.pth")
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(tmp_path), "MODEL.WEIGHTS", path)
    trainer = make_trainer(cfg)
    assert trainer.start_iter == 0
    assert_same_weights(trainer.model.state_dict(), weights(path))


# --- losses and gradients that are no numbers ---------------------------------------------------


@pytest.mark.parametrize(
    ("value", "named"),
    [("loss", "loss_cls is nan"), ("gradient", "the gradient's norm is inf")],
)
def test_what_is_no_number_stops_the_run_before_the_step(toy, tmp_path, value, named):
    class Poison(HookBase):
        def before_step(self):
            if self.trainer.iter == 4:
                self.before = copy.deepcopy(dict(self.trainer.model.named_parameters()))
                bias = self.trainer._trainer.student.head.cls_score.bias
                if value == "loss":
                    bias.data[0] = torch.nan
                else:
                    bias.register_hook(lambda gradient: gradient * torch.inf)

    poison = Poison()
    opts = (*TEN, "SOLVER.CHECKPOINT_PERIOD", 3, "SOLVER.WARMUP_ITERS", 0, "DATASETS.TEST", ())
    with pytest.raises(UserError, match=f"{named} at iteration 4, learning rate 0.02, ") as error:
        train(toy, tmp_path / "run", "SAD.yaml", *opts, hooks=[poison])
    assert re.search(r"image ids \d0, \d0: .*SOLVER.BASE_LR", str(error.value))
    after = dict(poison.trainer.model.named_parameters())
    changed = [key for key, x in poison.before.items() if not torch.equal(x, after[key])]
    assert changed == (["student.head.cls_score.bias"] if value == "loss" else [])
    assert (tmp_path / "run" / "last_checkpoint").read_text() == "model_0000002.pth"
    # As the sentence says.
    opts += ("SOLVER.BASE_LR", 0.01, "SOLVER.CLIP_FULL_MODEL_NORM", 0.5)
    _, recorder = train(toy, tmp_path / "run", "SAD.yaml", *opts, resume=True)
    assert recorder.iterations == list(range(3, 10))
    assert recorder.learning_rates[0] == {0.01}


# --- images that cannot be read -----------------------------------------------------------------


@pytest.fixture
def damaged(toy, tmp_path):
    """A function that cuts images short and gives the config keys of the damaged copy."""

    def cut(*numbers):
        folder = tmp_path / "images"
        shutil.copytree(toy.root / "labeled", folder)
        for number in numbers:
            path = folder / f"{number:06d}.png"
            path.write_bytes(path.read_bytes()[:300])
        return ("DATASETS.REGISTER.toy_labeled.IMAGES", str(folder), "DATASETS.TEST", ())

    return cut


def test_run_goes_on_after_an_unreadable_image(toy, tmp_path, damaged, log):
    opts = (*damaged(3), *TEN, "DATALOADER.MAX_UNREADABLE", 0.5)
    _, recorder = train(toy, tmp_path / "run", "student.yaml", *opts)
    assert recorder.iterations == list(range(10))
    named = [message for message in log if "000003.png" in message]
    assert len(named) == 1
    assert "skipped" in named[0]


def test_too_many_unreadable_images_stop_the_run(toy, tmp_path, damaged):
    opts = (*damaged(1, 2, 3), *TEN, "DATALOADER.MAX_UNREADABLE", 0.0)
    with pytest.raises(UserError, match=r"MAX_UNREADABLE 0 allows; for .*00000[123]\.png"):
        train(toy, tmp_path / "run", "student.yaml", *opts)
    assert not (tmp_path / "run" / "model_final.pth").exists()


def test_a_run_that_stopped_for_unreadable_images_goes_on_with_another_limit(
    toy, tmp_path, damaged
):
    opts = (*damaged(1, 2), *TEN, "SOLVER.CHECKPOINT_PERIOD", 1, "DATALOADER.MAX_UNREADABLE")
    with pytest.raises(UserError, match="MAX_UNREADABLE"):
        train(toy, tmp_path / "run", "student.yaml", *opts, 0.0)
    _, recorder = train(toy, tmp_path / "run", "student.yaml", *opts, 0.5, resume=True)
    assert recorder.iterations[-1] == 9


def test_only_unreadable_images_stop_the_run(toy, tmp_path, damaged):
    opts = (*damaged(1, 2, 3, 4, 5, 6), *TEN, "DATALOADER.MAX_UNREADABLE", 1.0)
    with pytest.raises(UserError, match="toy_labeled: 6 of 6 images tried cannot be read"):
        train(toy, tmp_path / "run", "student.yaml", *opts)


# --- several processes --------------------------------------------------------------------------


# Labelled and unlabelled images' targets. With one image in each process, often only one of the two
# processes has hard targets, or soft ones.
TARGETS = [(("hard", "soft"), ("hard", "soft")), (("hard",), ("soft",)), (("soft",), ("hard",))]


def train_and_compare(toy, folder, opts):
    """In each process: train with each of TARGETS, and see that all hold the same weights."""
    for number, (labeled, unlabeled) in enumerate(TARGETS):
        targets = ("SAD.TARGETS.LABELED", labeled, "SAD.TARGETS.UNLABELED", unlabeled)
        trainer, recorder = train(toy, folder / str(number), "SAD.yaml", *opts, *targets)
        final = dict(trainer.model.module.named_parameters())
        for other in comm.all_gather(final):
            assert_same_weights(final, other)
        assert all(value.isfinite().all() for value in final.values())
        samples = folder / f"{number}_{comm.get_rank()}.json"
        samples.write_text(json.dumps(recorder.samples))


def test_two_processes(toy, tmp_path):
    opts = ("SOLVER.MAX_ITER", 12, "SOLVER.IMS_PER_BATCH", 2, "SAD.LOADER.MIX", "union")
    run_ranks(train_and_compare, toy, tmp_path, opts)
    for number in range(len(TARGETS)):
        origins = [
            [batch[0][1] for batch in json.loads((tmp_path / f"{number}_{rank}.json").read_text())]
            for rank in (0, 1)
        ]
        assert [len(of_rank) for of_rank in origins] == [12, 12]
        assert origins[0] != origins[1]
        stock = build_model(toy.cfg("student.yaml"))
        stock.load_state_dict(weights(tmp_path / str(number) / "model_final.pth"), strict=True)
