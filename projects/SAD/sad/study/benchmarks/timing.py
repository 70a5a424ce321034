"""What is measured: the ratios of arms' times with an interval, and the memory they need."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile


@dataclass
class Options:
    """What the command line asks every section for."""

    device: str  # "cpu" or "cuda"
    size: str  # "small" or "coco"
    rounds: int  # every arm's timed runs
    runs: tuple[tuple[str, str], ...] = ()  # (name, folder) of trainings, for what needs any


@dataclass
class Table:
    """A section's result: {arm: {column: value}}, and what a reader must know about it."""

    title: str
    rows: dict[str, dict]
    notes: list[str]
    rounds: int  # that were timed

    def markdown(self) -> str:
        columns = list(dict.fromkeys(key for row in self.rows.values() for key in row))
        cells = [
            [arm, *(_cell(row.get(column)) for column in columns)] for arm, row in self.rows.items()
        ]
        text = tabulate(cells, ["", *columns], "github", disable_numparse=True)
        return "\n\n".join([f"## {self.title}", text, *self.notes]) + "\n"


def _cell(value) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " to ".join(map(_cell, value))
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def compare(times: dict[str, list[float]], base: str) -> dict[str, dict]:
    """Rows of a table: median ms, its quartiles, and the ratio to `base` with a 95 % interval."""
    return {
        name: {
            "ms": 1000 * statistics.median(found),
            "quartiles": [1000 * x for x in np.quantile(found, [0.25, 0.75]).tolist()],
            f"ratio to {base}": ratio(found, times[base])[0],
            "95 % interval": ratio(found, times[base])[1],
        }
        for name, found in times.items()
    }


def ratio(times: list[float], base: list[float]) -> tuple[float, list[float]]:
    """The median over the rounds of time over base, and its 95 % interval (bootstrap of rounds)."""
    of_rounds = np.array(times) / np.array(base)
    lot = np.random.default_rng(0).integers(len(of_rounds), size=(2000, len(of_rounds)))
    interval = np.quantile(np.median(of_rounds[lot], axis=1), [0.025, 0.975])
    return float(np.median(of_rounds)), interval.tolist()


def peak_memory(function: Callable[[], object], device: str = "cpu") -> int:
    """Bytes of tensors that a call needs at its worst beyond those that are there before it."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    events = profiler.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    return int(max(np.cumsum([0, *(change for _, change in sorted(changes))])))
