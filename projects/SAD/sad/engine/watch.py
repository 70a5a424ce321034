"""Where people watch their runs, besides TensorBoard: Weights & Biases and MLflow.

Both are told what metrics.json holds, by writers after Detectron2's pattern. Neither is imported
unless SAD.WATCH.TO names it, and no trouble with a service stops a training.
"""

import errno
import logging
import os
import re
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from contextlib import contextmanager
from importlib import import_module
from itertools import count

import yaml
from detectron2.engine import hooks
from detectron2.utils.events import EventWriter, get_event_storage

from ..config.defaults import flat
from ..utils.errors import UserError, reason
from .hooks import WINDOW

logger = logging.getLogger(__name__)

INSTALL = "pip install -e '.[watch]' in the clone of this project"
PAUSE = 300  # seconds until what a service did not take is sent again
LAST_WORDS = 60  # seconds that a finished training waits for a service at most
LOGIN = 30  # seconds that a training waits at the keyboard for somebody to log in
# Errors of a disk that one file's name is to blame for: it takes others.
OF_A_NAME = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL)


class Watcher(EventWriter, ABC):
    """Tells a service of each scalar once, with its iteration.

    What the service does not take is kept, and sent again after a pause and at the end.
    """

    name = ""  # in SAD.WATCH.TO and of the package

    def __init__(self):
        self.run_id = None  # of the run in the service, which a resumed training goes on with
        self.last_write = -1  # iteration
        self.started = self.finished = False
        self.waiting = []  # (iteration, {name: value})
        self.pause_until = 0.0

    def start(self, cfg) -> None:
        """Begin a run in the service, or go on with `run_id`."""
        with self._forgiving("this run is not shown there"):
            self.run_id, where = self._start(cfg)
            self.started = True
            logger.info(f"{self.name} shows this run as {self.run_id}, {where}")

    def write(self) -> None:
        """As Detectron2's JSONWriter: what is new in the storage, noisy values as medians."""
        new = defaultdict(dict)
        latest = get_event_storage().latest_with_smoothing_hint(WINDOW)
        for name, (value, iteration) in latest.items():
            if iteration > self.last_write:
                new[iteration][name] = value
        self.last_write = max(new, default=self.last_write)
        if self.started:
            self.waiting += sorted(new.items())
        if time.monotonic() >= self.pause_until:
            self._send()

    def close(self) -> None:
        self._send()
        if self.waiting:
            logger.warning(
                f"{self.name} lacks {len(self.waiting)} iterations of this run; metrics.json has "
                "them all"
            )
        if self.started:
            with self._forgiving("it may show this run as going on"):
                self._end()

    def _send(self) -> None:
        with self._forgiving(f"it is told again in {PAUSE // 60} minutes, and at the end"):
            while self.waiting:
                self._log(*self.waiting[0])
                del self.waiting[0]

    @contextmanager
    def _forgiving(self, consequence: str):
        try:
            yield
        except Exception as error:  # whatever a client or a server comes up with
            self.pause_until = time.monotonic() + PAUSE
            logger.warning(f"{self.name} has failed ({reason(error)}): {consequence}")

    @abstractmethod
    def _start(self, cfg) -> tuple[str, str]:
        """Begin or go on; returns (id of the run, where to look at it)."""

    @abstractmethod
    def _log(self, iteration: int, scalars: dict[str, float]) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...


class WandbWatcher(Watcher):
    """Of W&B: project "sad", or WANDB_PROJECT's; WANDB_MODE=offline writes to OUTPUT_DIR alone."""

    name = "wandb"

    def _start(self, cfg):
        os.environ.setdefault("WANDB_LOGIN_TIMEOUT", str(LOGIN))
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "sad"),
            name=run_name(cfg),
            id=self.run_id,
            resume="allow",
            dir=cfg.OUTPUT_DIR,
            config=yaml.safe_load(cfg.dump()),
            allow_val_change=True,
            settings=wandb.Settings(finish_timeout=LAST_WORDS),
        )
        if self.run.disabled:
            raise RuntimeError("W&B is disabled, or nobody has logged in: wandb login does it")
        return self.run.id, self.run.url or self.run.dir

    def _log(self, iteration, scalars):
        self.run.log(scalars, step=iteration)

    def _end(self):
        self.run.finish(exit_code=int(not self.finished))


