"""What the tests of detectors and distillers share."""

import pytest

from sad.data.loader import build_mixed_loader


@pytest.fixture(scope="module")
def batches(toy):
    """Three batches of 4 images: wide, tall and square ones together."""
    cfg = toy.cfg("SAD.yaml", "SAD.LOADER.MIX", "union", "DATALOADER.ASPECT_RATIO_GROUPING", False,
                  "SOLVER.IMS_PER_BATCH", 4)  # fmt: skip
    loader = iter(build_mixed_loader(cfg))
    return [next(loader) for _ in range(3)]
