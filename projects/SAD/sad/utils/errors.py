"""How commands end: a mistake a user can mend is one sentence and exit code 2, no traceback."""

import difflib
import errno
import functools
import os
import signal
import sys

EXIT_CODE = 2
RESUME_EXIT_CODE = 75  # sysexits.h: "temporary failure, try again", with --resume
INTERRUPT_EXIT_CODE = 130  # as a shell's for SIGINT, where there is nothing to save
INTERRUPTED = "interrupted: the same command goes on with what is done, or begins anew"
STOPPED = (
    "stopped by SIGTERM or Ctrl-C: the same command, of a training with --resume, goes on from here"
)
# What a disk says that is full, of a quota or an owner, or failing: no bug, and the user's to mend.
DISK_ERRORS = {getattr(errno, name) for name in "ENOSPC EDQUOT EROFS EIO EACCES EPERM".split()}


class UserError(Exception):
    """A wrong file, key or value. The message is one sentence that names it and says what to do."""


def did_you_mean(wrong: str, known) -> str:
    """`; did you mean X?` for the known name nearest to a wrong one, or nothing where none is."""
    nearest = difflib.get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def reason(error: Exception) -> str:
    """The error of a parser or decoder in one line of at most 200 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def sentence_of(error: BaseException) -> str | None:
    """What a user is told of a mistake, or of a disk that failed; None of anything else."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return (
            f"{error.filename or 'a file'} cannot be read or written ({error.strerror}): mend "
            "that, and give the same command again"
        )
    return None


def exit_on_user_error(main):
    """Decorate a command's main function: a UserError becomes `error: <sentence>` and exit code 2,
    and so does an OSError of a disk that is full or may not be written to.

    Ctrl-C becomes a sentence and exit code 130; where it was heeded and a run can go on (exit code
    75), a sentence as well. In a process of many, `sad.engine.launch.start` does the same for the
    function handed to it.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        heed_interrupt(signal.default_int_handler)  # `sad_command` heeds it during the imports
        try:
            return main(*args, **kwargs)
        except (UserError, OSError) as error:
            if not (sentence := sentence_of(error)):
                raise
            print(f"error: {sentence}", file=sys.stderr)
            sys.exit(EXIT_CODE)
        except KeyboardInterrupt:
            print(INTERRUPTED, file=sys.stderr)
            sys.exit(INTERRUPT_EXIT_CODE)
        except SystemExit as end:
            if end.code == RESUME_EXIT_CODE:
                print(STOPPED, file=sys.stderr)
            raise

    return wrapped


def heed_interrupt(handler) -> None:
    """Take SIGINT as `signal.signal` does, but not from a job that a shell keeps Ctrl-C from."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def announce_stop() -> None:
    """What a signal handler says, where printing may break into a print."""
    os.write(2, b"interrupted: stopping after what is under way; Ctrl-C again ends it at once\n")
