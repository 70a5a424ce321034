"""Every config key of this project, with the paper's symbol or equation above it."""

import functools

import torch
from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg

from ..terms import TERMS

MAX_PIXELS = 178_956_970  # beyond it Pillow itself speaks of a decompression bomb


def add_sad_config(cfg: CN) -> None:
    """Add this project's keys, with the paper's values as defaults, to a Detectron2 config."""
    # Images that the teacher has annotated (scripts/label_unlabeled.py), or that have no
    # annotations at all when SAD.TARGETS.UNLABELED is ("soft",). The paper's un-120.
    cfg.DATASETS.UNLABELED = ()
    # Sets that are evaluated during training. They must be the first ones of DATASETS.TEST; the
    # others are evaluated at the end only. () means all of them.
    cfg.DATASETS.VAL = ()
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
    # of one step: a forward sees IMS_PER_BATCH / ranks / ACCUMULATION_STEPS.
    cfg.SOLVER.ACCUMULATION_STEPS = 1
    # What the sums of the losses are divided by: "local", counted on each rank in each forward
    # (as Detectron2 does), or "global", over all ranks and micro-batches of a step, so that the
    # step does not depend on how the batch is split. The focal loss's mean begins at 100 (of FCOS
    # at 300) for each forward of the step (ranks x micro-batches) with both. "global" needs a
    # Distiller.
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
    # A plateau of the AP skips what is left before the next drop of the learning rate, or the end.
    cfg.SOLVER.EARLY_STOP = CN()
    # Evaluations in a row without a gain that make a plateau; 0 switches early stop off. The first
    # of DATASETS.TEST decides. Counting begins after the warm-up, anew after each drop, and once
    # the AP is above 0.
    cfg.SOLVER.EARLY_STOP.PATIENCE = 0
    # An AP (in percent) is a gain if it is above the best one by more than this.
    cfg.SOLVER.EARLY_STOP.MIN_GAIN = 0.0
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

    # The coarsest map of the FPNs that build_small_resnet_fpn_backbone and build_timm_fpn_backbone
    # make: 5, 6 (pooled from P5, as Faster R-CNN has it) or 7 (P6 and P7 by convolutions, as
    # RetinaNet has them). The finest are those of Detectron2's MODEL.FPN.IN_FEATURES.
    cfg.MODEL.FPN.LAST_LEVEL = 5

    # Widths and depths that Detectron2's builders refuse; read by build_small_resnet_fpn_backbone.
    cfg.MODEL.SMALL_RESNET = CN()
    # Residual blocks of each stage, res2 first.
    cfg.MODEL.SMALL_RESNET.BLOCKS = (2, 2, 2, 2)

    # Backbones of timm, pre-trained ones say; read by build_timm_fpn_backbone.
    cfg.MODEL.TIMM = CN()
    cfg.MODEL.TIMM.NAME = "tf_efficientnet_lite0"
    # BN, SyncBN, or FrozenBN: statistics and factors stay those of the weights.
    cfg.MODEL.TIMM.NORM = "BN"

    # ResNet-50-up: the FPN builder that build_upsampled_backbone puts its deconvolutions on.
    cfg.MODEL.UPSAMPLED = CN()
    cfg.MODEL.UPSAMPLED.BACKBONE = "build_retinanet_resnet_fpn_backbone"

    # FCOS: the cells this near to the middle of an object are to find it, in strides. All else of
    # it is in MODEL.RETINANET, of which it does not read what concerns anchors and the box loss.
    cfg.MODEL.FCOS = CN()
    cfg.MODEL.FCOS.CENTER_SAMPLING_RADIUS = 1.5

    cfg.SAD = CN()
    cfg.SAD.STUDENT = CN()
    # The detector that a Distiller teaches: RetinaNet, FCOS or GeneralizedRCNN (Faster R-CNN).
    # MODEL describes it.
    cfg.SAD.STUDENT.META_ARCHITECTURE = "RetinaNet"

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
    # What a teacher says of an image is kept for the next time (docs/performance.md).
    cfg.SAD.TEACHER.CACHE = CN()
    # The folder, which any number of runs share; "" keeps nothing.
    cfg.SAD.TEACHER.CACHE.DIR = ""
    # Class scores from this on are kept each by itself, the others of a level of anchors by their
    # mean. 0 keeps all. More saves disk, and changes what is learned by LOSS kl.
    cfg.SAD.TEACHER.CACHE.FLOOR = 0.0
    # Gigabytes of the disk that stay free. Where they would not, nothing more is kept.
    cfg.SAD.TEACHER.CACHE.LEAVE_FREE_GB = 5.0

    cfg.SAD.DISTILL = CN()
    # What is learned from the teacher's outputs, any of them together: "feature" (its FPN maps); of
    # a RetinaNet or FCOS "class" (its logits) and "box" (its boxes); of a GeneralizedRCNN
    # "roi_class" and "roi_box" (those of the student's regions). () switches distillation off. Each
    # has a section.
    cfg.SAD.DISTILL.TERMS = ("class",)
    # Where a GeneralizedRCNN samples the regions that its second stage learns from: in the
    # proposals of the "student", of the "teacher", or of both ("union"). The last two compute the
    # teacher's RPN, too, on the images with soft targets; others have the student's.
    cfg.SAD.DISTILL.PROPOSALS = "student"
    for name, term in TERMS.items():
        cfg.SAD.DISTILL[name.upper()] = CN()
        term.add_keys(cfg.SAD.DISTILL[name.upper()])

    cfg.SAD.TARGETS = CN()
    # Table 3's columns. "hard": ground truth (GT) on labelled images, the teacher's boxes (HT) on
    # the others, into the detector's own losses. "soft": the teacher's outputs (ST), which the
    # terms of SAD.DISTILL compare with the student's.
    cfg.SAD.TARGETS.LABELED = ("hard", "soft")
    cfg.SAD.TARGETS.UNLABELED = ("hard", "soft")

    cfg.SAD.LOADER = CN()
    # How labelled and unlabelled images share the iterations: "alternate" (as released: a batch
    # of labelled images, then one from all images, and so on), "union" (all images shuffled
    # together) or "ratio" (every RATIO[0] labelled images are followed by RATIO[1] unlabelled).
    cfg.SAD.LOADER.MIX = "alternate"
    cfg.SAD.LOADER.RATIO = (1, 1)
    # For how many epochs an image keeps the view that augmentations have drawn for it, also of a
    # detector without a teacher. With more than 1, SAD.TEACHER.CACHE has the teacher's answers
    # after the first of them.
    cfg.SAD.LOADER.VIEW_EPOCHS = 1

    cfg.SAD.WATCH = CN()
    # Where to show a training besides the log, metrics.json and TensorBoard: "wandb" (Weights &
    # Biases), "mlflow", or both. They take their addresses from their own environment variables,
    # see docs/watching.md.
    cfg.SAD.WATCH.TO = ()
    # Test images that TensorBoard shows after each evaluation, with labels and detections side by
    # side: the same ones each time, of the first of DATASETS.TEST. 0 switches them off.
    cfg.SAD.WATCH.PICTURES = 4


