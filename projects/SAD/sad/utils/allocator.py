"""Memory that a training step frees and the next one asks for again."""

import ctypes
import platform

# Parameters of glibc's mallopt, in malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
STAYS = 2**31 - 1  # bytes, the largest that it takes
LARGEST_IN_HEAP = 1 << 30  # bytes of a tensor
AHEAD = 256 << 20  # bytes


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed: it gives large tensors back to the kernel, which then fills
    every page with zeros again in the next step.

    Returns:
        whether this is done; other allocators are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {
        M_MMAP_THRESHOLD: LARGEST_IN_HEAP,  # more than an old glibc allows
        M_TRIM_THRESHOLD: STAYS,
        M_TOP_PAD: AHEAD,
    }
    # Up to the first refusal: any of them fixes the thresholds that glibc else raises by itself.
    return all(mallopt(key, value) for key, value in wanted.items())
