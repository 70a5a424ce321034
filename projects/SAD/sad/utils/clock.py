"""How long functions take, side by side."""

import time
from collections.abc import Callable

import torch

Arms = dict[str, Callable[[], object]]


def take_turns(arms: Arms, rounds: int, device: str = "cpu") -> dict[str, list[float]]:
    """Seconds of each arm in each round; the first round, which does not count, warms up.

    The order turns from round to round, so that no arm always follows the same one.
    """
    times = {name: [] for name in arms}
    names = list(arms)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = now(device)
            arms[name]()
            if number:
                times[name].append(now(device) - start)
    return times


def now(device: str | torch.device) -> float:
    """Seconds, when all that was asked of the device is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
