"""Labelled and unlabelled images as samples, with replacements for files that cannot be read."""

import hashlib

import numpy as np
import torch
from detectron2.data import DatasetFromList

from .images import ImageError
from .sampler import SampleKey


class MixedDataset(torch.utils.data.Dataset):
    """Labelled dicts followed by unlabelled ones; a SampleKey becomes the mapper's sample.

    A file that cannot be read is replaced by another of its origin, chosen by the sample's seed,
    and is in "unreadable" with the reason, the first before its replacements. After MAX_TRIES of
    them the sample is that list alone.
    """

    MAX_TRIES = 10

    def __init__(self, labeled: list[dict], unlabeled: list[dict], mapper):
        origins = [("labeled", item) for item in labeled]
        origins += [("unlabeled", item) for item in unlabeled]
        self.items = DatasetFromList([{**item, "origin": name} for name, item in origins])
        self.ranges = {"labeled": (0, len(labeled)), "unlabeled": (len(labeled), len(origins))}
        # What positions mean; it depends on the image files too, see `read_training_images`.
        ids = repr([(name, item.get("image_id")) for name, item in origins])
        self.digest = hashlib.sha256(ids.encode()).hexdigest()
        self.mapper = mapper

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: SampleKey) -> dict:
        item = self.items[key.index]
        choices = np.random.default_rng(key.augmentation_seed)
        unreadable = []
        for _ in range(self.MAX_TRIES):
            try:
                sample = self.mapper({**item, "augmentation_seed": key.augmentation_seed})
                return {**sample, "unreadable": unreadable}
            except ImageError as error:
                unreadable.append((item["file_name"], str(error)))
                item = self.items[choices.integers(*self.ranges[item["origin"]])]
        return {"unreadable": unreadable}
