"""What is done beside the steps of a run: checkpoints, the best weights, and its metrics.

A run that is stopped goes on so that it ends as if it had not been. Samples depend on (seed,
stream, position) alone, so a position is enough for the data; everything else that decides the
future is in the checkpoint's "trainer". A checkpoint is written after the step and before what else
there is to do in its iteration (evaluation, metrics), which a resumed run therefore does first.
"""

import logging
import os
import time
from itertools import count

from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from detectron2.utils.events import JSONWriter, TensorboardXWriter

from ..utils.compat import last_write, set_last_write
from ..utils.errors import RESUME_EXIT_CODE, STOPPED
from ..utils.preemption import preemption

logger = logging.getLogger(__name__)

OF_THE_PROCESS = ("time", "cpu_time", "eta_seconds")  # timers begin anew after a resume
WINDOW = 20  # iterations that Detectron2's writers take medians over


class CpuTimer(HookBase):
    """The CPU time of a step: seconds of all threads, however many other programs share the CPU."""

    def before_step(self):
        self.begin = time.process_time()

    def after_step(self):
        self.trainer.storage.put_scalar("cpu_time", time.process_time() - self.begin)


class Checkpointer(hooks.PeriodicCheckpointer):
    """On every rank; also before an evaluation, whose troubles shall not cost the iterations."""

    def __init__(self, checkpointer, period: int, eval_period: int):
        super().__init__(checkpointer, period)
        self.eval_period = eval_period

    def after_step(self):
        self.max_iter = self.trainer.max_iter  # early stop may have lowered it
        super().after_step()
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter:
            return
        asked = preemption.asked_of_any()
        evaluates = self.eval_period > 0 and done % self.eval_period == 0
        if (asked or evaluates) and done % self.period:
            name = f"{self.file_prefix}_{self.trainer.iter:07d}"
            self.checkpointer.save(name, iteration=self.trainer.iter)
        if asked:
            comm.synchronize()  # the first rank to leave ends the job
            logger.warning(STOPPED)
            raise SystemExit(RESUME_EXIT_CODE)


class BestCheckpointer(hooks.BestCheckpointer):
    """Detectron2's, which also knows after a resume how good the best was."""

    def state_dict(self):
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state):
        self.best_metric, self.best_iter = state["best_metric"], state["best_iter"]


def set_aside_metrics(folder: str) -> None:
    """Keep the metrics of a run that died before its first checkpoint out of the next one's."""
    path = os.path.join(folder, "metrics.json")
    begun = os.path.exists(path) and os.path.getsize(path) > 0
    if not begun or os.path.exists(os.path.join(folder, "last_checkpoint")):
        return
    kept = next(name for n in count(1) if not os.path.exists(name := f"{path}.{n}"))
    os.rename(path, kept)
    logger.warning(f"A run died here before its first checkpoint: its metrics are now in {kept}")


class MetricsHistory(HookBase):
    """metrics.json goes on without a gap, a line twice, or a median of fewer iterations."""

    def __init__(self, path: str, writers: list):
        self.path = path
        self.writers = [w for w in writers if isinstance(w, (JSONWriter, TensorboardXWriter))]
        self.resumed = False  # set by the trainer
        self.loaded = {"scalars": [], "size": 0, "last_write": []}

    def state_dict(self):
        storage = self.trainer.storage
        hints = storage.smoothing_hints()

        def last(name, history):  # micro-batches may each have a value
            values = history.values()[-storage.count_samples(name, WINDOW) :]
            return [[value, at] for value, at in values]

        return {
            "scalars": [
                [name, hints[name], last(name, history)]
                for name, history in storage.histories().items()
                if name not in OF_THE_PROCESS
            ],
            "size": os.path.getsize(self.path) if os.path.exists(self.path) else 0,
            "last_write": list(map(last_write, self.writers)),
        }

    def load_state_dict(self, state):
        self.loaded = state

    def before_train(self):
        if not self.resumed:
            return
        for name, hint, values in self.loaded["scalars"]:
            for value, at in values:
                self.trainer.storage.put_scalar(name, value, hint, cur_iter=at)
        for writer, iteration in zip(self.writers, self.loaded["last_write"], strict=False):
            set_last_write(writer, iteration)
        if self.writers and os.path.getsize(self.path) > self.loaded["size"]:
            os.truncate(self.path, self.loaded["size"])  # what came after the checkpoint
