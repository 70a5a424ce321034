"""Types of command line arguments."""

import argparse

import pytest

from sad.utils.arguments import between


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
