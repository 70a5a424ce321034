"""Values that would only fail, or silently mislead, once training has begun: one line per key."""

import logging
import math
import re

import torch
from detectron2.modeling import BACKBONE_REGISTRY

from ..config.defaults import defaults, detector_name, flat
from ..config.detector_keys import keys_of, value_of
from ..config.load import idle_keys
from ..engine.watch import WATCHERS
from ..modeling.adapters import ADAPTERS
from ..modeling.adapters.adapter import BOX_REG_LOSSES, BOX_WEIGHTS, BOXES_ALONE
from ..terms import TERMS
from ..utils.errors import UserError, did_you_mean
from ..utils.rules import (
    Rule,
    above,
    at_least,
    check,
    count,
    each,
    number,
    one_of,
    positive,
    share,
    text,
    within,
)
from .cache import check_cache
from .targets import check_targets

logger = logging.getLogger(__name__)

RULES = {
    "MODEL.META_ARCHITECTURE": one_of(*ADAPTERS, "Distiller"),
    "MODEL.FCOS.CENTER_SAMPLING_RADIUS": above(0),
    "MODEL.MASK_ON": BOXES_ALONE,
    "MODEL.KEYPOINT_ON": BOXES_ALONE,
    "MODEL.PIXEL_MEAN": each(number),
    "MODEL.PIXEL_STD": each(positive),
    "MODEL.FPN.LAST_LEVEL": within(5, 7),
    "MODEL.SMALL_RESNET.BLOCKS": each(count),
    "MODEL.TIMM.NORM": one_of("BN", "SyncBN", "FrozenBN"),
    "MODEL.ANCHOR_GENERATOR.NAME": one_of("DefaultAnchorGenerator"),
    "MODEL.ANCHOR_GENERATOR.SIZES": each(each(positive)),
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": each(each(positive)),
    "MODEL.RETINANET.NUM_CLASSES": at_least(1),
    "MODEL.RETINANET.NUM_CONVS": at_least(0),
    "MODEL.RETINANET.PRIOR_PROB": Rule(lambda x: 0 < x < 1, "between 0 and 1"),
    "MODEL.RETINANET.FOCAL_LOSS_GAMMA": at_least(0),
    "MODEL.RETINANET.SCORE_THRESH_TEST": within(0, 1),
    "MODEL.RETINANET.NMS_THRESH_TEST": within(0, 1),
    "MODEL.RETINANET.TOPK_CANDIDATES_TEST": at_least(1),
    "MODEL.RETINANET.BBOX_REG_LOSS_TYPE": BOX_REG_LOSSES,
    "MODEL.RETINANET.BBOX_REG_WEIGHTS": BOX_WEIGHTS,
    "INPUT.FORMAT": one_of("BGR", "RGB", "L", "YUV-BT.601"),
    "INPUT.RANDOM_FLIP": one_of("horizontal", "vertical", "none"),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": one_of("choice", "range"),
    "INPUT.MIN_SIZE_TRAIN": each(count),
    "INPUT.MAX_SIZE_TRAIN": at_least(1),
    "INPUT.MIN_SIZE_TEST": at_least(0),
    "INPUT.MAX_SIZE_TEST": at_least(1),
    "DATASETS.TRAIN": each(text, least=0),
    "DATASETS.UNLABELED": each(text, least=0),
    "DATASETS.TEST": each(text, least=0),
    "DATASETS.VAL": each(text, least=0),
    "DATASETS.MAX_BOXES_OUTSIDE": within(0, 1),
    "DATASETS.MAX_BOXES_UNDER_A_PIXEL": within(0, 1),
    "DATASETS.LABELED_SHARE": share,
    "DATASETS.LABELED_SHARE_SEED": at_least(0),
    "DATALOADER.NUM_WORKERS": at_least(0),
    "DATALOADER.MAX_UNREADABLE": within(0, 1),
    "DATALOADER.MAX_IMAGE_PIXELS": at_least(1),
    "SOLVER.BASE_LR": at_least(0),
    "SOLVER.MAX_ITER": at_least(0),
    "SOLVER.IMS_PER_BATCH": at_least(1),
    "SOLVER.ACCUMULATION_STEPS": at_least(1),
    "SOLVER.REFERENCE_WORLD_SIZE": at_least(0),
    "SOLVER.LOSS_NORMALIZERS": one_of("local", "global"),
    "SOLVER.LR_SCHEDULER_NAME": one_of(
        "WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR"
    ),
    "SOLVER.LR_DROPS": Rule(
        lambda x: all(0 < y < 1 for y in x) and list(x) == sorted(set(x)),
        "rising shares of MAX_ITER, between 0 and 1",
    ),
    "SOLVER.STEPS": Rule(
        lambda x: each(count, 0).holds(x) and list(x) == sorted(set(x)),
        "rising iterations, above 0",
    ),
    "SOLVER.GAMMA": above(0),
    "SOLVER.MOMENTUM": Rule(lambda x: 0 <= x < 1, "at least 0 and below 1"),
    "SOLVER.WEIGHT_DECAY": at_least(0),
    "SOLVER.WARMUP_ITERS": at_least(0),
    "SOLVER.WARMUP_FACTOR": within(0, 1),
    "SOLVER.WARMUP_METHOD": one_of("linear", "constant"),
    "SOLVER.CHECKPOINT_PERIOD": at_least(1),
    "SOLVER.CHECKPOINTS_TO_KEEP": at_least(0),
    "SOLVER.EARLY_STOP.PATIENCE": at_least(0),
    "SOLVER.EARLY_STOP.MIN_GAIN": at_least(0),
    "SOLVER.CLIP_FULL_MODEL_NORM": at_least(0),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": one_of("value", "norm"),
    "SOLVER.AMP.PRECISION": one_of("bfloat16", "float16"),
    "TEST.EVAL_PERIOD": at_least(0),
    "TEST.DETECTIONS_PER_IMAGE": at_least(1),
    # numpy's and torch's seeds; one is added for each rank.
    "SEED": Rule(lambda x: x < 2**31, "below 2147483648; -1 is another one each time"),
    "SAD.TEACHER.CLASS_NAMES": each(text, least=0),
    "SAD.TEACHER.PRECISION": one_of("float32", "bfloat16", "float16"),
    "SAD.TEACHER.INPUT_SCALE": above(0),
    "SAD.TEACHER.CACHE.FLOOR": Rule(lambda x: 0 <= x < 1, "at least 0 and below 1"),
    "SAD.TEACHER.CACHE.LEAVE_FREE_GB": at_least(0),
    "SAD.STUDENT.META_ARCHITECTURE": one_of(*ADAPTERS),
    "SAD.DISTILL.TERMS": each(one_of(*TERMS), least=0),
    "SAD.DISTILL.PROPOSALS": one_of("student", "teacher", "union"),
    "SAD.TARGETS.LABELED": each(one_of("hard", "soft"), least=0),
    "SAD.TARGETS.UNLABELED": each(one_of("hard", "soft"), least=0),
    "SAD.LOADER.MIX": one_of("alternate", "union", "ratio"),
    "SAD.LOADER.VIEW_EPOCHS": at_least(1),
    "SAD.LOADER.RATIO": Rule(
        lambda x: len(x) == 2 and each(count).holds(x), "two counts of images, each above 0"
    ),
    "SAD.WATCH.TO": each(one_of(*WATCHERS), least=0),
    "SAD.WATCH.PICTURES": at_least(0),
}
RULES |= {
    f"SAD.DISTILL.{name.upper()}.{key}": rule
    for name, term in TERMS.items()
    for key, rule in term.RULES.items()
}


