"""A command in a process of its own, boiled down to one line on how far it is."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from functools import partial

from ..utils.compat import end_with_parent
from ..utils.errors import RESUME_EXIT_CODE, UserError, announce_stop

LAST_LINES = 20  # of a command that failed, among which its own sentence is
PATIENCE = 120  # seconds for a checkpoint

TOTAL = re.compile(r"over (\d+) iterations")
TRAINING = re.compile(r"eta: (\S+) .*iter: (\d+) .*total_loss: (\S+)")
EVALUATING = re.compile(r"Inference done (\d+)/(\d+).*ETA=(\S+)")
COUNTING = re.compile(r"(\d+)/(\d+) \[[\d:]+<([\d:]+)")  # tqdm


def sad_command(name: str, *arguments) -> list[str]:
    """One of this project's commands, as a process is started."""
    return [sys.executable, "-m", "sad_command", name, *map(str, arguments)]


def readable(command: list[str]) -> str:
    """As a user would write it."""
    return shlex.join(["sad", *command[3:]])


def run(command: list[str], log: str) -> None:
    """Run a command to its end; all it says goes to `log`, how far it is to a terminal.

    Ctrl-C, SIGTERM and the end of this process, whatever ends it, are handed on, so that a training
    writes its checkpoint first.

    Raises:
        UserError: it failed; with its last words.
        SystemExit: this process, or the command, was told to end by SIGTERM.
    """
    os.makedirs(os.path.dirname(log), exist_ok=True)
    last = deque(maxlen=LAST_LINES)
    with (
        open(log, "a", buffering=1, encoding="utf-8") as file,
        _heeding_signals(),
        _process(command) as process,
    ):
        progress = _Progress()
        try:
            for line in process.stdout:  # carriage returns end lines, too
                file.write(line)
                last.append(line)
                progress.take(line)
            code = process.wait()
        except BaseException:
            file.write(_stop(process))
            raise
        finally:
            progress.clear()
    if code == RESUME_EXIT_CODE:
        raise SystemExit(RESUME_EXIT_CODE)
    if code:
        how = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise UserError(f"{readable(command)} {how}: {_last_words(last)}; see {log}")


def _last_words(lines) -> str:
    """The command's own sentence, else the last thing it said."""
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return " ".join(([*filter(str.strip, lines)] + own or ["it said nothing"])[-1].split())


@contextlib.contextmanager
def _heeding_signals():
    """SIGTERM and the end of the terminal raise SystemExit here, as Ctrl-C KeyboardInterrupt."""

    def leave(*_):
        raise SystemExit(RESUME_EXIT_CODE)

    before = {}
    if threading.current_thread() is threading.main_thread():  # Python takes signals there alone
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does
                before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _process(command: list[str]):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,  # a terminal's Ctrl-C reaches it through `_stop` alone
        preexec_fn=partial(end_with_parent, signal.SIGTERM),
    ) as process:
        yield process


def _stop(process: subprocess.Popen) -> str:
    """End a process and its children, which may write a checkpoint first; return their last words.

    Told to stop once more, it ends them at once.
    """

    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    announce_stop()
    send(signal.SIGTERM)
    try:
        return process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        send(signal.SIGKILL)
        return process.communicate()[0]
    except BaseException:
        send(signal.SIGKILL)
        raise


class _Progress:
    """One line that is written over; none where the output is no terminal."""

    def __init__(self):
        self.total, self.shown, self.terminal = "?", 0.0, sys.stdout.isatty()

    def take(self, line: str) -> None:
        if not self.terminal:
            return
        if found := TOTAL.search(line):
            self.total = found[1]
        text = self._text(line)
        if text and time.monotonic() - self.shown > 0.2:
            self.shown = time.monotonic()
            print(f"\r\033[K      {text}", end="", flush=True)

    def _text(self, line: str) -> str:
        if found := TRAINING.search(line):
            left, iteration, loss = found.groups()
            return f"iteration {int(iteration) + 1} of {self.total}, loss {loss}, {left} left"
        if found := EVALUATING.search(line):
            return f"evaluating, image {found[1]} of {found[2]}, {found[3]} left"
        if found := COUNTING.search(line):
            return f"image {found[1]} of {found[2]}, {found[3]} left"
        return ""

    def clear(self) -> None:
        if self.terminal:
            print("\r\033[K", end="", flush=True)
