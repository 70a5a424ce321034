"""The processes that decode images beside a worker, in training and in evaluation alike."""

import atexit
import multiprocessing
import signal


def _outlive_preemption(_) -> None:
    # A scheduler's SIGTERM goes to every process; the last batches are still needed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def reader_arguments(count: int) -> dict:
    """What a torch DataLoader with `count` readers is given, as arguments or attributes."""
    return {
        "worker_init_fn": _outlive_preemption,
        # Also in a worker that was spawned, whose readers would import and copy everything again.
        "multiprocessing_context": "fork" if count else None,
    }


@atexit.register
def _end_readers() -> None:
    # Python ends what is left of them by SIGTERM, which they ignore, and waits.
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
