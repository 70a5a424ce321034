"""A command in a process of its own, boiled down to one line on how far it is."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time

from ..utils.errors import RESUME_EXIT_CODE, UserError

LAST_LINES = 20  # of a command that failed

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

    A Ctrl-C or SIGTERM is handed on, so that a training writes its checkpoint first.

    Raises:
        UserError: it failed; with its last words.
    """
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "a", encoding="utf-8") as file, _process(command) as process:
        progress = _Progress()
        try:
            for line in process.stdout:  # carriage returns end lines, too
                file.write(line)
                progress.take(line)
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            progress.clear()
    if code == RESUME_EXIT_CODE:
        raise SystemExit(RESUME_EXIT_CODE)
    if code:
        with open(log, encoding="utf-8") as file:
            words = file.readlines()[-LAST_LINES:]
        own = [line for line in words if line.startswith("error: ")]
        said = own[-1].removeprefix("error: ").strip() if own else "".join(words)
        raise UserError(f"{readable(command)} ended with exit code {code}: {said}; see {log}")


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
    ) as process:
        yield process


def _stop(process: subprocess.Popen) -> None:
    """End a process and its children, which may write a checkpoint first."""
    signals = [signal.SIGTERM, signal.SIGKILL]
    while process.poll() is None and signals:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signals.pop(0))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=120)


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
