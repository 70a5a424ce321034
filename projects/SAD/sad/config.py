"""Every config key of this project, with the paper's symbol or equation above it."""

from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg
from yaml.constructor import ConstructorError

from .errors import UserError
from .losses import DISTILLATION_LOSSES, FORMS


def add_sad_config(cfg: CN) -> None:
    """Add this project's keys, with the paper's values as defaults, to a Detectron2 config."""
    # Images that the teacher has annotated (scripts/label_unlabeled.py), or that have no
    # annotations at all when SAD.TARGETS.UNLABELED is ("soft",). The paper's un-120.
    cfg.DATASETS.UNLABELED = ()
    # Data sets in COCO's format by name: {JSON: file, IMAGES: folder}. Relative paths start at
    # $DETECTRON2_DATASETS (default ./datasets).
    cfg.DATASETS.REGISTER = CN(new_allowed=True)

    # Train on this share of the labelled images, drawn by the seed; with one seed, a smaller share
    # is part of a larger one.
    cfg.DATASETS.LABELED_SHARE = 1.0
    cfg.DATASETS.LABELED_SHARE_SEED = 0

    # Micro-batches whose gradients are summed before a step. SOLVER.IMS_PER_BATCH stays the images
    # of one step: a forward sees IMS_PER_BATCH / workers / ACCUMULATION_STEPS.
    cfg.SOLVER.ACCUMULATION_STEPS = 1
    # What the sums of the losses are divided by: "local", counted on each worker in each forward
    # (as Detectron2 does), or "global", over all workers and micro-batches of a step, so that the
    # step does not depend on how the batch is split. "global" needs SADRetinaNet.
    cfg.SOLVER.LOSS_NORMALIZERS = "local"
    # Learning rate drops by SOLVER.GAMMA at these shares of MAX_ITER (section 4: 70 % and 90 %;
    # the released yaml: 2/3 and 8/9). SOLVER.STEPS is derived from it. () leaves STEPS as given.
    cfg.SOLVER.LR_DROPS = (0.7, 0.9)
    # Clip the gradient norm of the whole model at this value; 0 switches it off. Detectron2's
    # SOLVER.CLIP_GRADIENTS clips each parameter by itself.
    cfg.SOLVER.CLIP_FULL_MODEL_NORM = 0.0
    # Numbers the student computes in when SOLVER.AMP.ENABLED: bfloat16 or float16.
    cfg.SOLVER.AMP.PRECISION = "bfloat16"
    # Training stops when more than this share of the images seen could not be read.
    cfg.DATALOADER.MAX_UNREADABLE = 0.01

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
    # Numbers the teacher computes in: float32, bfloat16 or float16 (autocast).
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


def get_sad_cfg(config_file: str = "", opts=()) -> CN:
    """Detectron2's defaults + this project's keys + a yaml + KEY VALUE pairs, not frozen.

    Raises:
        UserError: the yaml is missing, unsafe or malformed, or a key or value does not fit.
    """
    cfg = get_cfg()
    add_sad_config(cfg)
    where = f"config {config_file}"
    try:
        if config_file:
            cfg.merge_from_file(config_file, allow_unsafe=False)
        where = "the options after the config file"
        cfg.merge_from_list(list(opts))
    except ConstructorError as error:
        raise UserError(f"{where}: {_tag_refused(error)}") from error
    except RecursionError as error:
        raise UserError(
            f"{where}: its _BASE_ leads back to itself, or its values are nested too deeply"
        ) from error
    except Exception as error:  # yacs, yaml and Detectron2 raise anything
        raise UserError(f"{where}: {' '.join(str(error).split())}") from error
    return cfg


def _tag_refused(error: ConstructorError) -> str:
    reason = " ".join(str(error).split())
    if "python/" not in reason:
        return reason
    return (
        f"{reason}; such tags run Python and are refused, so write the value out "
        "(configs/Base-RetinaNet.yaml is the equivalent of Detectron2's)"
    )