# Of what is trained or evaluated here; a teacher may have been trained in other ways.
EVALUATION_RULES = {
    "TEST.AUG.ENABLED": Rule(lambda x: not x, "False, as images are evaluated as they are"),
}
TRAINING_RULES = EVALUATION_RULES | {
    "INPUT.CROP.TYPE": one_of("relative", "relative_range", "absolute", "absolute_range"),
    "INPUT.CROP.SIZE": Rule(
        lambda x: len(x) == 2 and each(positive).holds(x), "height and width, above 0"
    ),
    "DATALOADER.SAMPLER_TRAIN": Rule(
        lambda x: x == "TrainingSampler", "TrainingSampler, as SAD.LOADER draws the images"
    ),
    "DATALOADER.REPEAT_THRESHOLD": Rule(
        lambda x: x == 0, "0.0, as no image is drawn more often than others"
    ),
    # Of WarmupStepWithFixedGammaLR the last rate is none, and the last checkpoint is lost with it.
    "SOLVER.LR_SCHEDULER_NAME": one_of("WarmupMultiStepLR", "WarmupCosineLR"),
    "SOLVER.RESCALE_INTERVAL": Rule(
        lambda x: not x, "False, as the learning rate drops at shares of the iterations"
    ),
}


def check_training_values(cfg) -> None:
    """Check what a config that is trained says by itself, after `check_config`.

    Raises:
        UserError: naming the key, its value and what is allowed.
    """
    _check_rules(cfg, TRAINING_RULES)
    _check_sizes(cfg.INPUT)
    _check_precision(cfg)
    if cfg.SOLVER.LR_SCHEDULER_NAME == "WarmupCosineLR":  # which divides by it
        check("SOLVER.BASE_LR with WarmupCosineLR", cfg.SOLVER.BASE_LR, above(0))


