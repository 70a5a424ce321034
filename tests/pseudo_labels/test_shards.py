"""Shards of detections: what is written comes back; a missing one is named."""

import os

import numpy as np
import pytest

from sad.pseudo_labels.detections import DETECTION
from sad.pseudo_labels.shards import (
    is_whole,
    read_detections,
    read_truncated,
    read_unreadable,
    write_shard,
)
from sad.utils.errors import UserError


def detections(*positions):
    found = np.zeros(len(positions), DETECTION)
    found["image"], found["score"] = positions, 1000
    return found


def files(*positions):
    return np.array([[position, 100 + position] for position in positions], np.int64)


def test_detections_and_images_that_are_not_whole_come_back(tmp_path):
    folder, reasons = str(tmp_path), {7: "no such file", 2: "Fehler: ä"}
    write_shard(folder, 1, files(), [], {}, [5])
    write_shard(folder, 0, files(3, 1), [detections(3, 3), detections(1)], reasons, [3, 1])
    first, second = read_detections(folder, 2)
    np.testing.assert_array_equal(first, detections(3, 3, 1))
    assert second.dtype == DETECTION and len(second) == 0
    assert read_unreadable(folder, range(2)) == reasons
    assert read_truncated(folder, range(2)) == [1, 3, 5]
    assert sorted(os.listdir(folder)) == ["shard_0.npz", "shard_1.npz"]
    with pytest.raises(UserError, match="shard_2.npz is missing: .* all machines share"):
        list(read_detections(folder, 3))


def test_a_shard_that_fails_while_it_is_written_leaves_nothing(tmp_path):
    with pytest.raises(OverflowError):
        write_shard(str(tmp_path), 0, files(1), [detections(1)], {2**40: "no such file"}, [])
    assert os.listdir(tmp_path) == []


def test_only_an_undamaged_shard_of_the_same_images_is_whole(tmp_path):
    folder, path = str(tmp_path), tmp_path / "shard_0.npz"
    assert not is_whole(folder, 0, files(1, 3))
    write_shard(folder, 0, files(1, 3), [detections(1, 1, 3)], {}, [])
    assert is_whole(folder, 0, files(1, 3))
    for others in (files(1), files(3, 1), files(1, 4), files(1, 3) + [0, 1]):
        assert not is_whole(folder, 0, others)
    whole = path.read_bytes()
    place = whole.index(detections(1, 1, 3).tobytes()) + 30
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    cut = [whole[: len(whole) * share // 8] for share in range(8)]
    for damaged in (flipped, *cut, whole[1:], b"no shard", whole[:100] + bytes(len(whole) - 100)):
        path.write_bytes(damaged)
        assert not is_whole(folder, 0, files(1, 3))
