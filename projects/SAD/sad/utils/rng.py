"""The random number generators of this process, as a state to go on from."""

import random

import numpy as np
import torch


def rng_state() -> dict:
    """States of this process's random number generators, in types that a safe load admits."""
    algorithm, keys, *rest = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": [algorithm, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict) -> None:
    random.setstate(state["python"])
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
