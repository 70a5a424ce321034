"""Counted things in words."""

import pytest

from sad.inspection.findings import number, verb


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        *((1, "box", "1 box"), (0, "box", "0 boxes")),
        *((1200, "image", "1,200 images"), (2, "class", "2 classes")),
    ],
)
def test_numbers(count, noun, text):
    assert number(count, noun) == text


def test_verbs():
    assert verb(1) == "is" and verb(0) == verb(2) == "are"
    assert verb(1, "has", "have") == "has" and verb(3, "has", "have") == "have"
