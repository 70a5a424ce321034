"""Values of a config that are refused: a rule a key, and the few rules of several keys."""

import re

import pytest

from sad.config.defaults import flat
from sad.config.load import get_sad_cfg
from sad.preflight.values import (
    RULES,
    check_config,
    check_evaluation_values,
    check_training_values,
)
from sad.terms import TERMS
from sad.utils.errors import UserError
from toy import REPOSITORY

CONFIGS = sorted((REPOSITORY / "configs").glob("*/*.yaml"))
CONFIGS = [path for path in CONFIGS if path.parent.name != "networks"]  # parts of configs
OF_DENSE = [path for path in CONFIGS if not path.name.startswith(("FasterRCNN", "TAR"))]
SAD_YAML = ("MODEL.META_ARCHITECTURE", "Distiller")
RCNN = (
    *("SAD.STUDENT.META_ARCHITECTURE", "GeneralizedRCNN"),
    *("MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead"),
    *("MODEL.ROI_BOX_HEAD.NUM_FC", 2),
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.META_ARCHITECTURE", "PanopticFPN"),
        ("SAD.DISTILL.CLASS.LOSS", "mse"),
        ("SAD.DISTILL.CLASS.FORM", "hinge"),
        ("SAD.DISTILL.CLASS.NORMALIZER", "anchors"),
        ("SAD.DISTILL.CLASS.GAMMA", -1.0),
        ("SAD.DISTILL.CLASS.BETA", -0.5),
        ("SAD.DISTILL.CLASS.WEIGHT", -0.5),
        ("SAD.TEACHER.PRECISION", "float64"),
        ("SOLVER.AMP.PRECISION", "float32"),
        ("SAD.TARGETS.LABELED", ("hard", "sotf")),
        ("SAD.TARGETS.UNLABELED", ("GT",)),
        ("SAD.LOADER.MIX", "mixed"),
        ("SAD.LOADER.RATIO", (0, 0)),
        ("SAD.LOADER.RATIO", (1, 0)),
        ("SAD.LOADER.RATIO", (0, 3)),
        ("SAD.LOADER.RATIO", (1,)),
        ("SAD.LOADER.RATIO", (1, -1)),
        ("SAD.LOADER.RATIO", (0.5, 0.5)),
        ("SAD.LOADER.RATIO", (1, 1, 1)),
        ("SOLVER.LR_DROPS", (0.9, 0.7)),
        ("SOLVER.LR_DROPS", (7.0,)),
        ("MODEL.RETINANET.BBOX_REG_WEIGHTS", (1.0, 1.0, 0.0, 1.0)),
        ("MODEL.RETINANET.BBOX_REG_WEIGHTS", (1.0, 1.0)),
    ],
)
def test_refused_values(key, value):
    opts = [*SAD_YAML, "DATASETS.TRAIN", ("coco_2017_train",), "DATASETS.UNLABELED", ("u",)]
    opts += ["SAD.LOADER.MIX", "ratio", "SOLVER.AMP.ENABLED", True]
    check_config(get_sad_cfg("", opts))
    with pytest.raises(UserError, match=re.escape(key)) as error:
        check_config(get_sad_cfg("", [*opts, key, value]))
    if not isinstance(value, tuple):
        assert str(value) in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "with_it"),
    [
        ("DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler", ()),
        ("DATALOADER.REPEAT_THRESHOLD", 0.001, ()),
        ("TEST.AUG.ENABLED", True, ()),
        ("SOLVER.LR_SCHEDULER_NAME", "WarmupStepWithFixedGammaLR", ()),
        ("SOLVER.RESCALE_INTERVAL", True, ()),
        ("SOLVER.BASE_LR", 0.0, ("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR")),
        ("INPUT.CROP.TYPE", "random", ("INPUT.CROP.ENABLED", True)),
        ("INPUT.CROP.SIZE", (300, 300), ("INPUT.CROP.ENABLED", True)),
        ("INPUT.MIN_SIZE_TRAIN", (640,), ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range")),
        ("INPUT.MIN_SIZE_TRAIN", (800, 640), ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range")),
        ("SOLVER.AMP.ENABLED", True, ("MODEL.META_ARCHITECTURE", "FCOS")),
    ],
)
def test_what_a_training_cannot_do(key, value, with_it):
    """A teacher that only labels may have been trained so."""
    cfg = get_sad_cfg("", ["MODEL.META_ARCHITECTURE", "RetinaNet", *with_it, key, value])
    check_config(cfg)
    with pytest.raises(UserError, match=re.escape(key)):
        check_training_values(cfg)
    if key == "TEST.AUG.ENABLED":
        with pytest.raises(UserError, match=re.escape(key)):
            check_evaluation_values(cfg)
    else:
        check_evaluation_values(cfg)


def test_keys_of_backbones_and_detectors_that_are_not_there_are_refused():
    retinanet = ["MODEL.META_ARCHITECTURE", "RetinaNet", "MODEL.BACKBONE.NAME"]
    timm = ["MODEL.TIMM.NAME", "resnet18"]
    check_config(get_sad_cfg("", [*retinanet, "build_timm_fpn_backbone", *timm]))
    upsampled = [*retinanet, "build_upsampled_backbone", "MODEL.UPSAMPLED.BACKBONE"]
    check_config(get_sad_cfg("", [*upsampled, "build_timm_fpn_backbone", *timm]))
    resnet = "build_retinanet_resnet_fpn_backbone"
    for opts in (
        timm,
        ["MODEL.UPSAMPLED.BACKBONE", "build_small_resnet_fpn_backbone"],
        ["MODEL.FCOS.CENTER_SAMPLING_RADIUS", 2.0],
    ):
        with pytest.raises(UserError, match=f"{opts[0]} is .*, but has no say beside"):
            check_config(get_sad_cfg("", [*retinanet, resnet, *opts]))


@pytest.mark.parametrize(
    ("key", "value", "reads_it"),
    [
        ("SOLVER.AMP.PRECISION", "float16", ("SOLVER.AMP.ENABLED", True)),
        ("SOLVER.LR_DROPS", (0.5,), ("SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR")),
        ("SAD.LOADER.MIX", "union", ("DATASETS.UNLABELED", ("u",))),
        ("SAD.LOADER.RATIO", (1, 2), ("DATASETS.UNLABELED", ("u",), "SAD.LOADER.MIX", "ratio")),
    ],
)
def test_keys_that_nothing_reads_are_refused(key, value, reads_it):
    opts = [*SAD_YAML, "SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", key, value]
    check_config(get_sad_cfg("", [*opts, *reads_it]))
    with pytest.raises(UserError, match=f"{re.escape(key)} is .*, but has no say beside"):
        check_config(get_sad_cfg("", opts))


def test_unlabeled_images_need_the_student_of_a_teacher():
    opts = ["MODEL.META_ARCHITECTURE", "RetinaNet", "DATASETS.TRAIN", ("coco_2017_train",)]
    with pytest.raises(UserError, match=r"DATASETS\.UNLABELED.*Distiller"):
        check_config(get_sad_cfg("", [*opts, "DATASETS.UNLABELED", ("digits_unlabeled",)]))


@pytest.mark.parametrize("key", ["LABELED", "UNLABELED"])
def test_foreground_normalizer_needs_hard_targets(key):
    opts = [*SAD_YAML, "DATASETS.TRAIN", ("coco_2017_train",)]
    opts += ["DATASETS.UNLABELED", ("u",), "SAD.DISTILL.CLASS.NORMALIZER", "foreground"]
    check_config(get_sad_cfg("", opts))
    with pytest.raises(UserError, match="NORMALIZER foreground"):
        check_config(get_sad_cfg("", [*opts, f"SAD.TARGETS.{key}", ("soft",)]))


LOSS, TARGETS = "SAD.DISTILL.CLASS.LOSS", "SAD.TARGETS."
OFF = ("SAD.DISTILL.TERMS", "()")
UNLABELED = ("DATASETS.UNLABELED", ("u",))


@pytest.mark.parametrize(
    ("opts", "named"),
    [
        ((f"{TARGETS}LABELED", ("hard",)), "learns from soft targets"),
        ((*UNLABELED, f"{TARGETS}LABELED", ("hard",), f"{TARGETS}UNLABELED", ("hard",)), "soft"),
        ((f"{TARGETS}LABELED", ()), "SAD.TARGETS.LABELED is ()"),
        ((*UNLABELED, f"{TARGETS}UNLABELED", ()), "SAD.TARGETS.UNLABELED is ()"),
        ((*OFF, f"{TARGETS}LABELED", ("soft",)), "SAD.TARGETS.LABELED is ('soft',)"),
        (
            (*UNLABELED, *OFF, f"{TARGETS}UNLABELED", ("soft",)),
            "SAD.TARGETS.UNLABELED is ('soft',)",
        ),
        (("SAD.DISTILL.CLASS.WEIGHT", 0.0), "SAD.DISTILL.CLASS.WEIGHT is 0"),
    ],
)
def test_images_and_teachers_that_nothing_is_learnt_from(opts, named):
    with pytest.raises(UserError, match=re.escape(named)):
        check_config(get_sad_cfg("", [*SAD_YAML, *opts]))


@pytest.mark.parametrize(
    "opts",
    [
        (f"{TARGETS}UNLABELED", ()),  # of no images
        (f"{TARGETS}UNLABELED", ("soft",), *OFF),
        (*UNLABELED, f"{TARGETS}LABELED", ("hard",)),
        (*UNLABELED, f"{TARGETS}LABELED", ("hard",), f"{TARGETS}UNLABELED", ("soft",)),
        (f"{TARGETS}UNLABELED", ("soft",), LOSS, "fdl"),
        (*OFF, "SAD.DISTILL.CLASS.WEIGHT", 0.0),
        (*OFF, f"{TARGETS}LABELED", ("hard",)),
    ],
)
def test_targets_that_something_is_learnt_from(opts):
    check_config(get_sad_cfg("", [*SAD_YAML, *opts]))


LOSSES = {"adl", "kl", "fdl", "l2", "qfl"}  # of logits
IDLE = {  # key -> another value than the default, and the losses that read it
    "GAMMA": (1.0, {"adl", "fdl", "qfl"}),
    "BETA": (0.0, {"adl"}),
    "FORM": ("cross_entropy", {"adl"}),
    "NORMALIZER": ("elements", LOSSES),
    "NORMALIZER_POWER": (1.0, LOSSES),
    "TOP": (0.01, LOSSES - {"l2"}),
    "COMPILE": ("always", LOSSES),
}


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("key", IDLE)
def test_keys_that_the_loss_does_not_read_are_refused(key, loss):
    value, losses = IDLE[key]
    key = f"SAD.DISTILL.CLASS.{key}"
    cfg = get_sad_cfg("", [*SAD_YAML, LOSS, loss, key, value])
    if loss in losses:
        check_config(cfg)
        return
    with pytest.raises(UserError, match=f"{key} is {value}, .*{LOSS} {loss}"):
        check_config(cfg)


@pytest.mark.parametrize("term", TERMS)
def test_keys_of_terms_that_are_not_named_are_refused(term):
    """Unless none is: that switches off what the yaml may set."""
    key = f"SAD.DISTILL.{term.upper()}.WEIGHT"
    of_regions = term.startswith("roi_")
    opts = [*SAD_YAML, *(RCNN if of_regions else ()), key, 0.75, "SAD.DISTILL.TERMS"]
    check_config(get_sad_cfg("", [*opts, (term,)]))
    check_config(get_sad_cfg("", [*opts, "()"]))
    others = tuple(name for name in TERMS if name != term and name.startswith("roi_") == of_regions)
    with pytest.raises(UserError, match=rf"{key} is 0\.75, .*SAD\.DISTILL\.TERMS"):
        check_config(get_sad_cfg("", [*opts, others]))


@pytest.mark.parametrize("key", ["LABELED", "UNLABELED"])
def test_better_boxes_need_hard_targets(key):
    opts = [*SAD_YAML, *UNLABELED, "SAD.DISTILL.TERMS", "('box',)", "SAD.DISTILL.BOX.ANCHORS"]
    check_config(get_sad_cfg("", [*opts, "better"]))
    check_config(get_sad_cfg("", [*opts, "all", f"SAD.TARGETS.{key}", ("soft",)]))
    with pytest.raises(UserError, match="ANCHORS better"):
        check_config(get_sad_cfg("", [*opts, "better", f"SAD.TARGETS.{key}", ("soft",)]))


@pytest.mark.parametrize(
    ("key", "value", "beside"),
    [
        ("SAD.DISTILL.CLASS.ALPHA", 0.25, "SAD.DISTILL.CLASS.FORM kl"),
        ("SAD.DISTILL.CLASS.COMPILE", "always", "SAD.DISTILL.CLASS.FUSED False"),
        ("SAD.DISTILL.CLASS.NORMALIZER_POWER", 1.0, "SAD.DISTILL.CLASS.NORMALIZER elements"),
        ("SAD.DISTILL.CLASS.TOP", 0.01, "SAD.DISTILL.CLASS.LOSS l2"),
        ("SAD.LOADER.RATIO", (1, 3), "SAD.LOADER.MIX union"),
        ("SOLVER.EARLY_STOP.MIN_GAIN", 0.5, "SOLVER.EARLY_STOP.PATIENCE 0"),
    ],
)
def test_keys_that_another_key_leaves_without_a_say_are_refused(key, value, beside):
    opts = [*SAD_YAML, *UNLABELED, *beside.split(), key, value]
    sentence = re.escape(f"{key} is {value}, but has no say beside {beside}")
    with pytest.raises(UserError, match=sentence):
        check_config(get_sad_cfg("", opts))


@pytest.mark.parametrize("path", OF_DENSE, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        (LOSS, "kl"),
        (LOSS, "l2"),
        ("SAD.DISTILL.TERMS", ()),
        ("SAD.DISTILL.TERMS", ("feature",)),
        ("SAD.DISTILL.TERMS", ("class", "box")),
    ],
)
def test_one_option_sets_another_loss_on_every_yaml(path, key, value):
    cfg = get_sad_cfg(str(path), [key, value])
    without = not cfg.SAD.DISTILL.TERMS and cfg.DATASETS.UNLABELED
    refused = ""
    if without and "hard" not in cfg.SAD.TARGETS.UNLABELED:
        refused = r"SAD\.TARGETS\.UNLABELED"
    elif key == LOSS and cfg.SAD.DISTILL.TERMS and "class" not in cfg.SAD.DISTILL.TERMS:
        refused = LOSS
    if refused:
        with pytest.raises(UserError, match=refused):
            check_config(cfg)
    else:
        check_config(cfg)


