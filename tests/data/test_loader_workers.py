"""The processes of our loaders outlive a scheduler's signals; others are left alone."""

import os
import signal
import subprocess
import sys

import pytest
from torch.utils.data import DataLoader

from sad.data.loader_workers import worker_arguments
from toy import TRAIN_NET


class Pids:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return os.getpid()


def test_readers_outlive_signals_to_all_processes():
    loader = DataLoader(Pids(), num_workers=2, persistent_workers=True, **worker_arguments(2))
    before = sorted(number.item() for number in loader)
    for pid in before:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert sorted(number.item() for number in loader) == before
    assert os.getpid() not in before


OWN_CHILD = """
import multiprocessing, signal, sys, time
from torch.utils.data import DataLoader
import sad.data.loader
from sad.data.loader_workers import worker_arguments

def work(ready):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("cleaned up", flush=True)))
    ready.set()
    time.sleep(60)

context = multiprocessing.get_context("fork")
ready = context.Event()
context.Process(target=work, args=(ready,), daemon=True).start()
ready.wait()
batches = iter(DataLoader([1, 2], num_workers=1, persistent_workers=True, **worker_arguments(1)))
next(batches)
"""


@pytest.mark.slow
def test_a_programs_own_children_end_as_python_ends_them():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OWN_CHILD],
        env={**os.environ, "PYTHONPATH": str(TRAIN_NET.parent)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "cleaned up\n", "")
