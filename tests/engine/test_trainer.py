"""A whole run: what is logged, checkpoints, resuming, bad images, several processes."""

import json
import shutil

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import HookBase
from detectron2.modeling import build_model
from detectron2.utils import comm

import reference
from processes import run_ranks
from recorded import history, make_trainer, train
from sad.checkpoint.checkpointer import SADCheckpointer
from sad.config.identity import training_settings
from sad.config.load import get_sad_cfg
from sad.engine.trainer import SADTrainer
from sad.utils.errors import UserError

TEN = ("SOLVER.MAX_ITER", 10)


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


@pytest.mark.parametrize("name", ["PKD", "CWD", "BCKD", "DenseTeacher"])
def test_published_ways_of_distilling_train(toy, tmp_path, name):
    """The terms of the committed configs, at their weights."""
    settings = training_settings(get_sad_cfg(f"configs/digits/student_{name}.yaml"))
    terms = {key: value for key, value in settings.items() if key.startswith("SAD.DISTILL.")}
    opts = [item for pair in terms.items() for item in pair]
    trainer, recorder = train(toy, tmp_path, "SAD.yaml", *opts, "SOLVER.MAX_ITER", 3)
    (term,) = trainer.cfg.SAD.DISTILL.TERMS
    losses = history(trainer, f"loss_distill_{term}")
    assert len(losses) == 3 and np.isfinite(losses).all() and min(losses) > 0
    assert all(gradient.isfinite().all() for gradient in recorder.gradients)
    assert (tmp_path / "model_final.pth").is_file()


# --- what is logged -----------------------------------------------------------------------------


@pytest.mark.slow
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
    cpu, wall = (np.mean(history(trainer, name)[3:]) for name in ("cpu_time", "time"))
    assert 0 < cpu < 1.5 * wall * torch.get_num_threads()


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


@pytest.mark.slow
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


@pytest.mark.slow
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


class Fails(HookBase):
    """In the last iteration, as where its loss is no number."""

    def before_step(self):
        if self.trainer.iter + 1 == self.trainer.max_iter:
            raise UserError("the loss is no number")


def test_what_fails_in_the_last_iteration_is_said_and_not_evaluated(toy, tmp_path):
    new = tmp_path / "new"
    with pytest.raises(UserError, match="no number"):
        train(toy, new, "student.yaml", "SOLVER.MAX_ITER", 2, hooks=[Fails()])
    assert not (new / "inference").exists()
    old = tmp_path / "old"
    train(toy, old, "student.yaml", "SOLVER.MAX_ITER", 2)
    before = {path: path.read_bytes() for path in (old / "inference").rglob("*.json")}
    assert before
    with pytest.raises(UserError, match="no number"):
        train(toy, old, "student.yaml", "SOLVER.MAX_ITER", 4, resume=True, hooks=[Fails()])
    assert {path: path.read_bytes() for path in before} == before


def test_without_resume_the_directory_is_not_looked_at(run, toy, tmp_path):
    output, _, _ = run
    shutil.copytree(output, tmp_path / "run")
    _, recorder = train(toy, tmp_path / "run", "SAD.yaml", *TEN, "DATASETS.TEST", ())
    assert recorder.iterations == list(range(10))


@pytest.mark.slow
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


@pytest.mark.slow
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
