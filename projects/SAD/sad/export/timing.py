"""How long detectors take, side by side."""

import statistics
import time
from collections.abc import Mapping

import torch
from torch import Tensor

ROUNDS, WARM_UP = 20, 3


@torch.inference_mode()
def milliseconds(detectors: Mapping[str, object], images: list[Tensor], rounds=ROUNDS) -> dict:
    """Median of each detector's time for a batch; they take turns, so that all meet the same.

    Args:
        detectors: name -> called as Detectron2 calls a model.
        images: (3, H, W) each.
    Returns:
        name -> milliseconds.
    """
    batch = [{"image": image} for image in images]
    times = {name: [] for name in detectors}
    for _ in range(WARM_UP + rounds):
        for name, detector in detectors.items():
            start = time.perf_counter()
            detector(batch)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(of[WARM_UP:]) for name, of in times.items()}