def test_a_plain_student_has_early_stop_too():
    gain = ["MODEL.META_ARCHITECTURE", "RetinaNet", "SOLVER.EARLY_STOP.MIN_GAIN", 0.5]
    check_config(get_sad_cfg("", [*gain, "SOLVER.EARLY_STOP.PATIENCE", 3]))
    with pytest.raises(UserError, match=r"MIN_GAIN is 0\.5, but has no say beside .*PATIENCE 0"):
        check_config(get_sad_cfg("", gain))


def test_a_plain_student_with_keys_of_sad_is_warned_of(log):
    plain = ["MODEL.META_ARCHITECTURE", "RetinaNet"]
    check_config(get_sad_cfg("", [*plain, "SAD.TEACHER.PRECISION", "bfloat16"]))  # labelling's
    check_config(get_sad_cfg("", [*plain, "SAD.LOADER.VIEW_EPOCHS", 4]))  # also of a student alone
    assert log == []
    opts = [LOSS, "kl", "SAD.DISTILL.CLASS.GAMMA", 1.0, "SAD.TEACHER.CONFIG_FILE", "teacher.yaml"]
    check_config(get_sad_cfg("", [*plain, *opts]))
    assert len(log) == 1
    assert "SAD.TEACHER.CONFIG_FILE, SAD.DISTILL.CLASS.LOSS, SAD.DISTILL.CLASS.GAMMA" in log[0]


def test_every_rule_holds_for_the_default_and_refuses_something():
    values = dict(flat(get_sad_cfg("", SAD_YAML)))
    for key, rule in RULES.items():
        assert rule.holds(values[key]), key
        wrong = [-1, -1.0, (-1,), ((-1,),), (2, 1), 0, 1, "x", ("x",), 2**40, True]
        alike = [x for x in wrong if type(x) is type(values[key])]
        alike += [list(x) for x in wrong if isinstance(x, tuple) and isinstance(values[key], list)]
        assert any(_refused(key, x) for x in alike), key


def _refused(key, value) -> bool:
    cfg = get_sad_cfg("", SAD_YAML)
    *sections, last = key.split(".")
    node = cfg
    for section in sections:
        node = node[section]
    node[last] = value
    try:
        check_config(cfg)
    except UserError as error:
        return str(error).startswith(f"{key} is ")
    return False