def check_config(cfg) -> None:
    """Catch values that would only fail, or silently mislead, once training has begun.

    Raises:
        UserError: naming the key, its value and what is allowed.
    """

    def one_of(key, allowed):
        value = cfg
        for part in key.split("."):
            value = value[part]
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if item not in allowed:
                raise UserError(f"{key} is {item!r}, it must be one of {', '.join(allowed)}")

    one_of("MODEL.META_ARCHITECTURE", ("RetinaNet", "SADRetinaNet"))
    one_of("SAD.DISTILL.LOSS", ("none", "feature_l2", *DISTILLATION_LOSSES))
    one_of("SAD.DISTILL.FORM", FORMS)
    one_of("SAD.DISTILL.NORMALIZER", ("teacher_power", "foreground", "elements"))
    one_of("SOLVER.LOSS_NORMALIZERS", ("local", "global"))
    one_of("SAD.TEACHER.PRECISION", ("float32", "bfloat16", "float16"))
    one_of("SOLVER.AMP.PRECISION", ("bfloat16", "float16"))
    one_of("SAD.TARGETS.LABELED", ("hard", "soft"))
    one_of("SAD.TARGETS.UNLABELED", ("hard", "soft"))
    one_of("SAD.LOADER.MIX", ("alternate", "union", "ratio"))
    for key in ("GAMMA", "BETA", "WEIGHT"):
        if cfg.SAD.DISTILL[key] < 0:
            raise UserError(f"SAD.DISTILL.{key} is {cfg.SAD.DISTILL[key]}, it must be at least 0")
    if cfg.SAD.TEACHER.INPUT_SCALE <= 0:
        raise UserError(
            f"SAD.TEACHER.INPUT_SCALE is {cfg.SAD.TEACHER.INPUT_SCALE}, it must be above 0"
        )
    if not 0 < cfg.DATASETS.LABELED_SHARE <= 1:
        raise UserError(
            f"DATASETS.LABELED_SHARE is {cfg.DATASETS.LABELED_SHARE}, it must be above 0 and at "
            "most 1"
        )
    if cfg.SOLVER.ACCUMULATION_STEPS < 1:
        raise UserError(
            f"SOLVER.ACCUMULATION_STEPS is {cfg.SOLVER.ACCUMULATION_STEPS}, it must be at least 1"
        )
    ratio = cfg.SAD.LOADER.RATIO
    if len(ratio) != 2 or sum(ratio) < 1 or any(type(x) is not int or x < 0 for x in ratio):
        raise UserError(f"SAD.LOADER.RATIO is {ratio}, it must be two counts of images")
    drops = cfg.SOLVER.LR_DROPS
    if list(drops) != sorted(set(drops)) or not all(0 < share < 1 for share in drops):
        raise UserError(f"SOLVER.LR_DROPS is {drops}, it must be rising shares of MAX_ITER")
    if cfg.DATASETS.UNLABELED and cfg.MODEL.META_ARCHITECTURE != "SADRetinaNet":
        raise UserError(
            f"DATASETS.UNLABELED is {cfg.DATASETS.UNLABELED}, which needs "
            "MODEL.META_ARCHITECTURE SADRetinaNet"
        )
    if cfg.SOLVER.LOSS_NORMALIZERS == "global" and cfg.MODEL.META_ARCHITECTURE != "SADRetinaNet":
        raise UserError(
            "SOLVER.LOSS_NORMALIZERS global needs MODEL.META_ARCHITECTURE SADRetinaNet, with "
            "SAD.DISTILL.LOSS none for a student alone"
        )
    soft_only = [
        "soft" in targets and "hard" not in targets for targets in cfg.SAD.TARGETS.values()
    ]
    if cfg.SAD.DISTILL.LOSS == "fdl" and any(soft_only):
        raise UserError(
            "SAD.DISTILL.LOSS fdl weights by hard targets, but SAD.TARGETS has images with soft "
            "targets alone: use another loss"
        )
    if cfg.SAD.DISTILL.NORMALIZER == "foreground" and any(soft_only):
        raise UserError(
            "SAD.DISTILL.NORMALIZER foreground counts hard targets, but SAD.TARGETS has images "
            "with soft targets alone: use teacher_power"
        )
