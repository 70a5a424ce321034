"""When the learning rate drops, and what a run is in one line."""

import logging

from detectron2.engine import DefaultTrainer

from ..config.defaults import distills
from ..utils.errors import UserError

logger = logging.getLogger(__name__)


def derive_schedule(cfg, world_size: int):
    """A copy of the config scaled to the ranks, with SOLVER.LR_DROPS turned into SOLVER.STEPS.

    The drops are shares of MAX_ITER after Detectron2's REFERENCE_WORLD_SIZE scaling, which scales
    STEPS that were given.

    Raises:
        UserError: the batch cannot be scaled, or both STEPS and LR_DROPS are given.
    """
    solver = cfg.SOLVER
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
    max_iter = cfg.SOLVER.MAX_ITER
    cfg = DefaultTrainer.auto_scale_workers(cfg, world_size).clone()
    cfg.defrost()
    for name in cfg.SAD.DISTILL.TERMS:
        term = cfg.SAD.DISTILL[name.upper()]
        term.WARMUP_ITERS = round(term.WARMUP_ITERS * cfg.SOLVER.MAX_ITER / max(1, max_iter))
    cfg.SOLVER.CHECKPOINT_PERIOD = max(1, cfg.SOLVER.CHECKPOINT_PERIOD)  # scaled to 0, perhaps
    solver = cfg.SOLVER
    late = [step for step in solver.STEPS if step >= solver.MAX_ITER]
    if late:
        logger.warning(f"SOLVER.STEPS {late} are left out, SOLVER.MAX_ITER is {solver.MAX_ITER}")
    wanted = [round(share * solver.MAX_ITER) for share in solver.LR_DROPS] or solver.STEPS
    # Steps fall together in very short runs, and Detectron2 takes fewer of them than iterations.
    steps = tuple(sorted({step for step in wanted if 0 < step < solver.MAX_ITER}))
    solver.STEPS = steps if len(steps) < solver.MAX_ITER else ()
    solver.LR_DROPS = ()
    cfg.freeze()
    return cfg


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
        f"{solver.WARMUP_ITERS}, {drops}"
    )
