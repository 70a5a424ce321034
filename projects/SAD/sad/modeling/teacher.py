"""The teacher: a trained detector, frozen, of which only what a term needs is computed."""

import logging
from collections.abc import Collection

import torch
import torch.nn.functional as F
from detectron2.structures import ImageList
from torch import Tensor

from ..data.classes import given_names
from ..terms.term import Outputs, Targets
from ..utils.errors import UserError
from ..utils.precision import autocast
from .adapters import adapter_of
from .build import load_detector
from .fold_norms import fold_norms

logger = logging.getLogger(__name__)


def build_teacher(cfg):
    """The teacher named by SAD.TEACHER, on MODEL.DEVICE, its batch norms folded into convolutions:
    (model, config it was trained with).

    Raises:
        UserError: see `load_detector`; also when a key is not set, or nobody names the classes.
    """
    for key in ("CONFIG_FILE", "WEIGHTS"):
        if not cfg.SAD.TEACHER[key]:
            raise UserError(
                f"SAD.TEACHER.{key} is empty: give the teacher's yaml and weights, "
                "or switch distillation off with SAD.DISTILL.TERMS '()'"
            )
    logger.info(f"Teacher: {cfg.SAD.TEACHER.CONFIG_FILE}, weights {cfg.SAD.TEACHER.WEIGHTS}")
    teacher, teacher_cfg = load_detector(
        cfg.SAD.TEACHER.CONFIG_FILE,
        cfg.SAD.TEACHER.WEIGHTS,
        cfg.MODEL.DEVICE,
        class_names=given_names(cfg.SAD.TEACHER.CLASS_NAMES),
    )
    if not teacher.class_names:
        raise UserError(
            f"the teacher's weights {cfg.SAD.TEACHER.WEIGHTS} do not name their classes: give "
            "SAD.TEACHER.CLASS_NAMES, the names in the order of its logits"
        )
    fold_norms(teacher)
    return teacher, teacher_cfg


def check_pair(student, teacher, scale: float = 1.0, need: Collection[str] = ()) -> None:
    """Teacher and student must see the same images, and answer for the same places in them.

    Args:
        scale: size of the teacher's image over the student's.
        need: of the teacher's outputs, see Outputs.
    Raises:
        UserError: naming what differs and both values.
    """
    kinds = [type(model).__name__ for model in (teacher, student)]
    if kinds[0] != kinds[1]:
        raise UserError(f"the teacher is a {kinds[0]} and the student a {kinds[1]}: no pair")
    adapter_of(student).check_pair(student, teacher, scale, need)
    padding, theirs = (max(1, x.backbone.size_divisibility) for x in (student, teacher))
    if scale * padding % theirs:
        raise UserError(
            f"SAD.TEACHER.INPUT_SCALE is {scale:g}, and images are padded to multiples of "
            f"{padding} for the student and of {theirs} for the teacher: {scale:g} x {padding} "
            f"must be a multiple of {theirs}"
        )
    formats = {student.input_format, teacher.input_format}
    if len(formats) > 1 and formats != {"BGR", "RGB"}:
        raise UserError(
            f"the teacher reads {teacher.input_format} images and the student "
            f"{student.input_format}: INPUT.FORMAT must be equal, or BGR and RGB"
        )


@torch.no_grad()
def teacher_outputs(
    teacher,
    images: list[Tensor],
    image_format: str,
    need: Collection[str],
    precision: str = "float32",
    padded_shape: tuple[int, int] | None = None,
) -> Outputs:
    """What a frozen detector makes of images.

    Args:
        images: N tensors (C, H, W) in `image_format`, not yet normalised: the teacher's own mean
            and standard deviation are applied here.
        need: fields of Outputs; nothing else is computed.
        padded_shape: (height, width) to pad to, that of a batch which may hold more images; None
            pads as the teacher does by itself.
    """
    if image_format != teacher.input_format:
        images = [image.flip(0) for image in images]
    given = teacher.preprocess_image([{"image": image} for image in images])
    if padded_shape is not None:
        sides = zip(padded_shape, given.tensor.shape[-2:], strict=True)
        bottom, right = (a - b for a, b in sides)
        given = ImageList(F.pad(given.tensor, (0, right, 0, bottom)), given.image_sizes)
    with autocast(teacher.device, precision):
        return adapter_of(teacher).teacher_outputs(teacher, given, need)


@torch.no_grad()
def teacher_answer(
    teacher, outputs: Outputs, targets: Targets, need: Collection[str], precision: str = "float32"
) -> None:
    """Add to `teacher_outputs` what must wait for the student: what a teacher of two stages says
    of the regions that its student has sampled.

    Args:
        targets: of the same images, after the student's forward.
    """
    with autocast(teacher.device, precision):
        adapter_of(teacher).answer(teacher, outputs, targets, need)


def padded_alone(model, height: int, width: int) -> tuple[int, int]:
    """(height, width) that a model pads an image to, which is alone in its batch."""
    image = torch.empty((1, height, width), device="meta")  # a shape without memory
    backbone = model.backbone
    images = ImageList.from_tensors(
        [image], backbone.size_divisibility, padding_constraints=backbone.padding_constraints
    )
    return tuple(images.tensor.shape[-2:])
