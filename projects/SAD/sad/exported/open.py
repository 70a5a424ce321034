"""A detector out of an exported file, whatever its format."""

import os

from ..utils.errors import UserError
from . import onnx_file, program_file, weights_file
from .card import Card

CARDS = {
    ".onnx": onnx_file.read_card,
    ".pt2": program_file.read_card,
    ".safetensors": weights_file.read_card,
}
OPENERS = {
    ".onnx": onnx_file.open_onnx,
    ".pt2": program_file.open_program,
    ".safetensors": weights_file.open_weights,
}


def is_exported(path: str | os.PathLike) -> bool:
    """Whether a file says by itself what detector it holds: .onnx, .pt2, and .safetensors with a
    card.

    Raises:
        UserError: it is a broken .safetensors file, or its card is forged.
    """
    path = os.fspath(path)
    if _suffix(path) == ".safetensors":
        return os.path.isfile(path) and weights_file.read_card(path) is not None
    return _suffix(path) in OPENERS


def card_of_weights(path: str | os.PathLike) -> Card | None:
    """That of weights which are read into a network; None where they have none."""
    is_file = _suffix(path) == ".safetensors" and os.path.isfile(path)
    return weights_file.read_card(os.fspath(path)) if is_file else None


def check_as_card(cfg, path: str | os.PathLike) -> None:
    """
    Raises:
        UserError: weights have a card, and the config gives their network other pixels.
    """
    if card := card_of_weights(path):
        for key, value, of_card in (
            ("INPUT.FORMAT", cfg.INPUT.FORMAT, card.channel_order),
            ("MODEL.PIXEL_MEAN", [*cfg.MODEL.PIXEL_MEAN], card.pixel_mean),
            ("MODEL.PIXEL_STD", [*cfg.MODEL.PIXEL_STD], card.pixel_std),
        ):
            if value != of_card:
                raise UserError(
                    f"{key} is {value}, and by the card of {path} it was trained with {of_card}: "
                    "set it to that"
                )


def read_card(path: str | os.PathLike) -> Card:
    """The card of an exported file, without its detector.

    Raises:
        UserError: see `open_exported`.
    """
    path = _checked(path)
    card = CARDS[_suffix(path)](path)
    if card is None:
        raise UserError(f"{path} has no card: it is no file of this project's export")
    return card


def open_exported(path: str | os.PathLike, device: str = "cpu"):
    """The detector of an exported file, called as Detectron2 calls a model.

    Args:
        device: of a .safetensors file and a .pt2 file; an .onnx file uses a GPU where onnxruntime
            has one.
    Returns:
        model([{"image", "height", "width"}, ...]) -> [{"instances": Instances}, ...], where the
        image is (3, H, W), uint8 or float, in the card's channel order and already resized. It has
        `card` and `class_names`.
    Raises:
        UserError: the file does not exist, is broken or forged, or a package is missing.
    """
    path = _checked(path)
    return OPENERS[_suffix(path)](path, device)


def _suffix(path: str | os.PathLike) -> str:
    return os.path.splitext(path)[1].lower()


def _checked(path: str | os.PathLike) -> str:
    path = os.fspath(path)
    if _suffix(path) not in OPENERS:
        raise UserError(f"{path} is no exported file, whose name ends in {', '.join(OPENERS)}")
    if not os.path.isfile(path):
        raise UserError(f"{path} does not exist")
    return path
