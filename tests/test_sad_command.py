"""The command `sad`, and what commands settle before torch is imported."""

import argparse
import glob
import os
import subprocess
import sys
from importlib import import_module

import pytest

import sad_command
from toy import REPOSITORY, TRAIN_NET

ROOM = TRAIN_NET.parent / "sad" / "commands"


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(TRAIN_NET.parent)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment
    )


LABEL = pytest.param(REPOSITORY / "scripts" / "label_unlabeled.py", marks=pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize("command", [TRAIN_NET, LABEL])
def test_commands_begin_without_a_warning(command):
    done = run(str(command), "--help")
    assert done.returncode == 0 and "--config-file" in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
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


# --- `sad NAME` ----------------------------------------------------------------------------------


def test_every_module_is_a_command_with_a_help():
    modules = {path.stem for path in ROOM.glob("*.py")} - {"__init__"}
    assert set(sad_command.COMMANDS) == modules >= set(sad_command.TRAINING)
    for name in sad_command.COMMANDS:
        module = import_module(f"sad.commands.{name}")
        assert sad_command.summary(name) == module.__doc__.splitlines()[0]
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        assert callable(module.run) and parser.format_help()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, sad_command.COMMANDS),
        (["--version"], 0, ["sad "]),
        (["trian", "--config-file", "x.yaml"], 2, ["trian is no command", "did you mean train?"]),
        (["absent"], 2, ["absent is no command", *sad_command.COMMANDS]),
        ([], 2, ["no command is given", *sad_command.COMMANDS]),
        (["--config-file", "x.yaml", "train"], 2, ["--config-file"]),
    ],
)
def test_answered_without_torch(arguments, code, said):
    program = (
        "import sys, sad_command\n"
        "try: sad_command.main()\n"
        "finally: assert not {'torch', 'detectron2', 'sad'} & set(sys.modules)"
    )
    done = run("-c", program, *arguments)
    assert done.returncode == code and "Traceback" not in done.stderr
    assert all(part in (done.stderr if code else done.stdout) for part in said)


@pytest.mark.slow
def test_a_command_by_its_name(tmp_path):
    done = run("-m", "sad_command", "digits", "--root", str(tmp_path / "digits"), "--labeled", "0")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_where_detectron2_is_missing(monkeypatch, capsys):
    """One sentence that says how to get it, for `sad` and for the scripts."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("sad", "detectron2")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    with pytest.raises(SystemExit) as exit_:
        sad_command.main(["report"])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: SAD needs Detectron2") and "install_detectron2.py" in error


@pytest.mark.parametrize(
    ("name", "gpu", "given", "expected"),
    [
        ("train", False, None, "0"),
        ("train", True, None, "1"),
        ("train", False, "1", "1"),
        ("report", False, None, None),
    ],
)
def test_torchscript_is_for_gpus_alone(monkeypatch, name, gpu, given, expected):
    monkeypatch.setattr(sad_command, "sees_gpu", lambda: gpu)
    monkeypatch.delenv("PYTORCH_JIT")
    if given is not None:
        monkeypatch.setenv("PYTORCH_JIT", given)
    with pytest.raises(SystemExit):
        sad_command.run(name, ["--help"])
    assert os.environ.get("PYTORCH_JIT") == expected
