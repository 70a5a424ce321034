"""What is called of Detectron2 and torch that they do not promise to keep, each with its reason.

What classes of this project override of theirs is tested beside it.
"""

import io
import os
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import SimpleNamespace

import torch
from detectron2.evaluation import COCOEvaluator

# The box loss of dense detectors; RetinaNet and FCOS call it from the middle of their `losses`,
# which find the number to divide by on their own.
from detectron2.modeling.box_regression import (
    _dense_box_regression_loss as dense_box_regression_loss,  # noqa: F401
)
from detectron2.utils.events import CommonMetricPrinter

# What torch's own spawned processes call to end with their parent; they end by SIGINT, which ranks
# ignore.
from torch.multiprocessing import _prctl_pr_set_pdeathsig as end_with_parent  # noqa: F401
from torch.torch_version import TorchVersion


def derive_box_results(found, class_names: list[str], logger) -> dict[str, float]:
    """AP, its kinds and that of each class, in percent, as COCOEvaluator says and logs them.

    It is a method of an evaluator that reads its json by other rules than training does.

    Args:
        found: pycocotools' COCOeval after `summarize`; None where there are no detections.
    """
    evaluator = SimpleNamespace(_logger=logger)
    return COCOEvaluator._derive_coco_results(evaluator, found, "bbox", class_names=class_names)


def settle_torchscript() -> None:
    """Let the first call of a TorchScript function have the bits of all others.

    Detectron2's focal loss is one. The first call in a process is made by another backward, after
    which its graph is optimised: a run that was resumed would differ from one that was not.
    """
    torch._C._jit_set_profiling_mode(False)


def last_write(writer) -> int:
    """The iteration that a JSONWriter or TensorboardXWriter has come to, which it tells nobody."""
    return writer._last_write


def set_last_write(writer, iteration: int) -> None:
    """Without it a resumed run's writers begin with what is written already."""
    writer._last_write = iteration


def set_max_iter(writers: list, max_iter: int) -> None:
    """Let the ETA be that of a run that ends at another iteration than it was to."""
    for writer in writers:
        if isinstance(writer, CommonMetricPrinter):
            writer._max_iter = max_iter


def can_compile_for(device: torch.device) -> bool:
    """Whether torch.compile works for a GPU: a torch whose kernels write into any part of a tensor
    (https://github.com/pytorch/pytorch/pull/154442), a card that Triton knows, and for Triton a C
    compiler and Python's headers.
    """
    compilers = [os.environ["CC"]] if os.environ.get("CC") else ["gcc", "clang"]
    return (
        device.type == "cuda"
        and TorchVersion(torch.__version__) >= (2, 8)
        and torch.cuda.get_device_capability(device) >= (7, 0)
        and find_spec("triton") is not None
        and any(map(which, compilers))
        and os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))
    )


def compiled_package(program: torch.export.ExportedProgram, extra_files: dict[str, str]) -> bytes:
    """A program as AOTInductor's machine code, which `torch._inductor.aoti_load_package` reads.

    It is torch's `aoti_compile_and_package`, which takes no files besides, without the sources, and
    without the names of the folders of whoever compiles.
    """
    from torch._inductor.utils import fresh_cache
    from torch.export.pt2_archive._package import package_pt2

    options = {
        "aot_inductor.package": True,
        "aot_inductor.enable_line_tables": False,
        # Else it is for as many threads as torch has here, and writes beyond its memory with more.
        "cpp.dynamic_threads": True,
    }
    content, module = io.BytesIO(), program.module(check_guards=False)
    with tempfile.TemporaryDirectory() as folder, fresh_cache(dir=folder, delete=False):
        files = torch._inductor.aot_compile(module, *program.example_inputs, options=options)
        files = [Path(file) for file in files if not file.endswith(".cpp")]
        for file in files:
            _blot(file, Path(torch.__file__).parent, file.parent.parent)
        package_pt2(content, aoti_files=[str(x) for x in files], extra_files=extra_files)
    return content.getvalue()


def has_cpp_compiler() -> bool:
    """Whether AOTInductor can compile for a CPU."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return bool(get_cpp_compiler())
    except Exception:  # its own
        return False


def _blot(file: Path, *folders: Path) -> None:
    """Compilers write the names of sources into what they make, for messages of errors."""
    content = file.read_bytes()
    for name in map(bytes, folders):
        content = content.replace(name, b"/" * len(name))
    file.write_bytes(content)
