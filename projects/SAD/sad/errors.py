"""Mistakes a user can mend: one sentence on stderr and exit code 2, never a traceback."""

import functools
import sys

EXIT_CODE = 2


class UserError(Exception):
    """A wrong file, key or value. The message is one sentence that names it and says what to do."""


def reason(error: Exception) -> str:
    """The error of a parser or decoder in one line of at most 200 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def exit_on_user_error(main):
    """Decorate a command's main function: a UserError becomes `error: <sentence>` and exit code 2.

    In a process of many, `sad.launch.start` does the same for the function handed to it.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(EXIT_CODE)

    return wrapped
