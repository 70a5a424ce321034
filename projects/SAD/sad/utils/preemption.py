"""Told to stop, a process writes a checkpoint first."""

import logging
import signal
import threading
from contextlib import contextmanager
from functools import cache

import torch
from detectron2.utils import comm

from .errors import RESUME_EXIT_CODE, STOPPED, announce_stop, heed_interrupt

logger = logging.getLogger(__name__)


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
            self.asked = False  # an error may come of it, see `sad.engine.launch`
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
        """Whether any rank was asked, so that all of them end at the same iteration.

        With many ranks, by the call before this one: nobody waits for the answer.
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
    """Of all ranks, for tensors on the CPU; None is the usual one."""
    distributed = torch.distributed
    if distributed.get_backend() == "gloo":
        return None
    return distributed.new_group(backend="gloo")


preemption = Preemption()  # of the process, as its signals are
