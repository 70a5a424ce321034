"""From a config to a detector, and weights into it."""

import textwrap
import warnings

import torch
from detectron2.modeling import build_model
from detectron2.modeling.poolers import ROIPooler

from ..checkpoint.checkpointer import SADCheckpointer
from ..config.defaults import detector_name
from ..config.detector_keys import keys_of
from ..config.load import get_sad_cfg
from ..data.classes import check_same_classes, given_names
from ..data.datasets import ClassOrder
from ..losses.distillation import at_least_float32
from ..utils.errors import UserError
from .adapters import ADAPTERS, adapter_of_config


def build_detector(cfg):
    """The model of a config. On device "meta" it has names, shapes and anchors, but no memory.

    Raises:
        UserError: MODEL describes none; said on "meta" alone, which checks come to first.
    """
    if cfg.MODEL.DEVICE != "meta":
        return settle(build_model(cfg), cfg)
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
    detector = getattr(model, "student", model)
    ADAPTERS[detector_name(cfg)].renew_anchors(cfg, detector)
    return model


def settle(model, cfg):
    """The model, its weights in the order of memory that MODEL.CHANNELS_LAST asks for, its regions
    pooled in float32 at least.

    Detectron2 rounds boxes as the maps are: in bfloat16, under autocast, coordinates above 512 come
    in steps of 4 pixels.
    """
    for module in model.modules():
        if isinstance(module, ROIPooler):
            module.register_forward_pre_hook(_in_float32)
    return model.to(memory_format=torch.channels_last) if cfg.MODEL.CHANNELS_LAST else model


def _in_float32(pooler, arguments):
    maps, boxes = arguments
    return [at_least_float32(level) for level in maps], boxes


def load_weights(model, weights: str, *, strict: bool) -> list[str] | None:
    """Load weights; a model on device "meta" only compares their names and shapes with its own.

    Returns:
        the names of their classes, where they have any.

    Raises:
        UserError: see `SADCheckpointer`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")
        return SADCheckpointer(model, strict=strict).load(weights).get("class_names")


def load_detector(config_file: str, weights: str, device: str, opts=(), class_names=()):
    """Build the detector a yaml describes, fill it with weights, freeze it.

    Args:
        config_file: the yaml the model was trained with (Detectron2's of a RetinaNet or Faster
            R-CNN, or one of this project).
        weights: a checkpoint of this project, of Detectron2 or of its model zoo.
        device: "meta" for a check without memory, see `build_detector`.
        opts: KEY VALUE pairs on top of the yaml.
        class_names: the names themselves; else those that the yaml gives.
    Returns:
        (model in eval mode without gradients, its frozen config). The model has `class_names`, in
        the order of its logits, or None where neither its weights nor anybody else names them.
    Raises:
        UserError: the files are absent, the yaml is of another detector, any key does not match, or
            the names are not as many as the classes or not those of the weights.
    """
    cfg = get_sad_cfg(config_file, opts)
    adapter, detector = adapter_of_config(cfg, config_file), detector_name(cfg)
    if not weights:
        raise UserError(f"no weights are given for the {detector} of {config_file}")
    cfg.MODEL.META_ARCHITECTURE = detector
    cfg.MODEL.DEVICE = device
    cfg.MODEL.WEIGHTS = weights
    cfg.freeze()
    try:
        model = build_detector(cfg)
        names = load_weights(model, weights, strict=True)
        given = list(class_names)
        if not (given or names):
            given = given_names(cfg.SAD.TEACHER.CLASS_NAMES)
        if names and given:
            check_same_classes(given, ClassOrder(names, "the weights"), "the class names given")
        model.class_names = names or given or None
        num_classes = adapter.num_classes(model)
        if model.class_names and len(model.class_names) != num_classes:
            raise UserError(
                f"{len(model.class_names)} class names for {num_classes} classes "
                f"({keys_of(cfg).num_classes})"
            )
    except UserError as error:
        raise UserError(f"{config_file} with {weights}: {error}") from error
    return model.requires_grad_(False).eval(), cfg
