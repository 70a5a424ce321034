"""What a proof is made on."""

import torch

from exported_files import batch
from sad.export.proof import check_batches

BATCHES = check_batches([x["image"] for x in batch((64, 64), (48, 64), (64, 50))], 32)


def test_the_batches_are_of_two_sizes_two_numbers_no_objects_and_extreme_shapes():
    shapes = [tuple(x.shape) for x in BATCHES]
    assert len({x[2:] for x in shapes[:4]}) == 2 and [x[0] for x in shapes[:4]] == [1, 3, 1, 3]
    assert BATCHES[4].min() >= 118 and BATCHES[4].max() <= 138
    assert shapes[5:] == [(1, 3, 8, 256), (1, 3, 256, 8)]
    assert all(x.dtype == torch.uint8 for x in BATCHES)
