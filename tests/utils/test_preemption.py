"""Signals while a run heeds them, and after."""

import os
import signal
from contextlib import nullcontext

import pytest

from sad.utils.preemption import Preemption


@pytest.mark.parametrize("nested", [False, True])
def test_signals_while_they_are_heeded(nested, capfd):
    """What comes after it is left as it was; a second Ctrl-C would end the process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    preemption = Preemption()
    for number in before:
        with preemption.heeded(), preemption.heeded() if nested else nullcontext():
            os.kill(os.getpid(), number)
            assert preemption.asked
            ends = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
            assert ends == (number == signal.SIGINT)
        assert {number: signal.getsignal(number) for number in before} == before
    assert capfd.readouterr().err.count("Ctrl-C again") == 1


def test_ctrl_c_that_a_shell_keeps_from_a_job():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Preemption().heeded():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
