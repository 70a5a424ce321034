"""A detector as .safetensors: its weights bit for bit, and a card from which it can be built."""

import json

import torch

from ..checkpoint.safe_load import safetensors_bytes
from ..exported.card import KEY, Card

HOW_TO_LOAD = """With SAD for Detectron2 (sad-detectron2), after `import sad`.
Arrays of boxes, scores and labels, of a BGR image or a file:
sad.Predictor("this.safetensors")(image)
Detectron2's model:
sad.exported.open.open_exported("this.safetensors")
"""


def to_weights(model, card: Card) -> bytes:
    """
    Args:
        model: Detectron2's; any precision of its weights is kept.
    """
    names = json.dumps(card.class_names)  # which MODEL.WEIGHTS of a training reads as well
    texts = {"format": "pt", "class_names": names, KEY: card.text(), "how_to_load": HOW_TO_LOAD}
    return safetensors_bytes(model.state_dict(), texts)


def differences(model, other) -> list[str]:
    """Names of the tensors of two models that are not the same bit for bit."""
    ours, theirs = model.state_dict(), other.state_dict()
    return [
        key
        for key in sorted({*ours, *theirs})
        if not (key in ours and key in theirs and torch.equal(ours[key], theirs[key]))
    ]