def check_evaluation_values(cfg) -> None:
    """The same of one that is evaluated."""
    _check_rules(cfg, EVALUATION_RULES)


def _check_rules(cfg, rules: dict[str, Rule]) -> None:
    values = dict(flat(cfg))
    for key, rule in rules.items():
        check(key, values[key], rule)


def check_config(cfg) -> None:
    """Check all that the values of a config say by themselves.

    Raises:
        UserError: naming the key, its value and what is allowed.
    """
    values = dict(flat(cfg))
    _check_filled_in(values)
    _check_rules(cfg, RULES)
    ADAPTERS[detector_name(cfg)].check(cfg)
    _check_network(cfg)
    _check_device(cfg.MODEL.DEVICE)
    _check_test_sets(cfg)
    _check_student(cfg)
    for key, beside in idle_keys(cfg).items():
        raise UserError(
            f"{key} is {values[key]}, but has no say beside {beside}: leave one of them out, or "
            f"give {key} its default {defaults()[key]}"
        )


def _check_filled_in(values: dict) -> None:
    """yacs lets None stand for anything, and yaml knows .nan and .inf."""
    for key, value in values.items():
        default = defaults().get(key)
        if value is None and default is not None:
            raise UserError(f"{key} is empty, it must have a value such as {default!r}")
        # The largest of the gradient's values is a norm, too.
        endless = key != "SOLVER.CLIP_GRADIENTS.NORM_TYPE"
        if any(math.isnan(x) or (endless and math.isinf(x)) for x in _floats(value)):
            raise UserError(f"{key} is {value}, it must be finite")


def _floats(value):
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _floats(item)
    elif isinstance(value, float):
        yield value


def _check_network(cfg) -> None:
    backbones = [name for name, _ in BACKBONE_REGISTRY]
    if cfg.MODEL.BACKBONE.NAME not in backbones:
        nearest = did_you_mean(cfg.MODEL.BACKBONE.NAME, backbones)
        raise UserError(
            f"MODEL.BACKBONE.NAME is {cfg.MODEL.BACKBONE.NAME!r}, it must be a registered backbone"
            f"{nearest or ', such as build_retinanet_resnet_fpn_backbone'}"
        )
    channels = 1 if cfg.INPUT.FORMAT == "L" else 3
    for key in ("PIXEL_MEAN", "PIXEL_STD"):
        if len(cfg.MODEL[key]) != channels:
            raise UserError(
                f"MODEL.{key} is {cfg.MODEL[key]}, it must be of length {channels}, the channels "
                f"of INPUT.FORMAT {cfg.INPUT.FORMAT}"
            )
    if not ADAPTERS[detector_name(cfg)].learns_by_overlap:
        return  # it makes its anchors by itself
    key_of_levels = keys_of(cfg).anchor_levels
    levels = len(value_of(cfg, key_of_levels))
    for key in ("SIZES", "ASPECT_RATIOS"):
        given = len(cfg.MODEL.ANCHOR_GENERATOR[key])
        if given not in (1, levels):
            raise UserError(
                f"MODEL.ANCHOR_GENERATOR.{key} is of length {given}, it must be 1 or {levels}, the "
                f"levels of {key_of_levels}"
            )


