"""From a data set dict to the model's input: image, boxes, and which targets the image carries."""

import random
from contextlib import contextmanager

import numpy as np
from detectron2.config import configurable
from detectron2.data import DatasetMapper


@contextmanager
def seeded(seed: tuple[int, ...]):
    """Draws from `random` and `np.random` (Detectron2's augmentations) depend on `seed` alone."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(repr(seed))
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


class SADDatasetMapper(DatasetMapper):
    """DatasetMapper for labelled and teacher-annotated images (Table 3's columns).

    A dict comes with `origin`, "labeled" or "unlabeled", and `augmentation_seed`. It leaves with
    `instances` (ground truth, or the teacher's boxes), `hard_targets`: whether they enter the
    focal and box losses, and `soft_targets`: whether the teacher's logits do.
    """

    @configurable
    def __init__(self, *, targets: dict[str, tuple[str, ...]], **mapper_arguments):
        """
        Args:
            targets: origin -> some of "hard" and "soft"
        """
        super().__init__(**mapper_arguments)
        self.targets = targets

    @classmethod
    def from_config(cls, cfg, is_train: bool = True):
        return {
            **super().from_config(cfg, is_train),
            "targets": {
                "labeled": cfg.SAD.TARGETS.LABELED,
                "unlabeled": cfg.SAD.TARGETS.UNLABELED,
            },
        }

    def __call__(self, dataset_dict: dict) -> dict:
        with seeded(dataset_dict["augmentation_seed"]):
            sample = super().__call__(dataset_dict)
        targets = self.targets[sample["origin"]]
        sample["hard_targets"] = "hard" in targets
        sample["soft_targets"] = "soft" in targets
        return sample
