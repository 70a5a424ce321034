"""Memory that is freed stays with the process."""

import platform
import subprocess
import sys

import pytest

from sad.utils import allocator

# glibc's own account: not every kernel counts the pages that a process asks for.
ACCOUNT = """
import ctypes, sys
import torch
from sad.utils.allocator import keep_freed_memory
NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES]
mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info
if sys.argv[1] == "kept":
    assert keep_freed_memory()
mapped = mallinfo().hblkhd
large = [torch.ones(16_000_000) for _ in range(2)]
mapped = mallinfo().hblkhd - mapped
del large
print(mapped, mallinfo().fordblks)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_large_tensors_stay_in_the_heap_when_they_are_freed():
    def bytes_of(how):
        found = subprocess.run([sys.executable, "-c", ACCOUNT, how], capture_output=True, text=True)
        return [int(word) for word in found.stdout.split()]

    mapped, free = bytes_of("kept")
    assert mapped == 0 and free >= 128_000_000
    mapped, free = bytes_of("returned")  # by themselves: a mapping each, gone when it is freed
    assert mapped >= 128_000_000 and free < 64_000_000


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
