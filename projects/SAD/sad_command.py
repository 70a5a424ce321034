"""The first import of every command: what has to be settled before torch is imported.

Beside the package and not in it, whose import brings Detectron2 and torch. A program that imports
`sad` has none of this.
"""

import glob
import multiprocessing
import os
import signal
import sys
import warnings


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
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)  # until `sad.utils.errors.exit_on_user_error`