class MLflowWatcher(Watcher):
    """Of MLflow, at MLFLOW_TRACKING_URI and in MLFLOW_EXPERIMENT_NAME."""

    name = "mlflow"

    def _start(self, cfg):
        # Of its own accord it tries for minutes, and the training would wait.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        import mlflow

        self.refused = set()  # names
        if self.run_id:
            mlflow.start_run(self.run_id)
            return self.run_id, mlflow.get_tracking_uri()
        run = mlflow.start_run(run_name=run_name(cfg))
        mlflow.log_params(_allowed({key: str(value) for key, value in flat(cfg)}))
        return run.info.run_id, mlflow.get_tracking_uri()

    def _log(self, iteration, scalars):
        values = _allowed(scalars)
        if not self._refusal(iteration, values):
            return
        errors = {name: self._refusal(iteration, {name: value}) for name, value in values.items()}
        new = [name for name, error in errors.items() if error and name not in self.refused]
        if new:
            self.refused.update(new)
            logger.warning(
                f"mlflow refuses {len(new)} of {len(values)} values of iteration {iteration}, "
                f"{new[0]} the first of them ({reason(errors[new[0]])}): the run lacks what bears "
                "such a name there, and metrics.json has it"
            )

    def _refusal(self, iteration: int, values: dict[str, float]) -> Exception | None:
        """Log values, or tell why MLflow never takes them; raises where it may do so later."""
        import mlflow

        try:
            mlflow.log_metrics(values, step=iteration, run_id=self.run_id)
        except Exception as error:
            if _is_away(error):
                raise
            return error

    def _end(self):
        import mlflow

        mlflow.end_run("FINISHED" if self.finished else "FAILED")


def _allowed(values: dict) -> dict:
    """The values by names that MLflow takes, no two of which are alike.

    In a folder / parts a name into files: classes "cat" and "cat/kitten" would be one and the same
    file and folder.
    """

    def cleaned(name):
        metric, of, label = name.partition("/AP-")
        return re.sub(r"[^\w\-. :/]", "_", metric + of + label.replace("/", "_"))

    found = {}
    for name in sorted(values, key=lambda x: (cleaned(x) != x, x)):  # a name that is allowed stays
        new = cleaned(name)
        if new in found:
            new = next(x for n in count(2) if (x := f"{new} {n}") not in found)
        found[new] = values[name]
    return found


def _is_away(error: Exception) -> bool:
    """Whether MLflow takes nothing now, whatever it is sent: no connection, no leave, no room."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException) and error.get_http_status_code() not in (400, 500):
        return True
    causes = (error, error.__cause__, error.__context__)  # those of `requests` are OSErrors, too
    return any(isinstance(x, OSError) and x.errno not in OF_A_NAME for x in causes)


WATCHERS = {watcher.name: watcher for watcher in (WandbWatcher, MLflowWatcher)}


def run_name(cfg) -> str:
    return os.path.basename(os.path.abspath(cfg.OUTPUT_DIR))


def check_packages(cfg) -> None:
    """
    Raises:
        UserError: a package that SAD.WATCH.TO names is not there, or is broken.
    """
    for name in cfg.SAD.WATCH.TO:
        try:
            import_module(name).__version__  # noqa: B018  a folder of that name has none
        except Exception as error:  # a broken package can raise anything
            raise UserError(
                f"SAD.WATCH.TO names {name}, but its package cannot be imported "
                f"({reason(error)}): {INSTALL}, or leave {name} out"
            ) from error


class Watch(hooks.PeriodicWriter):
    """Of the first rank: starts the watchers of SAD.WATCH.TO, and keeps their runs' ids."""

    def __init__(self, cfg):
        super().__init__([WATCHERS[name]() for name in cfg.SAD.WATCH.TO])
        self.cfg = cfg

    def state_dict(self):
        return {
            watcher.name: {"run_id": watcher.run_id, "last_write": watcher.last_write}
            for watcher in self._writers
        }

    def load_state_dict(self, state):
        for watcher in self._writers:
            vars(watcher).update(state.get(watcher.name, {}))

    def before_train(self):
        for watcher in self._writers:
            watcher.start(self.cfg)

    def after_train(self):
        for watcher in self._writers:
            watcher.finished = self.trainer.iter + 1 >= self.trainer.max_iter
        super().after_train()
