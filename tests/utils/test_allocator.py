"""Memory that is freed and asked for again comes without new pages."""

import platform
import subprocess
import sys

import pytest

from sad.utils import allocator

FAULTS = """
import resource, sys
import torch
from sad.utils.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        large = [torch.ones(4_000_000) for _ in range(4)]
        del large
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_large_tensors_find_the_pages_of_earlier_ones():
    found = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True).stdout)
        for how in ("kept", "returned")
    }
    assert found["kept"] < 1000 < found["returned"]


@pytest.mark.parametrize(("refused", "asked"), [((), 3), ((allocator.M_MMAP_THRESHOLD,), 1)])
def test_an_allocator_that_refuses_the_first_is_left_as_it_was(monkeypatch, refused, asked):
    """As glibc does before 2.35, which this one cannot be made to do."""
    found = []

    class OldLibrary:
        def __init__(self, _):
            self.mallopt = lambda key, value: found.append(key) or int(key not in refused)

    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("glibc", "2.31"))
    monkeypatch.setattr(allocator.ctypes, "CDLL", OldLibrary)
    assert allocator.keep_freed_memory() == (not refused) and len(found) == asked
