"""Early stop: what a plateau of the validation AP does to the rest of a run.

A run follows a schedule of SOLVER.MAX_ITER iterations, in which the learning rate drops at
SOLVER.STEPS. A plateau skips a part of the schedule: what is left of it before the next drop, or,
after the last one, before its end. The position in the schedule is the learning-rate scheduler's
own, and is in every checkpoint; what is decided depends on it and the APs alone, so that a resumed
run decides alike.
"""

import logging
import math
from contextlib import suppress

from detectron2.engine import HookBase, TrainerBase
from detectron2.utils import comm

logger = logging.getLogger(__name__)


class EarlyStop(HookBase):
    """After an evaluation and on every rank; see SOLVER.EARLY_STOP."""

    def __init__(self, cfg, metric: str):
        """
        Args:
            cfg: that of `derive_schedule`.
            metric: name of the AP that decides, in the storage of the first rank.
        """
        self.period = cfg.TEST.EVAL_PERIOD
        self.patience = cfg.SOLVER.EARLY_STOP.PATIENCE
        self.min_gain = cfg.SOLVER.EARLY_STOP.MIN_GAIN
        self.warmup = cfg.SOLVER.WARMUP_ITERS
        self.stages = (0, *cfg.SOLVER.STEPS, cfg.SOLVER.MAX_ITER)
        self.metric = metric
        self.best, self.best_at = 0.0, 0

    def state_dict(self):
        return {"best": self.best, "best_at": self.best_at}

    def load_state_dict(self, state):
        self.best, self.best_at = state["best"], state["best_at"]

    def after_step(self):
        done = self.trainer.iter + 1
        if done % self.period or done == self.trainer.max_iter:
            return
        latest = self.trainer.storage.latest().get(self.metric, (math.nan, done))
        ap = comm.all_gather(latest[0])[0]  # the first rank's, which alone has evaluated
        if ap > self.best + self.min_gain:
            self.best, self.best_at = ap, done
        elif self.best > 0 and self._evaluations_without_gain(done) >= self.patience:
            self._skip(done)

    def _evaluations_without_gain(self, done: int) -> int:
        position = self.trainer.scheduler.last_epoch
        in_stage = position - max(start for start in self.stages if start <= position)
        begin = max(self.best_at, self.warmup, done - in_stage)
        return max(0, done // self.period - begin // self.period)

    def _skip(self, done: int) -> None:
        position = self.trainer.scheduler.last_epoch
        goal = min(start for start in self.stages if start > position)
        what = "the run ends" if goal == self.stages[-1] else "the learning rate drops"
        logger.info(
            f"Early stop: {self.metric} has not risen above {self.best:.2f} by more than "
            f"{self.min_gain:g} since iteration {self.best_at}, so {what} after {done} iterations, "
            f"{goal - position} before its time"
        )
        self.trainer.go_on_at(goal, done)
        if done == self.trainer.max_iter:
            self.trainer.checkpointer.save("model_final", iteration=self.trainer.iter)


class _Ended(BaseException):
    """No Exception, of which TrainerBase would log a traceback."""


class Shortenable(TrainerBase):
    """TrainerBase, which also ends well where `max_iter` has been lowered on the way."""

    def train(self, start_iter: int, max_iter: int):
        with suppress(_Ended):
            super().train(start_iter, max_iter)

    def before_step(self):
        if self.iter >= self.max_iter:
            raise _Ended
        super().before_step()