@functools.cache
def defaults() -> dict:
    """Every key's default: {"SOLVER.BASE_LR": 0.001}."""
    cfg = get_cfg()
    add_sad_config(cfg)
    return dict(flat(cfg))


def distills(cfg) -> bool:
    """Whether the config asks for a teacher."""
    return cfg.MODEL.META_ARCHITECTURE == "Distiller" and bool(cfg.SAD.DISTILL.TERMS)


def keeps_answers(cfg) -> bool:
    """Whether what the teacher says of an image is kept for the next time."""
    return distills(cfg) and bool(cfg.SAD.TEACHER.CACHE.DIR)


def device_of(cfg) -> str:
    """MODEL.DEVICE, or the CPU where there is no GPU."""
    return cfg.MODEL.DEVICE if torch.cuda.is_available() else "cpu"


def stops_early(cfg) -> bool:
    """Whether the validation AP has a say in when the learning rate drops and the run ends."""
    return cfg.SOLVER.EARLY_STOP.PATIENCE > 0


def detector_name(cfg) -> str:
    """The class of the detector that a config describes, be it a distiller's student or alone."""
    if cfg.MODEL.META_ARCHITECTURE == "Distiller":
        return cfg.SAD.STUDENT.META_ARCHITECTURE
    return cfg.MODEL.META_ARCHITECTURE


def flat(node, prefix=""):
    """(dotted key, value) of every leaf of a config."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
