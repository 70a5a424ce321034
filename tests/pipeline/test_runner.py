"""A command in a process of its own: what it says, how it fails, and how it is stopped."""

import logging
import multiprocessing
import os
import pty
import signal
import sys
import time

import pytest
from detectron2.utils.events import CommonMetricPrinter, EventStorage

from sad.pipeline.runner import readable, run, sad_command
from sad.utils.errors import RESUME_EXIT_CODE, UserError, exit_on_user_error

# Says that it runs, and leaves a note when it is told to stop.
PATIENT = """
import os, signal, sys, time
def stop(*_):
    open(sys.argv[1] + ".stopped", "w").close()
    print("checkpoint written", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
open(sys.argv[1], "w").write(str(os.getpid()))
while True:
    time.sleep(0.1)  # a signal just before a sleep is handled after it
"""


def python(program: str, *arguments) -> list[str]:
    return [sys.executable, "-S", "-c", program, *map(str, arguments)]


def text(path) -> str:
    return path.read_text(encoding="utf-8")


def wait_for(condition, seconds: float = 30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_all_that_is_said_goes_to_the_log(tmp_path, capfd):
    log = tmp_path / "logs" / "x.txt"
    for _ in range(2):
        run(python("import sys; print('ü'); print('to stderr', file=sys.stderr)"), str(log))
    assert text(log) == "ü\nto stderr\n" * 2
    assert capfd.readouterr() == ("", "")  # no terminal, no progress


def test_the_log_can_be_followed(tmp_path):
    """A line is in it before the command goes on, not only when many have come together."""
    log = tmp_path / "x.txt"
    program = """
import sys, time
print("first")
for _ in range(1000):
    time.sleep(0.02)
    if open(sys.argv[1]).read():
        sys.exit()
sys.exit("the log stays empty")
"""
    run(python(program, log), str(log))


def test_a_command_as_a_user_would_write_it():
    command = sad_command("train", "--config-file", "a b.yaml", "--num-gpus", 2)
    assert command[0] == sys.executable
    assert readable(command) == "sad train --config-file 'a b.yaml' --num-gpus 2"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; print('error: KEY is 3'); print('bye'); sys.exit(2)", "code 2: KEY is 3; "),
        ("raise ValueError('of\\n\\n many')", "exit code 1: many; see"),
        ("import sys; sys.exit(3)", "exit code 3: it said nothing; see"),
        ("import os; print('x', flush=True); os.kill(os.getpid(), 9)", "ended by signal 9: x; see"),
    ],
)
def test_commands_that_fail(program, said, tmp_path):
    log = tmp_path / "x.txt"
    log.write_text("error: of an earlier call\n")
    with pytest.raises(UserError) as raised:
        run(python(program), str(log))
    assert said in str(raised.value) and str(log) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_command_that_was_told_to_stop(tmp_path):
    with pytest.raises(SystemExit) as raised:
        run(python("import sys; sys.exit(75)"), str(tmp_path / "x.txt"))
    assert raised.value.code == RESUME_EXIT_CODE


def test_signals_are_as_before_afterwards(tmp_path):
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    run(python(""), str(tmp_path / "x.txt"))
    assert [signal.getsignal(number) for number in numbers] == before


def started(tmp_path, program: str = PATIENT) -> tuple[multiprocessing.Process, int]:
    """A process that runs a command, as `sad distill` does, and the pid of the command."""
    note = tmp_path / "note"

    @exit_on_user_error
    def main():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup, if it started us, ignores
        run(python(program, note), str(tmp_path / "log.txt"))

    process = multiprocessing.get_context("fork").Process(target=main)
    process.start()
    return process, int(wait_for(lambda: note.exists() and text(note)))


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130), (signal.SIGKILL, -9)],
)
def test_a_signal_reaches_the_command(number, code, tmp_path):
    process, pid = started(tmp_path)
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == code
    wait_for(lambda: not is_alive(pid))
    assert (tmp_path / "note.stopped").exists()
    if number != signal.SIGKILL:  # what it says in the end is kept
        assert "checkpoint written" in text(tmp_path / "log.txt")


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_command_that_does_not_listen(first, tmp_path):
    deaf = PATIENT.replace("    sys.exit(75)\n", "    time.sleep(60)\n")
    process, pid = started(tmp_path, deaf)
    os.kill(process.pid, first)
    wait_for((tmp_path / "note.stopped").exists)
    assert process.is_alive() and is_alive(pid)
    os.kill(process.pid, first)
    process.join(30)
    assert process.exitcode in (75, 130)
    wait_for(lambda: not is_alive(pid))


def test_processes_of_a_command_end_with_it(tmp_path):
    program = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', '''"
        + PATIENT
        + "''', sys.argv[1]]).wait()"
    )
    process, pid = started(tmp_path, program)
    process.terminate()
    process.join(30)
    assert process.exitcode == 75
    wait_for(lambda: not is_alive(pid))


def shown(lines: list[str], tmp_path) -> str:
    """What a terminal gets from a command that says these lines, one in a quarter of a second."""
    program = "import sys, time\nfor x in sys.argv[1:]: print(x, flush=True); time.sleep(0.25)"
    pid, terminal = pty.fork()
    if not pid:
        sys.stdout = os.fdopen(1, "w")  # pytest's is no terminal
        run(python(program, *lines), str(tmp_path / "log.txt"))
        os._exit(0)
    found = b""
    try:
        while chunk := os.read(terminal, 4096):
            found += chunk
    except OSError:  # the other end is closed
        pass
    assert os.waitpid(pid, 0)[1] == 0
    return found.decode()


def test_progress_on_a_terminal(tmp_path):
    """Of lines as Detectron2 and tqdm write them."""
    said = []
    logger = logging.getLogger("detectron2.utils.events")
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    printer = CommonMetricPrinter(max_iter=1200)
    with EventStorage(0) as storage:
        for _ in range(3):
            storage.put_scalars(total_loss=0.75, time=2.0)
            storage.step()
        printer.write()
    logger.removeHandler(handler)
    logger.setLevel(level)
    found = shown(
        [
            "learning rate 0.1 over 1200 iterations, warm-up 100",
            *said,
            "Inference done 11/40. Dataloading: 0.1 s/iter. Total: 0.2 s/iter. ETA=0:00:06",
            " 30%|###       | 3/10 [00:01<00:04,  1.5it/s]",
        ],
        tmp_path,
    )
    assert "iteration 4 of 1200, loss 0.75, 0:39:52 left" in found  # 1196 of 2 seconds
    assert "evaluating, image 11 of 40, 0:00:06 left" in found
    assert "image 3 of 10, 00:04 left" in found
    assert found.endswith("\r\x1b[K")  # the line is left empty
    assert "\n" not in found
