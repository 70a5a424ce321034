"""How a yaml and KEY VALUE pairs become a config, and in what words they are refused."""

import contextlib
import errno
import logging
import math
import os
import re
import textwrap
from pathlib import Path

from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg
from detectron2.utils.file_io import PathManager
from yaml.constructor import ConstructorError

from ..terms import TERMS
from ..utils.errors import UserError, did_you_mean
from .defaults import add_sad_config, defaults, detector_name, flat, stops_early
from .detector_keys import keys_of, others_of

logger = logging.getLogger(__name__)


# What the folder `configs` of this project is in: the package, where it was installed from a wheel,
# or the clone that the package is part of.
PACKAGE = Path(__file__).parents[1]
HOMES = (PACKAGE, Path(os.path.normpath(PACKAGE / "../../..")))

WANTED = "and a yaml is wanted: KEY: VALUE pairs, such as those in configs/"


def get_sad_cfg(config_file: str = "", opts=()) -> CN:
    """Detectron2's defaults + this project's keys + a yaml + KEY VALUE pairs, not frozen.

    A pair may leave a key of the yaml without a say, as SAD.DISTILL.CLASS.LOSS kl does with GAMMA:
    such a key goes back to its default, with a warning. Without such a pair `check_config` refuses
    it.

    Raises:
        UserError: the yaml is missing, unsafe or malformed, or a key or value does not fit.
    """
    cfg = get_cfg()
    add_sad_config(cfg)
    opts = list(opts)
    given = set(opts[::2])
    where = f"config {config_file}"
    try:
        if config_file:
            config_file = config_path(config_file)
            if os.path.isdir(config_file):
                raise UserError(f"it is a folder, {WANTED}")
            if not PathManager.isfile(config_file):
                raise FileNotFoundError(errno.ENOENT, "", config_file)
            if str(config_file).endswith(".py"):
                raise UserError(f"it is Python (Detectron2's LazyConfig), {WANTED}")
            cfg.merge_from_file(config_file, allow_unsafe=False)
            given.update(key for key, _ in flat(CN.load_yaml_with_base(config_file)))
        idle_in_yaml = idle_keys(cfg)
        where = "the options after the config file"
        _check_pairs(opts)
        cfg.merge_from_list(opts)
        _check_sections(cfg, opts[::2])
    except ConstructorError as error:
        raise UserError(f"{where}: {_tag_refused(error)}") from error
    except RecursionError as error:
        raise UserError(
            f"{where}: its _BASE_ leads back to itself, or its values are nested too deeply"
        ) from error
    except Exception as error:  # yacs, yaml and Detectron2 raise anything
        raise UserError(f"{where}: {_explain(error, cfg)}") from error
    if "SOLVER.STEPS" in given and "SOLVER.LR_DROPS" not in given:
        # Steps that are given take the default's place, also where this is dumped and read again.
        cfg.SOLVER.LR_DROPS = ()
    for key, beside in idle_keys(cfg).items():
        if key not in idle_in_yaml and key not in opts[::2]:
            logger.warning(f"{key} of {config_file} is left out: it has no say beside {beside}")
            cfg.merge_from_list([key, defaults()[key]])
    return cfg


def config_path(name: str) -> str:
    """Where a yaml lies: at `name`, or else, for a name such as configs/digits/SAD.yaml, among
    those of this project, which may be used from any folder.

    A name that is found nowhere is returned as it is.
    """
    if Path(name).parts[:1] == ("configs",) and not os.path.exists(name):
        for home in HOMES:
            if (home / name).is_file():
                return str(home / name)
    return name


