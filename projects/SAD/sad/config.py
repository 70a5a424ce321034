"""Every config key of this project, with the paper's symbol or equation above it."""

import contextlib
import errno
import functools
import logging
import math
import os
import re
import textwrap

from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg
from detectron2.utils.file_io import PathManager
from yaml.constructor import ConstructorError

from .errors import UserError, did_you_mean
from .images import MAX_PIXELS
from .losses import DISTILLATION_LOSSES, options_of

logger = logging.getLogger(__name__)


def add_sad_config(cfg: CN) -> None:
    """Add this project's keys, with the paper's values as defaults, to a Detectron2 config."""
    # Images that the teacher has annotated (scripts/label_unlabeled.py), or that have no
    # annotations at all when SAD.TARGETS.UNLABELED is ("soft",). The paper's un-120.
    cfg.DATASETS.UNLABELED = ()
    # Data sets in COCO's format by name: {JSON: file, IMAGES: folder}. Relative paths start at
    # $DETECTRON2_DATASETS (default ./datasets).
    cfg.DATASETS.REGISTER = CN(new_allowed=True)

    # A COCO json stops the command where more than this share of its boxes leave their image by
    # more than 2 pixels, or are under a pixel: these are no x, y, width, height in pixels.
    cfg.DATASETS.MAX_BOXES_OUTSIDE = 0.1
    cfg.DATASETS.MAX_BOXES_UNDER_A_PIXEL = 0.5

    # Train on this share of the labelled images, drawn by the seed; with one seed, a smaller share
    # is part of a larger one.
    cfg.DATASETS.LABELED_SHARE = 1.0
    cfg.DATASETS.LABELED_SHARE_SEED = 0

    # Micro-batches whose gradients are summed before a step. SOLVER.IMS_PER_BATCH stays the images
    # of one step: a forward sees IMS_PER_BATCH / workers / ACCUMULATION_STEPS.
    cfg.SOLVER.ACCUMULATION_STEPS = 1
    # What the sums of the losses are divided by: "local", counted on each worker in each forward
    # (as Detectron2 does), or "global", over all workers and micro-batches of a step, so that the
    # step does not depend on how the batch is split. The focal loss's mean begins at 100 for each
    # forward of the step (workers x micro-batches) with both. "global" needs SADRetinaNet.
    cfg.SOLVER.LOSS_NORMALIZERS = "local"
    # Learning rate drops by SOLVER.GAMMA at these shares of MAX_ITER (section 4: 70 % and 90 %;
    # the released yaml: 2/3 and 8/9), or at the iterations STEPS, which take the place of the
    # default shares. Giving both is refused; where both are () the rate never drops.
    cfg.SOLVER.LR_DROPS = (0.7, 0.9)
    cfg.SOLVER.STEPS = ()
    # Clip the gradient norm of the whole model at this value; 0 switches it off. Detectron2's
    # SOLVER.CLIP_GRADIENTS clips each parameter by itself.
    cfg.SOLVER.CLIP_FULL_MODEL_NORM = 0.0
    # Checkpoints that are kept beside model_final and model_best, the newest ones; 0 keeps all.
    cfg.SOLVER.CHECKPOINTS_TO_KEEP = 0
    # Numbers the student computes in when SOLVER.AMP.ENABLED: bfloat16 or float16.
    cfg.SOLVER.AMP.PRECISION = "bfloat16"
    # Training stops when more different images could not be read than this share of the set (while
    # fewer have been seen, of those); 5 are always allowed, except with 0.
    cfg.DATALOADER.MAX_UNREADABLE = 0.01
    # Images of more pixels count as unreadable: a small file may ask for all memory. The default is
    # Pillow's own limit.
    cfg.DATALOADER.MAX_IMAGE_PIXELS = MAX_PIXELS

    # Keep images and weights in the order of torch.channels_last, in which convolutions are faster
    # and class logits need no transposing. False is torch's own order.
    cfg.MODEL.CHANNELS_LAST = True

    # Widths and depths that Detectron2's builders refuse; read by build_small_resnet_fpn_backbone.
    cfg.MODEL.SMALL_RESNET = CN()
    # Residual blocks of each stage, res2 first.
    cfg.MODEL.SMALL_RESNET.BLOCKS = (2, 2, 2, 2)
    # P6 and P7 on top of the FPN, as RetinaNet has on large images.
    cfg.MODEL.SMALL_RESNET.P6_P7 = False

    # ResNet-50-up: the FPN builder that build_upsampled_backbone puts its deconvolutions on.
    cfg.MODEL.UPSAMPLED = CN()
    cfg.MODEL.UPSAMPLED.BACKBONE = "build_retinanet_resnet_fpn_backbone"

    cfg.SAD = CN()
    cfg.SAD.TEACHER = CN()
    # The yaml the teacher was trained with, and its weights.
    cfg.SAD.TEACHER.CONFIG_FILE = ""
    cfg.SAD.TEACHER.WEIGHTS = ""
    # Its classes in the order of its logits, where its weights do not name them (older ones, the
    # model zoo's): their names, or one COCO json whose categories they are, by rising id.
    cfg.SAD.TEACHER.CLASS_NAMES = ()
    # Numbers the teacher computes in: float32, bfloat16 or float16 (autocast). In the yaml that
    # labelling is given, those that labelling computes in.
    cfg.SAD.TEACHER.PRECISION = "float32"
    # Size of the teacher's image over the student's; 2.0 with build_upsampled_backbone.
    cfg.SAD.TEACHER.INPUT_SCALE = 1.0

    cfg.SAD.DISTILL = CN()
    # The soft-target loss: "adl" (Eq. 7), "kl" (Eq. 2), "fdl" (Eq. 4), "l2" (of the logits),
    # "feature_l2" (mean squared difference of the FPN maps, without a normaliser); "none" switches
    # distillation off.
    cfg.SAD.DISTILL.LOSS = "adl"
    # gamma and beta of Eq. 6. The authors' code's beta is 1 - BETA; it left it at 0, so BETA 1.0.
    cfg.SAD.DISTILL.GAMMA = 2.0
    cfg.SAD.DISTILL.BETA = 1.5
    # What the weight of Eq. 6 modulates: "kl" (Eq. 7) or "cross_entropy" (the authors' code, with
    # ALPHA balancing its two halves).
    cfg.SAD.DISTILL.FORM = "kl"
    cfg.SAD.DISTILL.ALPHA = 0.5
    # Factor of the distillation loss in Eq. 8, and the iterations over which it rises from 0. The
    # paper names neither; 0.5 is what ALPHA makes of the loss in the authors' code.
    cfg.SAD.DISTILL.WEIGHT = 0.5
    cfg.SAD.DISTILL.WARMUP_ITERS = 0
    # The sum over anchors and classes is divided by "teacher_power" (sum of q^1.8, the authors'
    # adaptive normaliser), "foreground" (number of foreground anchors) or "elements" (how many
    # terms there are: their mean).
    cfg.SAD.DISTILL.NORMALIZER = "teacher_power"
    cfg.SAD.DISTILL.NORMALIZER_POWER = 1.8

    # Focal and distillation loss and their gradient in one pass over the logits (sad/one_pass.py);
    # False computes them as written in sad/losses.py, at several times the memory and time.
    cfg.SAD.DISTILL.ONE_PASS = True
    # Let torch.compile make one kernel of the one pass: faster again after some seconds of
    # compiling, and needs a C++ compiler or, on a GPU, Triton. Nothing else is compiled.
    cfg.SAD.DISTILL.COMPILE = False

    cfg.SAD.TARGETS = CN()
    # Table 3's columns. "hard": ground truth (GT) on labelled images, the teacher's boxes (HT) on
    # the others, into the focal and box losses. "soft": the teacher's logits (ST).
    cfg.SAD.TARGETS.LABELED = ("hard", "soft")
    cfg.SAD.TARGETS.UNLABELED = ("hard", "soft")

    cfg.SAD.LOADER = CN()
    # How labelled and unlabelled images share the iterations: "alternate" (authors' code: a batch
    # of labelled images, then one from all images, and so on), "union" (all images shuffled
    # together) or "ratio" (every RATIO[0] labelled images are followed by RATIO[1] unlabelled).
    cfg.SAD.LOADER.MIX = "alternate"
    cfg.SAD.LOADER.RATIO = (1, 1)


