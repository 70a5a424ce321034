"""Shards of detections: what is written comes back; a missing one is named."""

import os

import numpy as np
import pytest

from sad.errors import UserError
from sad.pseudo_labels import DETECTION
from sad.shards import read_detections, read_unreadable, write_shard


def detections(*positions):
    found = np.zeros(len(positions), DETECTION)
    found["image"], found["score"] = positions, 1000
    return found


def test_detections_and_unreadable_images_come_back(tmp_path):
    folder = str(tmp_path)
    write_shard(folder, 1, [], {})
    write_shard(folder, 0, [detections(3, 3), detections(1)], {7: "no such file", 2: "Fehler: ä"})
    first, second = read_detections(folder, 2)
    np.testing.assert_array_equal(first, detections(3, 3, 1))
    assert second.dtype == DETECTION and len(second) == 0
    assert read_unreadable(folder, 2) == {7: "no such file", 2: "Fehler: ä"}
    assert sorted(os.listdir(folder)) == ["shard_0.npz", "shard_1.npz"]
    with pytest.raises(UserError, match="shard_2.npz is missing: .* all machines share"):
        list(read_detections(folder, 3))


def test_a_shard_that_fails_while_it_is_written_leaves_nothing(tmp_path):
    with pytest.raises(OverflowError):
        write_shard(str(tmp_path), 0, [detections(1)], {2**40: "no such file"})
    assert os.listdir(tmp_path) == []
