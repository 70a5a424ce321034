"""Memory and open files stay as they are, and the soak test sees it when they do not."""

import mmap

import pytest
import torch

from soak import MAX_MB, Watch, soak, too_much


@pytest.mark.slow
def test_training_and_labelling_leak_nothing(tmp_path):
    rises = soak(tmp_path, 200, every=10)
    assert rises.keys() == {"training", "training with kept answers", "labelling"}
    assert too_much(rises) == []


def test_a_leak_is_seen(tmp_path, capsys):
    """1 MB and a file, open and on disk, are kept by each of 200 forward passes."""
    model, kept = torch.nn.Identity(), []
    watch = Watch(model, every=10, folder=tmp_path)
    for number in range(200):
        model(torch.zeros(1))
        block = mmap.mmap(-1, 1_000_000)  # not from what the process has at hand
        block.write(bytes(1_000_000))
        kept += [block, open(tmp_path / str(number), "w")]
    rises = watch.rises()
    for file in kept[1::2]:
        file.close()
    assert rises["MB"] > MAX_MB
    assert rises["files"] == rises["files kept"] == pytest.approx(140, abs=1)
    assert len(too_much({"leak": rises})) == 3
    assert len(capsys.readouterr().out.splitlines()) == 20
