"""A trained detector out of any kind of file, with what must be known to show it an image."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..config.defaults import MAX_PIXELS, device_of
from ..config.detector_keys import keys_of, value_of
from ..config.load import get_sad_cfg
from ..evaluation.finished import recorded_threshold
from ..exported.open import is_exported, open_exported
from ..modeling.adapters import adapter_of
from ..modeling.build import load_detector
from ..utils.errors import UserError

CONFIG, WEIGHTS = "config.yaml", "model_final.pth"  # what a training leaves in its folder


@dataclass(frozen=True)
class Detector:
    """
    Attributes:
        model: called as Detectron2's, with dicts of image, height and width.
        class_names: in the order of its labels; "class 0" and so on where nobody names them.
        image_format: see INPUT.FORMAT.
        min_size, max_size: of the image's sides as it is shown, see INPUT.MIN_SIZE_TEST.
        max_pixels: see DATALOADER.MAX_IMAGE_PIXELS.
        score_threshold: it reports no box of a lower score.
        nms_threshold: of two boxes of a class that overlap by more, it reports the better one.
        threshold: the score of the best F1 on validation images; None where neither a card nor the
            training's folder tells.
    """

    model: Callable[[list[dict]], list[dict]]
    class_names: list[str]
    image_format: str
    min_size: int
    max_size: int
    max_pixels: float
    score_threshold: float
    nms_threshold: float
    threshold: float | None


def open_detector(weights: str, config_file: str = "", opts=()) -> Detector:
    """
    Args:
        weights: the folder of a training, a file of weights, or an exported file.
        config_file: the yaml it was trained with; not needed where config.yaml lies beside it.
        opts: KEY VALUE pairs on top of the config.
    Raises:
        UserError: a file is absent or broken, the weights are not all of the config's model, or a
            config is given for an exported file.
    """
    if not weights:
        raise UserError("no weights are given: name the folder of a training, or a file")
    if os.path.isdir(weights):
        weights = _inside(weights, WEIGHTS)
    if is_exported(weights):
        if config_file or opts:
            raise UserError(
                f"{weights} brings its own config: leave the yaml (--config-file) and its keys out"
            )
        return _open_exported(weights)
    if not config_file:
        config_file = _beside(weights)
    device = device_of(get_sad_cfg(config_file, opts))
    model, cfg = load_detector(config_file, weights, device, opts)
    number = adapter_of(model).num_classes(model)
    return Detector(
        model=model,
        class_names=model.class_names or [f"class {label}" for label in range(number)],
        image_format=cfg.INPUT.FORMAT,
        min_size=cfg.INPUT.MIN_SIZE_TEST,
        max_size=cfg.INPUT.MAX_SIZE_TEST,
        max_pixels=cfg.DATALOADER.MAX_IMAGE_PIXELS,
        score_threshold=value_of(cfg, keys_of(cfg).score_threshold),
        nms_threshold=value_of(cfg, keys_of(cfg).nms_threshold),
        threshold=recorded_threshold(weights, [*cfg.DATASETS.VAL, *cfg.DATASETS.TEST]),
    )


def _open_exported(path: str) -> Detector:
    model = open_exported(path, "cuda" if torch.cuda.is_available() else "cpu")
    card = model.card
    return Detector(
        model=model,
        class_names=card.class_names,
        image_format=card.channel_order,
        min_size=card.min_size,
        max_size=card.max_size,
        max_pixels=MAX_PIXELS,
        score_threshold=card.score_threshold,
        nms_threshold=card.nms_threshold,
        threshold=card.threshold,
    )


def _inside(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        raise UserError(
            f"{folder} holds no {name}: name the folder of a finished training, or a file of "
            "weights and its yaml"
        )
    return path


def _beside(weights: str) -> str:
    path = os.path.join(os.path.dirname(weights), CONFIG)
    if not os.path.exists(weights):
        raise UserError(f"weights {weights} do not exist: name the folder of a training, or a file")
    if not os.path.exists(path):
        raise UserError(
            f"no {CONFIG} lies beside weights {weights}: give the yaml that they were trained with "
            "(--config-file)"
        )
    return path
