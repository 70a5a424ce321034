"""Whose the detections in a folder are."""

import pytest

from sad.evaluation.weights_record import (
    RECORD,
    check_weights,
    detections_folder,
    forget_weights,
    record_weights,
)
from sad.utils.errors import UserError


@pytest.fixture
def run(tmp_path):
    """(the run's weights, the folder of its detections)."""
    folder = tmp_path / "inference" / "minival"
    folder.mkdir(parents=True)
    weights = tmp_path / "model_final.pth"
    weights.write_bytes(b"one")
    assert detections_folder(str(tmp_path), "minival") == str(folder)
    return weights, folder


def test_the_same_file_and_its_copies_pass(run, tmp_path):
    weights, folder = run
    record_weights(str(folder), str(weights))
    check_weights(str(folder), str(weights))
    copy = tmp_path / "copy.pth"
    copy.write_bytes(b"one")
    assert check_weights(str(folder), str(copy)) is None
    record_weights(str(folder), str(weights), threshold=0.41)
    assert check_weights(str(folder), str(copy)) == 0.41


def test_others_are_named(run):
    weights, folder = run
    record_weights(str(folder), str(weights))
    weights.write_bytes(b"another")
    with pytest.raises(UserError, match=f"in {folder} are of {weights}, not of {weights}"):
        check_weights(str(folder), str(weights))


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"file": "x"}'])
def test_without_a_record_nobody_knows(run, text):
    weights, folder = run
    record_weights(str(folder), str(weights))
    forget_weights(str(folder))
    forget_weights(str(folder))
    if text is not None:
        (folder / RECORD).write_text(text)
    with pytest.raises(UserError, match=f"{RECORD}.* cannot be read .*evaluate {weights} again"):
        check_weights(str(folder), str(weights))
