"""When the learning rate drops, and what a run is in one line."""

import logging

from detectron2.engine import DefaultTrainer

from ..config.defaults import distills, stops_early
from ..utils.errors import UserError

logger = logging.getLogger(__name__)


def derive_schedule(cfg, world_size: int):
    """A copy of the config scaled to the ranks, with SOLVER.LR_DROPS turned into SOLVER.STEPS.

    The drops are shares of MAX_ITER after Detectron2's REFERENCE_WORLD_SIZE scaling, which scales
    STEPS that were given.

    Raises:
        UserError: the batch cannot be scaled, both STEPS and LR_DROPS are given, or the config has
            not what early stop needs.
    """
    solver = cfg.SOLVER
    if stops_early(cfg):
        _check_early_stop(cfg)
    if solver.STEPS and solver.LR_DROPS:
        raise UserError(
            f"SOLVER.STEPS is {solver.STEPS} and SOLVER.LR_DROPS is {solver.LR_DROPS}, which both "
            "say when the learning rate drops: give one, and () for the other"
        )
    if solver.REFERENCE_WORLD_SIZE and solver.IMS_PER_BATCH % solver.REFERENCE_WORLD_SIZE:
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {solver.IMS_PER_BATCH}, it must be a multiple of "
            f"SOLVER.REFERENCE_WORLD_SIZE {solver.REFERENCE_WORLD_SIZE}"
        )
    max_iter, evaluates = cfg.SOLVER.MAX_ITER, cfg.TEST.EVAL_PERIOD > 0
    cfg = DefaultTrainer.auto_scale_workers(cfg, world_size).clone()
    cfg.defrost()
    for name in cfg.SAD.DISTILL.TERMS:
        term = cfg.SAD.DISTILL[name.upper()]
        term.WARMUP_ITERS = round(term.WARMUP_ITERS * cfg.SOLVER.MAX_ITER / max(1, max_iter))
    cfg.SOLVER.CHECKPOINT_PERIOD = max(1, cfg.SOLVER.CHECKPOINT_PERIOD)  # scaled to 0, perhaps
    cfg.TEST.EVAL_PERIOD = max(int(evaluates), cfg.TEST.EVAL_PERIOD)
    solver = cfg.SOLVER
    late = [step for step in solver.STEPS if step >= solver.MAX_ITER]
    if late:
        logger.warning(f"SOLVER.STEPS {late} are left out, SOLVER.MAX_ITER is {solver.MAX_ITER}")
    wanted = [round(share * solver.MAX_ITER) for share in solver.LR_DROPS] or solver.STEPS
    # Steps fall together in very short runs, and Detectron2 takes fewer of them than iterations.
    steps = tuple(sorted({step for step in wanted if 0 < step < solver.MAX_ITER}))
    solver.STEPS = steps if len(steps) < solver.MAX_ITER else ()
    first = min([*solver.STEPS, solver.MAX_ITER])
    if solver.WARMUP_ITERS > first or solver.WARMUP_ITERS == solver.MAX_ITER:
        what = "first drop of the learning rate" if first < solver.MAX_ITER else "end"
        logger.warning(
            f"SOLVER.WARMUP_ITERS {solver.WARMUP_ITERS} goes beyond the {what} at {first}: the "
            f"learning rate never comes to SOLVER.BASE_LR {solver.BASE_LR:g}"
        )
    solver.LR_DROPS = ()
    cfg.freeze()
    return cfg


def _check_early_stop(cfg) -> None:
    solver, key = cfg.SOLVER, f"SOLVER.EARLY_STOP.PATIENCE {cfg.SOLVER.EARLY_STOP.PATIENCE}"
    if not (cfg.TEST.EVAL_PERIOD and cfg.DATASETS.TEST):
        missing = "a data set in DATASETS.TEST" if cfg.TEST.EVAL_PERIOD else "TEST.EVAL_PERIOD"
        raise UserError(f"{key} watches the AP of evaluations on the way: give {missing}, or 0")
    if solver.LR_SCHEDULER_NAME != "WarmupMultiStepLR":
        raise UserError(
            f"{key} goes from one drop of the learning rate to the next, and "
            f"SOLVER.LR_SCHEDULER_NAME {solver.LR_SCHEDULER_NAME} has none: give "
            "WarmupMultiStepLR, or a PATIENCE of 0"
        )
    for name in cfg.SAD.DISTILL.TERMS if distills(cfg) else ():
        if cfg.SAD.DISTILL[name.upper()].DECAY_TO < 1:
            raise UserError(
                f"{key} may end the run early, and SAD.DISTILL.{name.upper()}.DECAY_TO lets the "
                "weight of that term depend on the number of iterations: leave one of them out"
            )


def describe_start(cfg, num_labeled: int, num_unlabeled: int, world_size: int) -> str:
    """Effective batch, mix and learning rate in one line; `cfg` is that of `derive_schedule`."""
    solver, mix = cfg.SOLVER, cfg.SAD.LOADER.MIX
    labeled, unlabeled = (
        "+".join(name for name in names if name == "hard" or distills(cfg)) or "none"
        for names in (cfg.SAD.TARGETS.LABELED, cfg.SAD.TARGETS.UNLABELED)
    )
    terms = [
        f"{cfg.SAD.DISTILL[name.upper()].WEIGHT:g} x {name}"
        for name in (cfg.SAD.DISTILL.TERMS if distills(cfg) else ())
    ]
    taught = f"; taught by {' + '.join(terms)}" if terms else ""
    steps = solver.ACCUMULATION_STEPS
    by_steps = solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR"
    drops = f"times {solver.GAMMA:g} at {solver.STEPS}" if by_steps else solver.LR_SCHEDULER_NAME
    stop = solver.EARLY_STOP
    early = (
        f"; early stop: {stop.PATIENCE} evaluations, one every {cfg.TEST.EVAL_PERIOD} iterations, "
        f"without a gain of more than {stop.MIN_GAIN:g} AP on {cfg.DATASETS.TEST[0]} lead to the "
        "next drop, or to the end"
        if stops_early(cfg)
        else ""
    )
    everything = num_labeled + num_unlabeled
    share = {
        "alternate": (1 + num_labeled / everything) / 2,
        "union": num_labeled / everything,
        "ratio": cfg.SAD.LOADER.RATIO[0] / sum(cfg.SAD.LOADER.RATIO),
    }[mix if num_unlabeled else "union"]
    return (
        f"Effective batch {solver.IMS_PER_BATCH} = {world_size} ranks x {steps} accumulation "
        f"steps x {solver.IMS_PER_BATCH // (world_size * steps)} images a forward, loss "
        f"normalisers {solver.LOSS_NORMALIZERS}; mix {mix} of {num_labeled} labelled and "
        f"{num_unlabeled} unlabelled images: {share:.0%} of the images seen are labelled, targets "
        f"{labeled} on labelled and {unlabeled} on unlabelled{taught}; "
        f"learning rate {solver.BASE_LR:g} over {solver.MAX_ITER} iterations, warm-up "
        f"{solver.WARMUP_ITERS}, {drops}{early}"
    )
