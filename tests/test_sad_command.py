"""What commands settle before torch is imported, and programs that import `sad` do not."""

import glob
import os
import subprocess
import sys

import pytest

import sad_command
from toy import REPOSITORY, TRAIN_NET


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(TRAIN_NET.parent)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment
    )


LABEL = pytest.param(REPOSITORY / "scripts" / "label_unlabeled.py", marks=pytest.mark.slow)


@pytest.mark.parametrize("command", [TRAIN_NET, LABEL])
def test_commands_begin_without_a_warning(command):
    done = run(str(command), "--help")
    assert done.returncode == 0 and "--config-file" in done.stdout
    assert done.stderr == ""


def test_a_program_that_imports_sad_keeps_its_warnings_and_signals():
    done = run("-c", "import signal, warnings; before = list(warnings.filters)\n"
               "import sad.engine.trainer, sad.pseudo_labels.runner\n"
               "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
               "warnings.warn('`torch.jit.script` is deprecated', FutureWarning)")  # fmt: skip
    assert done.returncode == 0
    assert "<string>:4: FutureWarning: `torch.jit.script` is deprecated" in done.stderr


def test_interrupted_during_the_imports():
    done = run("-c", "import os, signal, time, sad_command\n"
               "os.kill(os.getpid(), signal.SIGINT); time.sleep(9)")  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "interrupted before anything was done\n")


def test_a_job_that_a_shell_keeps_ctrl_c_from():
    done = run("-c", "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
               "import sad_command; os.kill(os.getpid(), signal.SIGINT)")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("files", "visible", "seen"),
    [
        ([], None, False),
        (["/dev/nvidia0"], None, True),
        (["/dev/nvidia0"], "0,1", True),
        (["/dev/nvidia0"], "", False),
        (["/dev/nvidia0"], "-1", False),
    ],
)
def test_gpus_seen_without_torch(monkeypatch, files, visible, seen):
    monkeypatch.setattr(glob, "glob", lambda pattern: files if "nvidia" in pattern else [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert sad_command.sees_gpu() == seen
