"""What makes two runs the same experiment."""

import logging
import re
from importlib.metadata import PackageNotFoundError, version

from detectron2.data import MetadataCatalog
from detectron2.utils import comm

from ..utils.errors import UserError
from ..utils.files import sha256
from .defaults import distills, flat, stops_early
from .detector_keys import others_of
from .load import get_sad_cfg

logger = logging.getLogger(__name__)

# What training does not depend on: where files lie, and what a run does besides.
NOT_SETTINGS = (
    *("OUTPUT_DIR", "SAD.TEACHER.WEIGHTS", "SAD.TEACHER.CONFIG_FILE", "DATASETS.REGISTER"),
    *("MODEL.DEVICE", "DATALOADER.NUM_WORKERS", "SOLVER.CHECKPOINT"),
    *("TEST.EVAL_PERIOD", "DATASETS.VAL", "SAD.TEACHER.CACHE.LEAVE_FREE_GB", "SAD.WATCH"),
)


def timm_version() -> str | None:
    """Where it is installed. What a teacher says depends on it to the last bit."""
    try:
        return version("timm")
    except PackageNotFoundError:
        return None


def settings(cfg) -> dict:
    """The value of every key that training may depend on: {"SOLVER.BASE_LR": 0.2}."""
    found = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in flat(cfg)
        if not key.startswith(NOT_SETTINGS)
    }
    if stops_early(cfg):
        found["TEST.EVAL_PERIOD"] = cfg.TEST.EVAL_PERIOD
    found["SAD.DISTILL.TERMS"] = sorted(found["SAD.DISTILL.TERMS"])  # a sum of them
    # Whether answers are kept decides how they are rounded, not where they lie.
    found["SAD.TEACHER.CACHE.DIR"] = bool(found["SAD.TEACHER.CACHE.DIR"])
    return found


def training_settings(cfg) -> dict:
    """Those of `settings` that have not their default."""
    default = settings(get_sad_cfg())
    return {key: value for key, value in settings(cfg).items() if default.get(key) != value}


def describe_run(cfg) -> dict:
    """All that tells one experiment from another: {key or what it is: value}."""
    described = {**_settings(cfg), NUMBER_OF_RANKS: comm.get_world_size()}
    deciding = cfg.DATASETS.TEST[:1] if stops_early(cfg) else ()
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED, *deciding):
        if json_file := MetadataCatalog.get(name).get("json_file"):
            described[f"the sha256 of {name}'s annotations"] = sha256(json_file)
    return described | describe_teacher(cfg) if distills(cfg) else described


def describe_teacher(cfg) -> dict:
    """All that tells one teacher from another, as `describe_run`."""
    teacher = cfg.SAD.TEACHER
    of_network = network_settings(get_sad_cfg(teacher.CONFIG_FILE))
    described = {"the sha256 of SAD.TEACHER.WEIGHTS": sha256(teacher.WEIGHTS)}
    return described | {OF_TEACHER + key: value for key, value in of_network.items()}


def network_settings(cfg) -> dict:
    """What a detector's outputs depend on besides its weights."""
    return {
        key: value
        for key, value in _settings(cfg).items()
        if key.startswith(("MODEL.", "INPUT.FORMAT")) and key != "MODEL.WEIGHTS"
    }


# Detectron2 has them for other models, and for its own data loader.
OF_OTHER_MODELS = (
    *("MODEL.SEM_SEG_HEAD", "MODEL.PANOPTIC_FPN", "MODEL.ROI_MASK_HEAD", "MODEL.ROI_KEYPOINT_HEAD"),
    *("MODEL.ROI_BOX_CASCADE_HEAD", "DATASETS.PROPOSAL_FILES", "DATASETS.PRECOMPUTED_PROPOSAL"),
    *("INPUT.MASK_FORMAT", "DATALOADER.SAMPLER_TRAIN", "DATALOADER.REPEAT_THRESHOLD", "GLOBAL."),
)


def _settings(cfg) -> dict:
    others = (*OF_OTHER_MODELS, *others_of(cfg).sections)
    return {k: value for k, value in settings(cfg).items() if not k.startswith(others)}


NUMBER_OF_RANKS = "number of ranks"
OF_TEACHER = "the teacher's "
MAY_CHANGE = (
    # A run may be made longer, and go on elsewhere.
    *("SOLVER.MAX_ITER", "SOLVER.STEPS", "MODEL.WEIGHTS"),
    *("SOLVER.ACCUMULATION_STEPS", "SOLVER.REFERENCE_WORLD_SIZE", NUMBER_OF_RANKS),
    *("SAD.DISTILL.CLASS.FUSED", "SAD.DISTILL.CLASS.COMPILE", "MODEL.CHANNELS_LAST"),
    "CUDNN_BENCHMARK",
    # What a run that stops advises, and where it stops.
    *("SOLVER.BASE_LR", "SOLVER.WARMUP_ITERS", "SOLVER.CLIP_FULL_MODEL_NORM"),
    *("DATALOADER.MAX_UNREADABLE", "DATALOADER.MAX_IMAGE_PIXELS", "DATASETS.MAX_BOXES"),
    # What is only looked at.
    *("VIS_PERIOD", "SAD.TEACHER.CLASS_NAMES"),
)


def may_change(key: str) -> bool:
    """Whether a run may go on with another value of a key of `describe_run`.

    It may where the weights do not depend on the value, or where the user is told to change it:
    `MAY_CHANGE`, and every key that `measures`. Of these TEST.PRECISE_BN counts the
    checkpoint's batch-norm statistics, and a teacher's RPN makes the regions that SAD.DISTILL.
    PROPOSALS may ask for.
    """
    if key.startswith(("TEST.PRECISE_BN", f"{OF_TEACHER}MODEL.RPN.")):
        return False
    return measures(key) or key.removeprefix(OF_TEACHER).startswith(MAY_CHANGE)


def measures(key: str) -> bool:
    """Whether a key of `describe_run` is of tests alone."""
    return "TEST" in re.split(r"[._]", key)


def _decaying(run: dict) -> list[str]:
    """The DECAY_TO of each term that the run has."""
    terms = run.get("SAD.DISTILL.TERMS", ())
    if run.get("MODEL.META_ARCHITECTURE") != "Distiller":
        return []
    return [f"SAD.DISTILL.{name.upper()}.DECAY_TO" for name in terms]


def check_same_run(before: dict, now: dict) -> None:
    """Refuse to go on with another experiment; warn of what may change with care.

    Args:
        before, now: see `describe_run`.
    Raises:
        UserError: naming what differs, and both values.
    """
    changes = {
        key: (before.get(key, "nothing"), now.get(key, "nothing"))
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    }
    decays = [key for key in _decaying(now) if now[key] < 1]
    if decays and "SOLVER.MAX_ITER" in changes:
        raise UserError(
            f"{decays[0]} is {now[decays[0]]}, so the weight of that term depends on "
            "SOLVER.MAX_ITER: a run that has begun cannot be made longer or shorter"
        )
    for key in filter(may_change, list(changes)):
        logger.warning("Going on with another %s: %s before, %s now", key, *changes.pop(key))
    if changes:
        named = "; ".join(f"{key} {old} before, {new} now" for key, (old, new) in changes.items())
        raise UserError(
            f"--resume goes on with the same experiment, and this one differs: {named} (to start "
            "a new one from its weights, give them as MODEL.WEIGHTS and another OUTPUT_DIR)"
        )
