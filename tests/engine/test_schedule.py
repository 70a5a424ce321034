"""When the learning rate drops, and what a run says of itself in one line."""

import pytest
import torch

from sad.engine.schedule import derive_schedule, describe_start
from sad.engine.trainer import SADTrainer
from sad.utils.errors import UserError


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


@pytest.mark.parametrize(("warmup", "warned"), [(6, False), (7, False), (8, True), (60, True)])
def test_a_warm_up_beyond_the_first_drop_is_said(toy, log, warmup, warned):
    derive_schedule(toy.cfg("student.yaml", "SOLVER.WARMUP_ITERS", warmup), 1)  # drops at 7 and 9
    assert any("never comes to SOLVER.BASE_LR" in message for message in log) == warned


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
        "taught by 0.5 x class; learning rate 0.01 over 90000 iterations, warm-up 3, times 0.1 at "
        "(63000, 81000)"
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


STOP = ("SOLVER.EARLY_STOP.PATIENCE", 3, "TEST.EVAL_PERIOD", 2)


def test_early_stop_is_stated(toy):
    cfg = derive_schedule(toy.cfg("SAD.yaml", *STOP, "SOLVER.EARLY_STOP.MIN_GAIN", 0.5), 1)
    line = describe_start(cfg, 6, 6, 1)
    assert "3 evaluations, one every 2 iterations, without a gain of more than 0.5 AP on " in line
    off = derive_schedule(toy.cfg("SAD.yaml", *STOP, "SOLVER.EARLY_STOP.PATIENCE", 0), 1)
    assert line.startswith(describe_start(off, 6, 6, 1))


@pytest.mark.parametrize(
    ("opts", "named"),
    [
        (("TEST.EVAL_PERIOD", 0), "PATIENCE 3 .* give TEST.EVAL_PERIOD"),
        (("DATASETS.TEST", ()), "PATIENCE 3 .* DATASETS.TEST"),
        (("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR"), "WarmupCosineLR has none"),
        (("SAD.DISTILL.CLASS.DECAY_TO", 0.5), "CLASS.DECAY_TO .* leave one of them out"),
    ],
)
def test_what_early_stop_cannot_do_without(toy, opts, named):
    derive_schedule(toy.cfg("SAD.yaml", *opts), 1)
    with pytest.raises(UserError, match=named):
        derive_schedule(toy.cfg("SAD.yaml", *STOP, *opts), 1)


def test_a_term_that_is_not_used_may_decay_beside_early_stop(toy):
    fades = ("SAD.DISTILL.CLASS.DECAY_TO", 0.5)
    derive_schedule(toy.cfg("SAD.yaml", *STOP, *fades, "SAD.DISTILL.TERMS", ()), 1)
    derive_schedule(toy.cfg("student.yaml", *STOP, *fades), 1)


def test_evaluations_on_the_way_are_not_scaled_to_none(toy):
    opts = ("SOLVER.REFERENCE_WORLD_SIZE", 1, "TEST.EVAL_PERIOD")
    for period, scaled in ((0, 0), (1, 1), (3, 1), (8, 2)):
        assert derive_schedule(toy.cfg("SAD.yaml", *opts, period), 4).TEST.EVAL_PERIOD == scaled


@pytest.mark.parametrize("max_iter", [1, 2, 3, 5])
def test_very_short_runs_train(toy, max_iter):
    """The first thing anybody tries is a run of a few iterations."""
    cfg = derive_schedule(toy.cfg("student.yaml", "SOLVER.MAX_ITER", max_iter), 1)
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.02)
    SADTrainer.build_lr_scheduler(cfg, optimizer)