WANTED = "and a yaml is wanted: KEY: VALUE pairs, such as those in configs/"


def get_sad_cfg(config_file: str = "", opts=()) -> CN:
    """Detectron2's defaults + this project's keys + a yaml + KEY VALUE pairs, not frozen.

    A pair may leave a key of the yaml without a say, as SAD.DISTILL.LOSS kl does with GAMMA: such
    a key goes back to its default, with a warning. Without such a pair `check_config` refuses it.

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


@functools.cache
def defaults() -> dict:
    """Every key's default: {"SAD.DISTILL.LOSS": "adl"}."""
    cfg = get_cfg()
    add_sad_config(cfg)
    return dict(flat(cfg))


def idle_keys(cfg) -> dict[str, str]:
    """Keys that are set but not read, and why: {"SAD.DISTILL.GAMMA": "SAD.DISTILL.LOSS kl"}.

    SAD.DISTILL.LOSS none makes none of them idle: it switches off what may be switched on again.
    """
    distill, loss = cfg.SAD.DISTILL, cfg.SAD.DISTILL.LOSS
    if cfg.MODEL.META_ARCHITECTURE != "SADRetinaNet":
        return {}
    idle = {}
    if cfg.SAD.LOADER.MIX != "ratio":
        idle["SAD.LOADER.RATIO"] = f"SAD.LOADER.MIX {cfg.SAD.LOADER.MIX}"
    if loss in DISTILLATION_LOSSES or loss == "feature_l2":
        if distill.FORM == "kl":
            idle["SAD.DISTILL.ALPHA"] = "SAD.DISTILL.FORM kl"
        if distill.NORMALIZER != "teacher_power":
            idle["SAD.DISTILL.NORMALIZER_POWER"] = f"SAD.DISTILL.NORMALIZER {distill.NORMALIZER}"
        if not distill.ONE_PASS:
            idle["SAD.DISTILL.COMPILE"] = "SAD.DISTILL.ONE_PASS False"
        unread = {"GAMMA", "BETA", "FORM", "ALPHA"}
        if loss == "feature_l2":
            unread |= {"NORMALIZER", "NORMALIZER_POWER", "COMPILE"}
        else:
            unread -= {option.upper() for option in options_of(loss)}
        idle |= {f"SAD.DISTILL.{key}": f"SAD.DISTILL.LOSS {loss}" for key in sorted(unread)}
    values = dict(flat(cfg))
    return {key: beside for key, beside in idle.items() if values[key] != defaults()[key]}


