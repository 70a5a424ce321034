"""Going on where a run was stopped, so that it ends as if it had not been.

Samples depend on (seed, stream, position) alone, so a position is enough for the data. Everything
else that decides the future is in the checkpoint's "trainer", which is written as the last act of
an iteration: student, optimizer and schedule as in Detectron2, and what is below.
"""

import logging
import os
import random
import signal
import threading
from contextlib import contextmanager

import numpy as np
import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from detectron2.utils.events import JSONWriter, TensorboardXWriter

from .errors import RESUME_EXIT_CODE, UserError

logger = logging.getLogger(__name__)

OF_THE_PROCESS = ("time", "eta_seconds")  # IterationTimer begins anew after a resume
WINDOW = 20  # iterations that Detectron2's writers take medians over


def rng_state() -> dict:
    """States of this worker's random number generators, in types that a safe load admits."""
    algorithm, keys, *rest = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": [algorithm, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict) -> None:
    random.setstate(state["python"])
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def check_same_run(before: dict, now: dict) -> None:
    """Refuse to go on with another experiment; warn of what may change with care.

    Args:
        before, now: {"settings": {key: value}, "images", "teacher", "world_size"}
    Raises:
        UserError: naming what differs, and both values.
    """
    settings = {**dict.fromkeys(before["settings"]), **now["settings"]}
    changes = {
        key: (before["settings"].get(key), now["settings"].get(key))
        for key in sorted(settings)
        if before["settings"].get(key) != now["settings"].get(key)
    }
    names = {"images": "the images", "teacher": "the teacher", "world_size": "number of workers"}
    changes |= {
        name: (before[key], now[key]) for key, name in names.items() if before[key] != now[key]
    }
    for key in [key for key in changes if key.startswith(MAY_CHANGE)]:
        logger.warning("Going on with another %s: %s before, %s now", key, *changes.pop(key))
    if changes:
        named = "; ".join(f"{key} {old} before, {new} now" for key, (old, new) in changes.items())
        raise UserError(
            f"--resume goes on with the same experiment, and this one differs: {named} (to start "
            "a new one from its weights, give them as MODEL.WEIGHTS and another OUTPUT_DIR)"
        )


# A run may be made longer, or measured otherwise.
MAY_CHANGE = (
    *("SOLVER.MAX_ITER", "SOLVER.STEPS", "SOLVER.LR_DROPS"),
    *("DATASETS.TEST", "TEST.", "MODEL.WEIGHTS", "number of workers"),
)


class Preemption:
    """SIGTERM asks for a checkpoint and an early end; it is noticed between two iterations."""

    def __init__(self):
        self.asked = False

    @contextmanager
    def heeded(self):
        """While inside, SIGTERM does not end the process."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python takes signals in the main thread alone
            return
        before = signal.signal(signal.SIGTERM, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _ask(self, *_):
        self.asked = True

    def asked_of_any(self) -> bool:
        """Whether any worker was asked: all of them end at the same iteration."""
        return any(comm.all_gather(self.asked)) if comm.get_world_size() > 1 else self.asked


class Checkpointer(hooks.PeriodicCheckpointer):
    """The last hook of an iteration: what it writes includes the others' work. On every worker."""

    def __init__(self, checkpointer, period: int, preemption: Preemption):
        super().__init__(checkpointer, period)
        self.preemption = preemption

    def after_step(self):
        super().after_step()
        iteration, is_last = self.trainer.iter, self.trainer.iter + 1 == self.trainer.max_iter
        if self.preemption.asked_of_any() and not is_last:
            if (iteration + 1) % self.period:
                self.checkpointer.save(f"{self.file_prefix}_{iteration:07d}", iteration=iteration)
            comm.synchronize()  # the first worker to leave ends the job
            logger.warning("Stopped by SIGTERM after a checkpoint; --resume goes on from there")
            raise SystemExit(RESUME_EXIT_CODE)


class BestCheckpointer(hooks.BestCheckpointer):
    """Detectron2's, which also knows after a resume how good the best was."""

    def state_dict(self):
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state):
        self.best_metric, self.best_iter = state["best_metric"], state["best_iter"]


class MetricsHistory(HookBase):
    """metrics.json goes on without a gap, a line twice, or a median of fewer iterations."""

    def __init__(self, path: str, writers: list):
        self.path = path
        self.writers = [w for w in writers if isinstance(w, (JSONWriter, TensorboardXWriter))]
        self.loaded = None

    def state_dict(self):
        storage = self.trainer.storage
        hints = storage.smoothing_hints()
        return {
            "scalars": [
                [name, hints[name], [[value, at] for value, at in history.values()[-WINDOW:]]]
                for name, history in storage.histories().items()
                if name not in OF_THE_PROCESS
            ],
            "size": os.path.getsize(self.path) if os.path.exists(self.path) else 0,
            # Private, but Detectron2's writers have no other way to be told.
            "last_write": [writer._last_write for writer in self.writers],
        }

    def load_state_dict(self, state):
        self.loaded = state

    def before_train(self):
        if self.loaded is None:
            return
        for name, hint, values in self.loaded["scalars"]:
            for value, at in values:
                self.trainer.storage.put_scalar(name, value, hint, cur_iter=at)
        for writer, last_write in zip(self.writers, self.loaded["last_write"], strict=False):
            writer._last_write = last_write
        if self.writers and os.path.getsize(self.path) > self.loaded["size"]:
            os.truncate(self.path, self.loaded["size"])  # what came after the checkpoint
