"""Detectors in .safetensors files with a card: Detectron2's own model, built of the card's config.

Such a file holds tensors and texts alone.
"""

import os
import tempfile

import safetensors
import yaml
from fvcore.common.config import BASE_KEY

from ..config.load import get_sad_cfg
from ..modeling.build import load_detector
from ..utils.errors import UserError, reason
from .card import KEY, Card

NO_FILE = ("SAD.TEACHER.CLASS_NAMES", ())  # which may name a json, and the card's names may not


def read_card(path: str) -> Card | None:
    """That of a .safetensors file; None where it has none.

    Raises:
        UserError: the file is broken, or the card forged.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # safetensors' own
        raise UserError(f"{path} is no .safetensors file ({reason(error)})") from error
    if text is None:
        return None
    try:
        return Card.read(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def open_weights(path: str, device: str = "cpu"):
    """Detectron2's model, in eval mode, with the file's weights in it, and `card`.

    Raises:
        UserError: see `read_card`; also where the file has no card, the config is of no detector,
            or the weights are not those of it.
    """
    card = read_card(path)
    if card is None:
        raise UserError(f"{path} has no card: give the yaml of its model, too")
    _check_alone(card.config, path)
    with tempfile.TemporaryDirectory() as folder:
        config_file = os.path.join(folder, "config.yaml")
        with open(config_file, "w", encoding="utf-8") as file:
            file.write(card.config)
        try:
            _check_depth(config_file, path)
            # Without memory first: only a file that holds as much as its model takes any.
            load_detector(config_file, path, "meta", NO_FILE, card.class_names)
            model, _ = load_detector(config_file, path, device, NO_FILE, card.class_names)
        except UserError as error:
            said = str(error).replace(config_file, f"the card's config of {path}")
            raise UserError(said) from error
    model.card = card
    return model


def _check_alone(config: str, path: str) -> None:
    """A config may name another yaml that it goes on from: any file or address."""
    try:
        content = yaml.safe_load(
            config
        )  # as Detectron2 reads it: a key can be written in many ways
    except Exception as error:  # a broken yaml can raise anything
        raise UserError(f"{path}: its card's config is no yaml ({reason(error)})") from error
    if type(content) is not dict:
        raise UserError(f"{path}: its card's config holds no keys")
    if BASE_KEY in content:
        raise UserError(f"{path}: its card's config names another file ({BASE_KEY})")


def _check_depth(config_file: str, path: str) -> None:
    """A config may ask for any number of layers, and a layer has a tensor in the file."""
    model = get_sad_cfg(config_file).MODEL
    with safetensors.safe_open(path, "pt") as file:
        most = len(file.keys())
    layers = {
        "SMALL_RESNET.BLOCKS": model.SMALL_RESNET.BLOCKS,
        "RETINANET.NUM_CONVS": [model.RETINANET.NUM_CONVS],
        "ROI_BOX_HEAD.NUM_CONV": [model.ROI_BOX_HEAD.NUM_CONV],
        "ROI_BOX_HEAD.NUM_FC": [model.ROI_BOX_HEAD.NUM_FC],
    }
    for key, counts in layers.items():
        if not all(type(x) is int and x <= most for x in counts):
            raise UserError(f"{path}: MODEL.{key} is {counts}, and the file has {most} tensors")
