"""Values of a config that are refused: a rule a key, and the few rules of several keys."""

import re

import pytest

from sad.config import flat, get_sad_cfg
from sad.config_checks import RULES, check_config
from sad.errors import UserError

SAD_YAML = ("MODEL.META_ARCHITECTURE", "SADRetinaNet")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.META_ARCHITECTURE", "GeneralizedRCNN"),
        ("SAD.DISTILL.LOSS", "mse"),
        ("SAD.DISTILL.FORM", "hinge"),
        ("SAD.DISTILL.NORMALIZER", "anchors"),
        ("SAD.DISTILL.GAMMA", -1.0),
        ("SAD.DISTILL.BETA", -0.5),
        ("SAD.DISTILL.WEIGHT", -0.5),
        ("SAD.TEACHER.PRECISION", "float64"),
        ("SOLVER.AMP.PRECISION", "float32"),
        ("SAD.TARGETS.LABELED", ("hard", "sotf")),
        ("SAD.TARGETS.UNLABELED", ("GT",)),
        ("SAD.LOADER.MIX", "mixed"),
        ("SAD.LOADER.RATIO", (0, 0)),
        ("SAD.LOADER.RATIO", (1,)),
        ("SAD.LOADER.RATIO", (1, -1)),
        ("SAD.LOADER.RATIO", (0.5, 0.5)),
        ("SAD.LOADER.RATIO", (1, 1, 1)),
        ("SOLVER.LR_DROPS", (0.9, 0.7)),
        ("SOLVER.LR_DROPS", (7.0,)),
    ],
)
def test_refused_values(key, value):
    opts = [*SAD_YAML, "DATASETS.TRAIN", ("coco_2017_train",), "SAD.LOADER.MIX", "ratio"]
    check_config(get_sad_cfg("", opts))
    with pytest.raises(UserError, match=re.escape(key)) as error:
        check_config(get_sad_cfg("", [*opts, key, value]))
    if not isinstance(value, tuple):
        assert str(value) in str(error.value)


def test_unlabeled_images_need_the_student_of_a_teacher():
    opts = ["MODEL.META_ARCHITECTURE", "RetinaNet", "DATASETS.TRAIN", ("coco_2017_train",)]
    with pytest.raises(UserError, match=r"DATASETS\.UNLABELED.*SADRetinaNet"):
        check_config(get_sad_cfg("", [*opts, "DATASETS.UNLABELED", ("digits_unlabeled",)]))


@pytest.mark.parametrize("key", ["LABELED", "UNLABELED"])
def test_foreground_normalizer_needs_hard_targets(key):
    opts = [*SAD_YAML, "DATASETS.TRAIN", ("coco_2017_train",)]
    opts += ["SAD.DISTILL.NORMALIZER", "foreground"]
    check_config(get_sad_cfg("", opts))
    with pytest.raises(UserError, match="NORMALIZER foreground"):
        check_config(get_sad_cfg("", [*opts, f"SAD.TARGETS.{key}", ("soft",)]))


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
