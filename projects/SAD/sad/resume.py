"""Going on where a run was stopped, so that it ends as if it had not been.

Samples depend on (seed, stream, position) alone, so a position is enough for the data. Everything
else that decides the future is in the checkpoint's "trainer": optimizer and schedule as in
Detectron2, and what is below. A checkpoint is written after the step and before what else there is
to do in its iteration (evaluation, metrics), which a resumed run therefore does first.
"""

import logging
import os
import random
import re
import signal
import threading
from contextlib import contextmanager
from functools import cache
from itertools import count

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from detectron2.utils.events import JSONWriter, TensorboardXWriter

from .config import distills, get_sad_cfg, settings
from .errors import RESUME_EXIT_CODE, STOPPED, UserError, announce_stop, heed_interrupt
from .files import sha256

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


def describe_run(cfg) -> dict:
    """All that tells one experiment from another: {key or what it is: value}."""
    described = {**_settings(cfg), NUMBER_OF_WORKERS: comm.get_world_size()}
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED):
        if json_file := MetadataCatalog.get(name).get("json_file"):
            described[f"the sha256 of {name}'s annotations"] = sha256(json_file)
    if distills(cfg):
        teacher = cfg.SAD.TEACHER
        described["the sha256 of SAD.TEACHER.WEIGHTS"] = sha256(teacher.WEIGHTS)
        for key, value in _settings(get_sad_cfg(teacher.CONFIG_FILE)).items():
            if key.startswith(("MODEL.", "INPUT.FORMAT")) and key != "MODEL.WEIGHTS":
                described[OF_TEACHER + key] = value
    return described


# Detectron2 has them for other models, and for its own data loader.
OF_OTHER_MODELS = (
    *("MODEL.RPN", "MODEL.PROPOSAL_GENERATOR", "MODEL.ROI_", "MODEL.SEM_SEG_HEAD"),
    *("MODEL.PANOPTIC_FPN", "DATASETS.PROPOSAL_FILES", "DATASETS.PRECOMPUTED_PROPOSAL"),
    *("INPUT.MASK_FORMAT", "DATALOADER.SAMPLER_TRAIN", "DATALOADER.REPEAT_THRESHOLD", "GLOBAL."),
)


def _settings(cfg) -> dict:
    return {k: value for k, value in settings(cfg).items() if not k.startswith(OF_OTHER_MODELS)}


NUMBER_OF_WORKERS = "number of workers"
OF_TEACHER = "the teacher's "
MAY_CHANGE = (
    # A run may be made longer, and go on elsewhere.
    *("SOLVER.MAX_ITER", "SOLVER.STEPS", "MODEL.WEIGHTS"),
    *("SOLVER.ACCUMULATION_STEPS", "SOLVER.REFERENCE_WORLD_SIZE", NUMBER_OF_WORKERS),
    *("SAD.DISTILL.ONE_PASS", "SAD.DISTILL.COMPILE", "MODEL.CHANNELS_LAST", "CUDNN_BENCHMARK"),
    # What a run that stops advises, and where it stops.
    *("SOLVER.BASE_LR", "SOLVER.WARMUP_ITERS", "SOLVER.CLIP_FULL_MODEL_NORM"),
    *("DATALOADER.MAX_UNREADABLE", "DATALOADER.MAX_IMAGE_PIXELS", "DATASETS.MAX_BOXES"),
    # What is only looked at.
    *("VIS_PERIOD", "SAD.TEACHER.CLASS_NAMES"),
)


def may_change(key: str) -> bool:
    """Whether a run may go on with another value of a key of `describe_run`.

    It may where the weights do not depend on the value, or where the user is told to change it:
    `MAY_CHANGE`, and every key that has TEST in its name, except that TEST.PRECISE_BN counts the
    checkpoint's batch-norm statistics.
    """
    key = key.removeprefix(OF_TEACHER)
    measures = "TEST" in re.split(r"[._]", key) and not key.startswith("TEST.PRECISE_BN")
    return measures or key.startswith(MAY_CHANGE)


def check_same_run(before: dict, now: dict) -> None:
    """Refuse to go on with another experiment; warn of what may change with care.

    Args:
        before, now: see `describe_run`.
    Raises:
        UserError: naming what differs, and both values.
    """
    changes = {
        key: (before.get(key, "nothing"), now.get(key, "nothing"))
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    }
    for key in filter(may_change, list(changes)):
        logger.warning("Going on with another %s: %s before, %s now", key, *changes.pop(key))
    if changes:
        named = "; ".join(f"{key} {old} before, {new} now" for key, (old, new) in changes.items())
        raise UserError(
            f"--resume goes on with the same experiment, and this one differs: {named} (to start "
            "a new one from its weights, give them as MODEL.WEIGHTS and another OUTPUT_DIR)"
        )


class Preemption:
    """SIGTERM and Ctrl-C ask for a checkpoint and an early end, noticed where nothing is lost."""

    def __init__(self):
        self.asked = False
        self.heeding = False
        self._answer = None  # under way: (work, tensor)

    @contextmanager
    def heeded(self):
        """While inside, SIGTERM and the first SIGINT do not end the process by themselves."""
        # Python takes signals in the main thread alone.
        if self.heeding or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        signal.signal(signal.SIGTERM, self._ask)
        heed_interrupt(self._ask)
        self.asked, self.heeding = False, True
        try:
            yield
            self.asked = False  # an error may come of it, see `sad.launch`
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.heeding = False

    def _ask(self, number, _):
        self.asked = True
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)  # the next one ends the process, wherever it is
            if comm.is_main_process():
                announce_stop()

    def asked_of_any(self) -> bool:
        """Whether any worker was asked, so that all of them end at the same iteration.

        With many workers, by the call before this one: nobody waits for the answer.
        """
        if comm.get_world_size() == 1:
            return self.asked
        before, asked = self._answer, torch.tensor(self.asked, dtype=torch.uint8)
        work = torch.distributed.all_reduce(
            asked, torch.distributed.ReduceOp.MAX, group=_gloo_group(), async_op=True
        )
        self._answer = work, asked
        if before is None:
            return False
        before[0].wait()
        return bool(before[1])

    def leave_if_asked(self) -> None:
        """In an evaluation, before which a checkpoint was written."""
        if self.heeding and self.asked:
            logger.warning(STOPPED)
            raise SystemExit(RESUME_EXIT_CODE)


@cache
def _gloo_group():
    """Of all workers, for tensors on the CPU; None is the usual one."""
    distributed = torch.distributed
    if distributed.get_backend() == "gloo":
        return None
    return distributed.new_group(backend="gloo")


preemption = Preemption()  # of the process, as its signals are


class Checkpointer(hooks.PeriodicCheckpointer):
    """On every worker; also before an evaluation, whose troubles shall not cost the iterations."""

    def __init__(self, checkpointer, period: int, eval_period: int):
        super().__init__(checkpointer, period)
        self.eval_period = eval_period

    def after_step(self):
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
            comm.synchronize()  # the first worker to leave ends the job
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
        if not self.resumed:
            return
        for name, hint, values in self.loaded["scalars"]:
            for value, at in values:
                self.trainer.storage.put_scalar(name, value, hint, cur_iter=at)
        for writer, last_write in zip(self.writers, self.loaded["last_write"], strict=False):
            writer._last_write = last_write
        if self.writers and os.path.getsize(self.path) > self.loaded["size"]:
            os.truncate(self.path, self.loaded["size"])  # what came after the checkpoint
