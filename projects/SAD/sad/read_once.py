"""What every worker of a machine needs of the annotations, read by one of them."""

import gc
import tempfile
from collections.abc import Callable
from contextlib import contextmanager

import torch
from detectron2.utils import comm

from .errors import UserError


def once_per_machine(read: Callable[[], object]) -> object:
    """`read()` of each machine's first worker, for all of its workers.

    Tensors in the result, such as Detectron2's serialised lists, lie in memory once: the others
    map the file that the first one writes to the folder for temporary files.

    Raises:
        UserError: that of `read`, in every worker of the machine.
    """
    if comm.get_local_size() == 1:
        return read()
    first = comm.get_rank() - comm.get_local_rank()
    with tempfile.NamedTemporaryFile() as file:
        path, error = comm.all_gather(file.name)[first], None
        if comm.get_rank() == first:
            try:
                torch.save(read(), file)
                file.flush()
            except UserError as found:
                error = found
        if error := comm.all_gather(error)[first]:
            raise error
        # Our own file, which nobody else may write; it holds more than tensors.
        result = torch.load(path, mmap=True, weights_only=False)
        comm.synchronize()  # before its name is removed
    return result


@contextmanager
def collector_paused():
    """Python's garbage collector halves the speed of reading millions of objects that all stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