def idle_keys(cfg) -> dict[str, str]:
    """Keys that are set but not read, and why: {"SAD.LOADER.RATIO": "SAD.LOADER.MIX union"}.

    SAD.DISTILL.TERMS () makes none of them idle: it switches off what may be switched on again.
    Neither does a detector without a teacher, see `_warn_of_no_teacher` of the preflight.
    """
    idle, is_distiller = {}, cfg.MODEL.META_ARCHITECTURE == "Distiller"
    backbones = [cfg.MODEL.BACKBONE.NAME]
    if backbones == ["build_upsampled_backbone"]:
        backbones.append(cfg.MODEL.UPSAMPLED.BACKBONE)
    else:
        idle["MODEL.UPSAMPLED.BACKBONE"] = f"MODEL.BACKBONE.NAME {backbones[0]}"
    if "build_timm_fpn_backbone" not in backbones:
        beside = f"MODEL.BACKBONE.NAME {backbones[0]}"
        idle |= {f"MODEL.TIMM.{key}": beside for key in cfg.MODEL.TIMM}
    if detector_name(cfg) != "FCOS":
        idle["MODEL.FCOS.CENTER_SAMPLING_RADIUS"] = f"a {detector_name(cfg)}"
    if not stops_early(cfg):
        idle["SOLVER.EARLY_STOP.MIN_GAIN"] = "SOLVER.EARLY_STOP.PATIENCE 0"
    if not cfg.SOLVER.AMP.ENABLED:
        idle["SOLVER.AMP.PRECISION"] = "SOLVER.AMP.ENABLED False"
    if cfg.SOLVER.LR_DROPS and cfg.SOLVER.LR_SCHEDULER_NAME != "WarmupMultiStepLR":
        idle["SOLVER.LR_DROPS"] = f"SOLVER.LR_SCHEDULER_NAME {cfg.SOLVER.LR_SCHEDULER_NAME}"
    if is_distiller and not cfg.DATASETS.UNLABELED:
        idle |= {f"SAD.LOADER.{key}": "DATASETS.UNLABELED ()" for key in ("MIX", "RATIO")}
    elif is_distiller and cfg.SAD.LOADER.MIX != "ratio":
        idle["SAD.LOADER.RATIO"] = f"SAD.LOADER.MIX {cfg.SAD.LOADER.MIX}"
    if is_distiller:  # Detectron2's own pictures of a step; SAD.WATCH has others
        idle["VIS_PERIOD"] = "MODEL.META_ARCHITECTURE Distiller"
    if is_distiller and cfg.SAD.STUDENT.META_ARCHITECTURE != "GeneralizedRCNN":
        student = f"SAD.STUDENT.META_ARCHITECTURE {cfg.SAD.STUDENT.META_ARCHITECTURE}"
        idle["SAD.DISTILL.PROPOSALS"] = student
    if is_distiller and not cfg.SAD.TEACHER.CACHE.DIR:
        for key in ("FLOOR", "LEAVE_FREE_GB"):
            idle[f"SAD.TEACHER.CACHE.{key}"] = "SAD.TEACHER.CACHE.DIR ''"
    for name, term in TERMS.items() if is_distiller else ():
        section, node = f"SAD.DISTILL.{name.upper()}.", cfg.SAD.DISTILL[name.upper()]
        if name in cfg.SAD.DISTILL.TERMS:
            idle |= {section + key: section + why for key, why in term.idle_keys(node).items()}
        elif cfg.SAD.DISTILL.TERMS:
            terms = f"SAD.DISTILL.TERMS {list(cfg.SAD.DISTILL.TERMS)}"
            idle |= dict.fromkeys((section + key for key in node), terms)
    values = dict(flat(cfg))
    return {key: beside for key, beside in idle.items() if values[key] != defaults()[key]}


def _tag_refused(error: ConstructorError) -> str:
    reason = " ".join(str(error).split())
    if "python/" not in reason:
        return reason
    return (
        f"{reason}; such tags run Python and are refused, so write the value out "
        "(configs/Base-RetinaNet.yaml is the equivalent of Detectron2's)"
    )


def _check_pairs(opts: list) -> None:
    flags = [key for key in opts if str(key).startswith("--")]
    if flags:
        raise UserError(f"{flags[0]} stands among the KEY VALUE pairs, put it before them")
    if len(opts) % 2:
        raise UserError(f"{opts[-1]} has no value, they must be KEY VALUE pairs")


def _check_sections(cfg, keys: list[str]) -> None:
    """A yaml may inherit what other detectors read; who gives a pair expects it to be read."""
    others = others_of(cfg)
    own = dict(zip(others, keys_of(cfg), strict=True))
    for key in keys:
        if key.startswith(others.sections):
            instead = f", whose own is {own[key]}" if key in own else ""
            raise UserError(f"{key} has no say in a {detector_name(cfg)}{instead}")


EXAMPLES = {
    "float": "a number with a decimal point",
    "int": "a whole number",
    "str": "a text",
    "bool": "True or False",
    "tuple": "a list such as [a, b] in a yaml or \"('a','b')\" in the shell",
}
EXAMPLES["list"] = EXAMPLES["tuple"]


def _explain(error: Exception, cfg: CN) -> str:
    """What yacs, yaml or the file system complain of, in words that say what to do."""
    if isinstance(error, FileNotFoundError) and error.filename:
        folder, name = os.path.split(error.filename)
        near = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        return f"{error.filename} does not exist{did_you_mean(name, near)}"
    text = " ".join(str(error).split())
    if re.search(r"has no attribute 'items'|is not iterable", text):
        return f"it (or its _BASE_) holds no keys, {WANTED}"
    if unknown := re.search(r"Non-existent (?:config )?key: ([^\s'\"]+)", text):
        keys = dict(flat(cfg))
        sections = {key.rpartition(".")[0] for key in keys}
        nearest = did_you_mean(unknown[1].upper(), [*keys, *sections])
        return f"{unknown[1]} is no key{nearest or ', docs/config.md has all of them'}"
    if mismatch := re.search(
        r"Type mismatch \(<class '(.+)'> vs\. <class '(.+)'>\) with values \(.* vs\. (.*)\) "
        r"for config key: (\S+)",
        text,
    ):
        expected, given, value, key = mismatch.groups()
        wanted = EXAMPLES.get(expected, "a section of keys")
        with contextlib.suppress(ValueError, OverflowError):
            if expected == "float" and math.isfinite(float(value)):
                wanted += f": {float(value)}"
        return f"{key} is {value} ({given.rpartition('.')[2]}), it must be {wanted}"
    return textwrap.shorten(text, 250)
