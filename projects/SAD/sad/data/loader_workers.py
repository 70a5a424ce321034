"""The processes that decode images beside a worker, in training, evaluation and labelling alike."""

import atexit
import multiprocessing
import signal
from multiprocessing.context import ForkContext, ForkProcess


class Reader(ForkProcess):
    """A process of a torch DataLoader of ours."""


class ReaderContext(ForkContext):
    """Forks, also in a worker that was spawned, whose readers would import everything again."""

    Process = Reader


def _outlive_preemption(_) -> None:
    # A scheduler's SIGTERM and a terminal's SIGINT go to every process; the last batches are still
    # needed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def reader_arguments(count: int) -> dict:
    """What a torch DataLoader with `count` readers is given, as arguments or attributes."""
    return {
        "worker_init_fn": _outlive_preemption,
        "multiprocessing_context": ReaderContext() if count else None,
    }


@atexit.register
def _end_readers() -> None:
    # Python ends what is left of them by SIGTERM, which they ignore, and waits.
    readers = [child for child in multiprocessing.active_children() if isinstance(child, Reader)]
    if readers:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call it an error
    for reader in readers:
        reader.kill()
