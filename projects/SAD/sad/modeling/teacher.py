"""The teacher: a trained RetinaNet, frozen, of which only the class logits are computed."""

import logging
import textwrap
import warnings

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.modeling.anchor_generator import build_anchor_generator
from detectron2.modeling.meta_arch.dense_detector import permute_to_N_HWA_K
from torch import Tensor

from ..checkpoint.checkpointer import SADCheckpointer
from ..config.load import get_sad_cfg
from ..data.classes import check_same_classes, given_names
from ..data.datasets import ClassOrder
from ..utils.errors import UserError

logger = logging.getLogger(__name__)

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def build_retinanet(cfg):
    """The model of a config. On device "meta" it has names, shapes and anchors, but no memory.

    Raises:
        UserError: MODEL describes none; said on "meta" alone, which checks come to first.
    """
    if cfg.MODEL.DEVICE != "meta":
        return order_memory(build_model(cfg), cfg)
    try:
        with torch.device("meta"):
            model = build_model(cfg)
    # Detectron2 asserts, looks names up and computes widths; torch refuses negative ones.
    except (
        ArithmeticError,
        AssertionError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = textwrap.shorten(" ".join(str(error).split()), 150)
        raise UserError(
            f"no network can be built of what MODEL says: {type(error).__name__}: {reason}"
        ) from error
    shapes = model.backbone.output_shape()
    strides = [ShapeSpec(stride=shapes[name].stride) for name in model.head_in_features]
    model.anchor_generator = build_anchor_generator(cfg, strides)
    return model


def order_memory(model, cfg):
    """The model, its weights in the order of memory that MODEL.CHANNELS_LAST asks for."""
    return model.to(memory_format=torch.channels_last) if cfg.MODEL.CHANNELS_LAST else model


def fill(model, weights: str, *, strict: bool) -> list[str] | None:
    """Load weights; a model on device "meta" only compares their names and shapes with its own.

    Returns:
        the names of their classes, where they have any.

    Raises:
        UserError: see `SADCheckpointer`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")
        return SADCheckpointer(model, strict=strict).load(weights).get("class_names")


def load_retinanet(config_file: str, weights: str, device: str, opts=(), class_names=()):
    """Build the RetinaNet a yaml describes, fill it with weights, freeze it.

    Args:
        config_file: the yaml the model was trained with (a stock RetinaNet yaml or one of ours).
        weights: a checkpoint of this project, of Detectron2 or of its model zoo.
        device: "meta" for a check without memory, see `build_retinanet`.
        opts: KEY VALUE pairs on top of the yaml.
        class_names: see SAD.TEACHER.CLASS_NAMES; else those of the yaml.
    Returns:
        (model in eval mode without gradients, its frozen config). The model has `class_names`, in
        the order of its logits, or None where neither its weights nor anybody else names them.
    Raises:
        UserError: the files are absent, the yaml is no RetinaNet's, any key does not match, or the
            names are not as many as the classes or not those of the weights.
    """
    cfg = get_sad_cfg(config_file, opts)
    if cfg.MODEL.META_ARCHITECTURE not in ("RetinaNet", "SADRetinaNet"):
        raise UserError(
            f"{config_file} describes a {cfg.MODEL.META_ARCHITECTURE}, a RetinaNet is needed"
        )
    if not weights:
        raise UserError(f"no weights are given for the RetinaNet of {config_file}")
    cfg.MODEL.META_ARCHITECTURE = "RetinaNet"
    cfg.MODEL.DEVICE = device
    cfg.MODEL.WEIGHTS = weights
    cfg.freeze()
    try:
        model = build_retinanet(cfg)
        names = fill(model, weights, strict=True)
        given = given_names(class_names or (() if names else cfg.SAD.TEACHER.CLASS_NAMES))
        if names and given:
            check_same_classes(given, ClassOrder(names, "the weights"), "the class names given")
        model.class_names = names or given or None
        if model.class_names and len(model.class_names) != model.num_classes:
            raise UserError(
                f"{len(model.class_names)} class names for {model.num_classes} classes "
                "(MODEL.RETINANET.NUM_CLASSES)"
            )
    except UserError as error:
        raise UserError(f"{config_file} with {weights}: {error}") from error
    return model.requires_grad_(False).eval(), cfg


def build_teacher(cfg):
    """The teacher named by SAD.TEACHER, on MODEL.DEVICE: (model, config it was trained with).

    Raises:
        UserError: see `load_retinanet`; also when a key is not set, or nobody names the classes.
    """
    for key in ("CONFIG_FILE", "WEIGHTS"):
        if not cfg.SAD.TEACHER[key]:
            raise UserError(
                f"SAD.TEACHER.{key} is empty: give the teacher's yaml and weights, "
                "or switch distillation off with SAD.DISTILL.LOSS none"
            )
    logger.info(f"Teacher: {cfg.SAD.TEACHER.CONFIG_FILE}, weights {cfg.SAD.TEACHER.WEIGHTS}")
    teacher, teacher_cfg = load_retinanet(
        cfg.SAD.TEACHER.CONFIG_FILE,
        cfg.SAD.TEACHER.WEIGHTS,
        cfg.MODEL.DEVICE,
        class_names=cfg.SAD.TEACHER.CLASS_NAMES,
    )
    if not teacher.class_names:
        raise UserError(
            f"the teacher's weights {cfg.SAD.TEACHER.WEIGHTS} do not name their classes: give "
            "SAD.TEACHER.CLASS_NAMES, the names in the order of its logits"
        )
    return teacher, teacher_cfg


def check_same_logits(student, teacher, scale: float = 1.0) -> None:
    """Both models must emit logits for the same classes of the same anchors.

    Args:
        scale: size of the teacher's image over the student's; the anchors are compared in the
            teacher's.
    Raises:
        UserError: naming what differs and both values.
    """

    def anchors(model):
        times = scale if model is student else 1
        return [
            [round(value * times, 2) for value in box]
            for level in model.anchor_generator.cell_anchors
            for box in level.tolist()
        ]

    def strides(model):
        times = scale if model is student else 1
        return [round(times * stride) for stride in model.anchor_generator.strides]

    in_pixels = (
        "" if scale == 1 else f" (in the teacher's pixels, SAD.TEACHER.INPUT_SCALE {scale:g})"
    )
    for what, of in (
        ("number of classes", lambda model: model.num_classes),
        (f"strides{in_pixels}", strides),
        ("anchor offset", lambda model: model.anchor_generator.offset),
        (
            "number of anchors per cell",
            lambda model: [len(level) for level in model.anchor_generator.cell_anchors],
        ),
    ):
        if of(student) != of(teacher):
            raise UserError(
                f"teacher and student differ in their {what}: "
                f"the teacher has {of(teacher)}, the student {of(student)}"
            )
    for ours, theirs in zip(anchors(student), anchors(teacher), strict=True):
        if ours != theirs:
            raise UserError(
                f"teacher and student differ in their anchors (MODEL.ANCHOR_GENERATOR){in_pixels}: "
                f"one of the teacher's is {theirs}, which is {ours} in the student"
            )
    padding, theirs = (model.backbone.size_divisibility for model in (student, teacher))
    if theirs and scale * padding % theirs:
        raise UserError(
            f"SAD.TEACHER.INPUT_SCALE is {scale:g}, and images are padded to multiples of "
            f"{padding} for the student and of {theirs} for the teacher: {scale:g} x {padding} "
            f"must be a multiple of {theirs}"
        )
    if student.input_format != teacher.input_format and (
        {student.input_format, teacher.input_format} != {"BGR", "RGB"}
    ):
        raise UserError(
            f"the teacher reads {teacher.input_format} images and the student "
            f"{student.input_format}: INPUT.FORMAT must be equal, or BGR and RGB"
        )


@torch.no_grad()
def teacher_outputs(
    teacher,
    images: list[Tensor],
    image_format: str,
    precision: str = "float32",
    padded_shape: tuple[int, int] | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """FPN maps and class logits of a frozen RetinaNet; its box branch is not computed.

    Args:
        images: (C, H, W) tensors in `image_format`, not yet normalised: the teacher's own mean and
            standard deviation are applied here.
        padded_shape: (height, width) to pad to, that of a batch which may hold more images; None
            pads as the teacher does by itself.
    Returns:
        FPN maps (N, C, h, w) and logits (N, h w A, K) of each level: N images, A anchors a cell,
        K classes.
    """
    if image_format != teacher.input_format:
        images = [image.flip(0) for image in images]
    dtype = PRECISIONS[precision]
    pixels = teacher.preprocess_image([{"image": image} for image in images]).tensor
    if padded_shape is not None:
        bottom, right = (a - b for a, b in zip(padded_shape, pixels.shape[-2:], strict=True))
        pixels = F.pad(pixels, (0, right, 0, bottom))
    with torch.autocast(teacher.device.type, dtype=dtype, enabled=dtype != torch.float32):
        features = teacher.backbone(pixels)
        features = [features[name] for name in teacher.head_in_features]
        head = teacher.head
        logits = [head.cls_score(head.cls_subnet(level)) for level in features]
    return features, [permute_to_N_HWA_K(level, teacher.num_classes) for level in logits]
