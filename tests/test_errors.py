"""A user's mistake is one sentence and exit code 2, also from another process."""

import pytest
import torch
from torch.multiprocessing import ProcessExitedException

from sad.errors import UserError, exit_on_user_error


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


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a bug"), KeyboardInterrupt()])
def test_other_errors_keep_their_traceback(error):
    @exit_on_user_error
    def main():
        raise error

    with pytest.raises(type(error)):
        main()


def test_exit_code_of_a_worker_is_passed_on():
    @exit_on_user_error
    def parent(code):
        raise ProcessExitedException("worker", error_index=0, error_pid=1, exit_code=code)

    with pytest.raises(SystemExit) as exit_:
        parent(2)
    assert exit_.value.code == 2
    with pytest.raises(ProcessExitedException):
        parent(1)


@exit_on_user_error
def worker(rank):
    raise UserError("the teacher is missing")


def test_worker_says_the_sentence_and_the_command_exits_with_2(capfd):
    @exit_on_user_error
    def main():
        # Forked, where launch spawns: the workers need not import Detectron2 again.
        torch.multiprocessing.start_processes(worker, nprocs=1, start_method="fork")

    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert capfd.readouterr().err == "error: the teacher is missing\n"
