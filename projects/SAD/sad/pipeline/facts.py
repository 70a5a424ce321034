"""What the settings are chosen from: the labelled images in numbers, and the machine."""

import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.checks import classes_of, count_boxes
from ..data.datasets import read_sets
from ..modeling.anchor_fit import sample_boxes


class Machine(NamedTuple):
    gpus: int
    cores: int
    memory: int  # bytes, of the GPU those that are free, of the machine all: its caches come and go
    ranks: int = 1  # processes that train together

    @classmethod
    def this(cls, num_gpus: int) -> "Machine":
        if torch.cuda.is_available():
            memory = torch.cuda.mem_get_info()[0]
        else:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        gpus = num_gpus if torch.cuda.is_available() else 0
        return cls(gpus, len(os.sched_getaffinity(0)), memory, num_gpus)


@dataclass
class Facts:
    """Of the labelled images that are trained on."""

    class_names: list[str]
    num_labeled: int
    num_unlabeled: int
    boxes: Tensor  # (B, 4) x0 y0 x1 y1 in pixels, at most some thousand drawn by a fixed seed
    sizes: Tensor  # (B, 2) height and width of each one's image
    long_side: int  # the median of the images' longer sides
    most_boxes: int  # of an image; nineteen of twenty have no more
    num_negative: int = 0  # labelled images that show none of the objects

    @classmethod
    def of(cls, name: str, num_unlabeled: int) -> "Facts":
        """
        Args:
            name: of the registered data set.
        """
        images = read_sets([name])
        boxes, sizes = sample_boxes(images)
        longer = [max(image["width"], image["height"]) for image in images]
        counts = [count_boxes(image) for image in images]
        return cls(
            classes_of(name),
            len(images),
            num_unlabeled,
            boxes,
            sizes,
            int(np.median(longer)),
            int(np.quantile(counts, 0.95, method="higher")),
            counts.count(0),
        )

    def sides_at(self, size: int) -> Tensor:
        """(B,) square roots of the boxes' areas where the images' longer side is `size`."""
        x0, y0, x1, y1 = self.boxes.unbind(dim=1)
        return ((x1 - x0) * (y1 - y0)).sqrt() * size / self.sizes.amax(dim=1)
