"""`sad report`: its runs by name, and what it says of itself."""

import sys

import pytest

from sad.commands.report import command_line
from toy import REPOSITORY, run_script


def test_mistakes_exit_with_2(tmp_path, monkeypatch, capsys):
    for run, sentence in (
        (f"one={tmp_path / 'absent'}", "absent/config.yaml does not exist"),
        ("output/student", "'output/student' is not of the form NAME=DIR"),
        ("=output/student", "is not of the form NAME=DIR"),
    ):
        with pytest.raises(SystemExit) as exit_:
            run_script(
                *(monkeypatch, REPOSITORY / "scripts" / "report.py"),
                *("--run", run, "--output", tmp_path / "report"),
            )
        assert exit_.value.code == 2
        error = capsys.readouterr().err
        assert sentence in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("argv", "stated"),
    [
        (["scripts/report.py", "--run", "a b=c"], "python scripts/report.py --run 'a b=c'"),
        (["/usr/bin/sad", "report", "--run", "a b=c"], "sad report --run 'a b=c'"),
    ],
)
def test_command_that_the_report_states(monkeypatch, argv, stated):
    monkeypatch.setattr(sys, "argv", argv)
    assert command_line() == stated