def distills(cfg) -> bool:
    """Whether the config asks for a teacher."""
    return cfg.MODEL.META_ARCHITECTURE == "SADRetinaNet" and cfg.SAD.DISTILL.LOSS != "none"


def flat(node, prefix=""):
    """(dotted key, value) of every leaf of a config."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _tag_refused(error: ConstructorError) -> str:
    reason = " ".join(str(error).split())
    if "python/" not in reason:
        return reason
    return (
        f"{reason}; such tags run Python and are refused, so write the value out "
        "(configs/Base-RetinaNet.yaml is the equivalent of Detectron2's)"
    )


# What training does not depend on: where files lie, and what a run does besides.
NOT_SETTINGS = (
    *("OUTPUT_DIR", "SAD.TEACHER.WEIGHTS", "SAD.TEACHER.CONFIG_FILE", "DATASETS.REGISTER"),
    *("MODEL.DEVICE", "DATALOADER.NUM_WORKERS", "SOLVER.CHECKPOINT", "TEST.EVAL_PERIOD"),
)


def settings(cfg) -> dict:
    """The value of every key that training may depend on: {"SOLVER.BASE_LR": 0.2}."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in flat(cfg)
        if not key.startswith(NOT_SETTINGS)
    }


def training_settings(cfg) -> dict:
    """Those of `settings` that have not their default."""
    default = settings(get_sad_cfg())
    return {key: value for key, value in settings(cfg).items() if default.get(key) != value}


def _check_pairs(opts: list) -> None:
    flags = [key for key in opts if str(key).startswith("--")]
    if flags:
        raise UserError(f"{flags[0]} stands among the KEY VALUE pairs, put it before them")
    if len(opts) % 2:
        raise UserError(f"{opts[-1]} has no value, they must be KEY VALUE pairs")


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
        return f"{unknown[1]} is no key{nearest or ', all of them are in sad/config.py'}"
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
