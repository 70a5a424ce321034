"""The command `sad`, and the first import of every script: what comes before torch is imported.

    sad train --config-file configs/digits/SAD.yaml

Beside the package and not in it, whose import brings Detectron2 and torch. A program that imports
`sad` has none of this.
"""

import argparse
import ast
import difflib
import glob
import logging
import multiprocessing
import os
import signal
import sys
import warnings
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

# The modules of `sad.commands`, as the help lists them, and those that train in their process.
COMMANDS = (
    "distill",
    "inspect",
    "train",
    "calibrate",
    "label",
    "predict",
    "report",
    "export",
    "weights",
    "digits",
)
TRAINING = ("train",)


def main(argv: list[str] | None = None) -> None:
    """`sad NAME ...` runs a command; help and mistakes of NAME do not wait for torch's import."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        return run(argv[0], argv[1:], prog=f"sad {argv[0]}")
    listed = "".join(f"  {name:11}{summary(name)}\n" for name in COMMANDS)
    parser = argparse.ArgumentParser(
        prog="sad",
        usage="sad [-h] [--version] COMMAND ...",
        description="Semi-supervised Adaptive Distillation of detectors.",
        epilog=f"commands:\n{listed}\n`sad COMMAND --help` says what a command takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sad {version()}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    wrong = parser.parse_args(argv[:1]).command
    near = difflib.get_close_matches(wrong or "", COMMANDS, n=1)
    known = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
    parser.error(f"{wrong} is no command; {known}" if wrong else f"no command is given; {known}")


def run(name: str, argv: list[str] | None = None, prog: str | None = None) -> None:
    """Run a command of `sad.commands`, as `sad` and the scripts do.

    Args:
        argv: what stands after the command; that of this process if not given.
        prog: what the command is called in its help; the script of this process if not given.
    """
    if name in TRAINING:
        # Detectron2's focal loss is a TorchScript function: on CPU its compilation takes over a
        # minute, and its first call returns other gradient bits than later ones. On GPUs, where it
        # is fused, it stays. torch reads this when it is imported.
        os.environ.setdefault("PYTORCH_JIT", "1" if sees_gpu() else "0")
    try:
        errors, command = import_module("sad.utils.errors"), import_module(f"sad.commands.{name}")
    except ImportError as error:
        if find_spec("detectron2"):
            raise
        print(f"error: {error}", file=sys.stderr)  # it says how to get Detectron2
        sys.exit(2)
    parser = argparse.ArgumentParser(
        prog=prog,
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    errors.exit_on_user_error(lambda: command.run(parser.parse_args(argv)))()


def summary(name: str) -> str:
    """The first line of a command's docstring, without importing it."""
    source = Path(__file__).with_name("sad") / "commands" / f"{name}.py"
    return ast.get_docstring(ast.parse(source.read_text())).splitlines()[0]


def version() -> str:
    try:
        return metadata.version("sad-detectron2")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def sees_gpu() -> bool:
    """Whether torch may find a GPU, judged by its device files, without importing torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    # NVIDIA's, those of Windows' Linux, and AMD's.
    return any(map(glob.glob, ("/dev/nvidia[0-9]*", "/dev/dxg", "/dev/kfd")))


def _leave(*_) -> None:
    # An exception would end in the midst of somebody's import. Ranks leave the word to their
    # parent.
    if multiprocessing.parent_process() is None:
        os.write(2, b"interrupted before anything was done\n")
    os._exit(130)


if "torch" not in sys.modules:
    # Detectron2 and fvcore script two functions when they are imported.
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    # Detectron2's pooling asks for symbolic traces by a name that torch has another meaning for.
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)  # until `sad.utils.errors.exit_on_user_error`

if __name__ == "__main__":
    main()
