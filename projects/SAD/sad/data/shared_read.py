"""What every rank of a machine needs of the annotations, read by one of them."""

import gc
import tempfile
from collections.abc import Callable
from contextlib import contextmanager

import torch
from detectron2.utils import comm

from ..utils.errors import UserError, reason


def once_per_machine(read: Callable[[], object]) -> object:
    """`read()` of each machine's first rank, for all of its ranks.

    Tensors in the result, such as Detectron2's serialised lists, lie in memory once: the others
    map the file that the first one writes to the folder for temporary files.

    Raises:
        UserError: that of `read`, or the file cannot be written; in every rank of the machine.
    """
    if comm.get_local_size() == 1:
        return read()
    first = comm.get_rank() - comm.get_local_rank()
    file = error = None
    if comm.get_rank() == first:
        try:
            file = _written(read())
        except UserError as found:
            error = found
    path, error = comm.all_gather((file and file.name, error))[first]
    if error:
        raise error
    # Our own file, which nobody else may write; it holds more than tensors.
    try:
        result = torch.load(path, mmap=True, weights_only=False)
    except FileNotFoundError as missing:
        raise UserError(
            f"{path}, which the first rank of this machine wrote, is not there for the others: "
            "set TMPDIR to a folder that they all see"
        ) from missing
    comm.synchronize()  # before its name is removed
    if file:
        file.close()
    return result


def _written(content):
    try:
        file = tempfile.NamedTemporaryFile()
        torch.save(content, file)
        file.flush()
    except (OSError, RuntimeError) as error:
        raise UserError(
            "what the ranks of this machine share of the annotations cannot be written "
            f"({reason(error)}): set TMPDIR to a folder with room for it"
        ) from error
    return file


@contextmanager
def collector_paused():
    """Python's garbage collector halves the speed of reading millions of objects that all stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
