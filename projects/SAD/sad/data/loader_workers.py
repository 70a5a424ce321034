"""The processes that decode images beside a rank, in training, evaluation and labelling alike."""

import atexit
import multiprocessing
import signal
from multiprocessing.context import ForkContext, ForkProcess


class Worker(ForkProcess):
    """A process of a torch DataLoader of ours."""


class WorkerContext(ForkContext):
    """Forks, also in a rank that was spawned, whose workers would import everything again."""

    Process = Worker


def _outlive_preemption(_) -> None:
    # A scheduler's SIGTERM and a terminal's SIGINT go to every process; the last batches are still
    # needed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def worker_arguments(count: int) -> dict:
    """What a torch DataLoader with `count` workers is given, as arguments or attributes."""
    return {
        "worker_init_fn": _outlive_preemption,
        "multiprocessing_context": WorkerContext() if count else None,
    }


@atexit.register
def _end_workers() -> None:
    # Python ends what is left of them by SIGTERM, which they ignore, and waits.
    workers = [child for child in multiprocessing.active_children() if isinstance(child, Worker)]
    if workers:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call it an error
    for worker in workers:
        worker.kill()
