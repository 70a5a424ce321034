"""Types of command line arguments, and those that start many processes."""

import argparse

import pytest
from detectron2.engine import default_argument_parser

from sad.utils.arguments import add_launch_arguments, between


@pytest.mark.parametrize(
    ("kind", "limits", "text", "value"),
    [
        (int, (1,), "1", 1),
        (float, (0, 1), "0", 0.0),
        (float, (0, 1), "1", 1.0),
        (float, (0,), "1e300", 1e300),
    ],
)
def test_limits_are_included(kind, limits, text, value):
    assert between(kind, *limits)(text) == value


@pytest.mark.parametrize(
    ("kind", "limits", "text", "sentence"),
    [
        (int, (1,), "0", "0 is given, it must be at least 1"),
        (float, (0, 1), "1.5", "1.5 is given, it must be from 0 to 1"),
        (float, (0, 1), "nan", "nan is given, it must be from 0 to 1"),
        (float, (0,), "inf", "inf is given, it must be at least 0"),
        (int, (1,), "1.5", "invalid int value: '1.5'"),
        (float, (0, 1), "half", "invalid float value: 'half'"),
    ],
)
def test_refused(kind, limits, text, sentence, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=between(kind, *limits))
    with pytest.raises(SystemExit):
        parser.parse_args(["--number", text])
    assert f"argument --number: {sentence}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["SOLVER.BASE_LR", "-0.1"],
        [*("--num-gpus", "4", "--num-machines", "2", "--machine-rank", "1"), "SEED", "3"],
        ["--dist-url", "tcp://node1:29500", "SEED", "3", "--resume"],
    ],
)
def test_launched_as_detectron2_is(arguments):
    """By its names and defaults, but for --dist-url; --timeout is ours."""
    parser = argparse.ArgumentParser()
    add_launch_arguments(parser)
    ours = vars(parser.parse_args(arguments))
    theirs = vars(default_argument_parser().parse_args(arguments))
    assert ours.pop("timeout") == 30
    if "--dist-url" not in arguments:
        theirs["dist_url"] = "auto"
    rest = {"config_file": "", "resume": False, "eval_only": False}
    assert ours | rest == theirs
