"""A detector as .safetensors: its weights bit for bit, and a card from which it can be built."""

import json

import torch
from safetensors.torch import save

from ..exported.card import KEY, Card


def to_weights(model, card: Card) -> bytes:
    """
    Args:
        model: Detectron2's; any precision of its weights is kept.
    """
    # The format has neither views nor two names for one tensor.
    tensors = {
        key: x.detach().clone(memory_format=torch.contiguous_format)
        for key, x in model.state_dict().items()
    }
    names = json.dumps(card.class_names)  # which MODEL.WEIGHTS of a training reads as well
    return save(tensors, {"format": "pt", "class_names": names, KEY: card.text()})


def differences(model, other) -> list[str]:
    """Names of the tensors of two models that are not the same bit for bit."""
    ours, theirs = model.state_dict(), other.state_dict()
    return [
        key
        for key in sorted({*ours, *theirs})
        if not (key in ours and key in theirs and torch.equal(ours[key], theirs[key]))
    ]
