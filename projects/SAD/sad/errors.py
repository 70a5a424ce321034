"""Mistakes a user can mend: one sentence on stderr and exit code 2, never a traceback."""

import functools
import os
import sys

import torch
from torch.multiprocessing import ProcessExitedException

EXIT_CODE = 2


class UserError(Exception):
    """A wrong file, key or value. The message is one sentence that names it and says what to do."""


def exit_on_user_error(main):
    """Decorate a command's main function: a UserError becomes `error: <sentence>` and exit code 2.

    Put it on the function handed to `detectron2.engine.launch` and on the one that calls launch: a
    spawned worker then exits with code 2 after its sentence, and the parent repeats only the code.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            result = main(*args, **kwargs)
            _leave_worker(0)
            return result
        except UserError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            _leave_worker(EXIT_CODE)
            sys.exit(EXIT_CODE)
        except ProcessExitedException as error:
            if error.exit_code != EXIT_CODE:
                raise
            sys.exit(EXIT_CODE)

    return wrapped


def _leave_worker(exit_code: int) -> None:
    """End a worker process at once; nothing happens outside of a process group.

    The interpreter's clean-up would destroy gloo's threads, which now and then aborts the process
    (SIGABRT) after its work is done.
    """
    if torch.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
