"""What the metrics of a finished run say."""

import os
from statistics import fmean

from ..evaluation.metrics_file import read_metrics


def last_ap(run: str, of_set: str) -> float | None:
    """In percent.

    Args:
        run: the folder of the run.
        of_set: counts where several sets were evaluated.
    Returns:
        None where the run does not end in an evaluation, or on none of such a name.
    """
    lines = _metrics(run)
    last = lines[-1] if lines else {}
    return last.get(f"{of_set}/bbox/AP", last.get("bbox/AP"))


def seconds_per_iteration(run: str) -> float | None:
    """The mean: of CPUs their own time, of which nothing else that they do takes away.

    Not the median: the first epoch takes longer where a teacher's answers are kept.

    Returns:
        None of a run of a few iterations that was interrupted at its end.
    """
    times = [line.get("cpu_time", line["time"]) for line in _metrics(run) if "time" in line]
    return fmean(times) if times else None


def iterations_done(run: str) -> int:
    """Of a finished run: fewer than were planned where it stopped early."""
    return _metrics(run)[-1]["iteration"]


def _metrics(run: str) -> list[dict]:
    path = os.path.join(run, "metrics.json")
    return read_metrics(path) if os.path.exists(path) else []