def _check_device(device: str) -> None:
    """`cuda`, the default, is the GPU where there is one and else the CPU."""
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", device)
    if not match:
        raise UserError(f"MODEL.DEVICE is {device!r}, it must be cpu, cuda or, say, cuda:0")
    gpus = torch.cuda.device_count()
    if match[1] and int(match[1]) >= gpus:
        raise UserError(
            f"MODEL.DEVICE is {device}, but there are {gpus} GPUs: give "
            f"{'cuda:0' if gpus else 'cpu'}, or leave it out"
        )


def _check_sizes(given) -> None:
    sizes, sampling = list(given.MIN_SIZE_TRAIN), given.MIN_SIZE_TRAIN_SAMPLING
    if sampling == "range" and not (len(sizes) == 2 and sizes[0] <= sizes[1]):
        raise UserError(
            f"INPUT.MIN_SIZE_TRAIN is {sizes}, it must be the least and the largest size with "
            "INPUT.MIN_SIZE_TRAIN_SAMPLING range"
        )
    crop = given.CROP
    if crop.ENABLED and crop.TYPE.startswith("relative") and max(crop.SIZE) > 1:
        raise UserError(
            f"INPUT.CROP.SIZE is {list(crop.SIZE)}, it must be at most 1.0 with INPUT.CROP.TYPE "
            f"{crop.TYPE}: shares of the image"
        )


def _check_precision(cfg) -> None:
    if cfg.SOLVER.AMP.ENABLED and cfg.MODEL.META_ARCHITECTURE == "FCOS":
        raise UserError(
            "SOLVER.AMP.ENABLED is True, which the losses of Detectron2's FCOS cannot do: set "
            "MODEL.META_ARCHITECTURE Distiller, SAD.STUDENT.META_ARCHITECTURE FCOS and "
            "SAD.DISTILL.TERMS '()', which trains the same detector"
        )


def _check_test_sets(cfg) -> None:
    names, first = list(cfg.DATASETS.VAL), list(cfg.DATASETS.TEST[: len(cfg.DATASETS.VAL)])
    if names != first:
        raise UserError(
            f"DATASETS.VAL is {names}, it must be the first of DATASETS.TEST "
            f"{list(cfg.DATASETS.TEST)}"
        )


def _check_student(cfg) -> None:
    if cfg.MODEL.META_ARCHITECTURE != "Distiller":
        if cfg.DATASETS.UNLABELED:
            raise UserError(
                f"DATASETS.UNLABELED is {cfg.DATASETS.UNLABELED}, which needs "
                "MODEL.META_ARCHITECTURE Distiller"
            )
        if cfg.SOLVER.LOSS_NORMALIZERS == "global":
            raise UserError(
                "SOLVER.LOSS_NORMALIZERS global needs MODEL.META_ARCHITECTURE Distiller, with "
                "SAD.DISTILL.TERMS '()' for a student alone"
            )
        _warn_of_no_teacher(cfg)
        return
    check_targets(cfg)
    check_cache(cfg)


def _warn_of_no_teacher(cfg) -> None:
    """A yaml of SAD may serve for the plain student; its teacher may be forgotten, too."""
    read = (  # labelling reads two
        *("SAD.TEACHER.PRECISION", "SAD.TEACHER.CLASS_NAMES"),
        *("SAD.LOADER.VIEW_EPOCHS", "SAD.WATCH."),
    )
    idle = [
        key
        for key, value in flat(cfg)
        if key.startswith("SAD.") and value != defaults()[key] and not key.startswith(read)
    ]
    if idle:
        logger.warning(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} trains without a teacher: "
            f"{', '.join(idle)} have no say in it; Distiller would read them"
        )
