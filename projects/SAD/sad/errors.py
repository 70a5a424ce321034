"""How commands end: a mistake a user can mend is one sentence and exit code 2, no traceback."""

import difflib
import functools
import sys

EXIT_CODE = 2
RESUME_EXIT_CODE = 75  # sysexits.h: "temporary failure, try again", with --resume


class UserError(Exception):
    """A wrong file, key or value. The message is one sentence that names it and says what to do."""


def did_you_mean(wrong: str, known) -> str:
    """`; did you mean X?` for the known name nearest to a wrong one, or nothing where none is."""
    nearest = difflib.get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


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
