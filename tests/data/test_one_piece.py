"""A batch arrives as it was sent, by one file descriptor."""

import os
import pickle

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from torch.utils.data import DataLoader

from sad.data.one_piece import OnePiece


def sample(number: int) -> dict:
    """What a mapper gives: tensors of all kinds, some without an element, and what is none."""
    instances = Instances((4, 6))
    instances.gt_boxes = Boxes(torch.rand(number, 4))
    instances.gt_classes = torch.arange(number)
    return {
        "image": torch.full((3, 4, 6), number, dtype=torch.uint8).transpose(1, 2),
        "instances": instances,
        "mask": torch.tensor([True, False]),
        "scale": torch.tensor(0.5, dtype=torch.bfloat16),
        "array": np.arange(6, dtype=np.float16).reshape(2, 3)[:, ::2],
        "empty": np.zeros((0, 4), np.int32),
        "kinds": np.dtype("int64"),
        "file_name": f"{number}.jpg",
        "nothing": None,
    }


def check(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    for key in ("image", "mask", "scale"):
        assert found[key].dtype == wanted[key].dtype
        torch.testing.assert_close(found[key], wanted[key], rtol=0, atol=0)
    for key in ("array", "empty"):
        assert found[key].dtype == wanted[key].dtype
        np.testing.assert_array_equal(found[key], wanted[key])
    one, other = found["instances"], wanted["instances"]
    assert torch.equal(one.gt_boxes.tensor, other.gt_boxes.tensor)
    assert torch.equal(one.gt_classes, other.gt_classes) and one.image_size == other.image_size
    assert [found[key] for key in ("file_name", "nothing", "kinds")] == [
        wanted[key] for key in ("file_name", "nothing", "kinds")
    ]


def test_it_is_the_same_after_the_way():
    samples = [sample(number) for number in (0, 3, 1)]
    found = pickle.loads(pickle.dumps(OnePiece(samples)))
    for one, other in zip(found, samples, strict=True):
        check(one, other)


def test_nothing_to_send():
    assert pickle.loads(pickle.dumps(OnePiece([]))) == []
    assert pickle.loads(pickle.dumps(OnePiece([{"a": 1}]))) == [{"a": 1}]
    (empty,) = pickle.loads(pickle.dumps(OnePiece([torch.zeros(0, 4, dtype=torch.float64)])))
    assert empty.shape == (0, 4) and empty.dtype == torch.float64


def test_what_is_no_plain_tensor_goes_by_itself():
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    sparse = torch.tensor([[0.0, 1.0]]).to_sparse()
    found = pickle.loads(pickle.dumps(OnePiece([masked, sparse])))
    assert found[0].mask.tolist() == [True, False] and found[1].is_sparse


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_sends_a_batch_by_one_descriptor(workers):
    samples = [sample(number) for number in range(8)]
    loader = DataLoader(samples, batch_size=8, num_workers=workers, collate_fn=OnePiece)
    batches = iter(loader)
    before = len(os.listdir("/proc/self/fd"))
    (batch,) = batches
    opened = len(os.listdir("/proc/self/fd")) - before
    for one, other in zip(batch, samples, strict=True):
        check(one, other)
    assert opened <= workers
    batch[0]["image"].add_(1)  # it may be written to
