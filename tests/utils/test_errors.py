"""A user's mistake is one sentence and exit code 2, Ctrl-C another and 130."""

import errno
import os
import signal
import sys
import time

import pytest

from sad.utils.errors import RESUME_EXIT_CODE, UserError, did_you_mean, exit_on_user_error


def test_user_error_becomes_one_sentence_and_exit_code_2(capsys):
    @exit_on_user_error
    def main():
        raise UserError("SOME.KEY is 3, it must be 4")

    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    output = capsys.readouterr()
    assert output.err == "error: SOME.KEY is 3, it must be 4\n"
    assert output.out == ""


def test_arguments_and_result_pass_through():
    @exit_on_user_error
    def main(a, *, b):
        """Docstring."""
        return a + b

    assert main(1, b=2) == 3
    assert (main.__name__, main.__doc__) == ("main", "Docstring.")


def test_ctrl_c_becomes_one_sentence_and_exit_code_130(capsys):
    @exit_on_user_error
    def main():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)

    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 130
    assert capsys.readouterr().err.startswith("interrupted: the same command goes on")


@pytest.mark.parametrize(("code", "said"), [(RESUME_EXIT_CODE, 1), (0, 0), (1, 0)])
def test_a_run_that_was_stopped_says_how_it_goes_on(code, said, capsys):
    @exit_on_user_error
    def main():
        sys.exit(code)

    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == code
    assert capsys.readouterr().err.count("goes on from here") == said


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_nothing_becomes_one_sentence_and_exit_code_2(number, capsys):
    @exit_on_user_error
    def main():
        raise OSError(number, os.strerror(number), "/out/inspection.html")

    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: /out/inspection.html ") and os.strerror(number) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), KeyError("a bug"), OSError(errno.ENOENT, "a bug"), OSError()]
)
def test_other_errors_keep_their_traceback(error):
    @exit_on_user_error
    def main():
        raise error

    with pytest.raises(type(error)):
        main()


def test_did_you_mean():
    known = ("SAD.DISTILL", "SAD.DISTILL.CLASS.LOSS", "SAD.LOADER.MIX")
    assert did_you_mean("SAD.DISTIL.CLASS.LOSS", known) == "; did you mean SAD.DISTILL.CLASS.LOSS?"
    assert did_you_mean("xyz", known) == did_you_mean("SAD", ()) == ""
