"""Samples of the mixed loader, drawn and compared."""

import itertools

import torch

from sad.data.loader import build_mixed_loader


def same(one, other) -> bool:
    return (
        one["image_id"] == other["image_id"]
        and one["origin"] == other["origin"]
        and torch.equal(one["image"], other["image"])
        and torch.equal(one["instances"].gt_boxes.tensor, other["instances"].gt_boxes.tensor)
    )


def loaded(cfg, count, start=0):
    loader = build_mixed_loader(cfg)
    loader.batch_sampler.start = start
    return list(itertools.islice(loader, count))
