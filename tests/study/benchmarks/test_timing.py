"""The benchmark's clockwork: ratios, memory and the table."""

import pytest
import torch

from sad.study.benchmarks.timing import Table, compare, peak_memory, ratio


def test_ratio_is_that_of_the_rounds():
    base = [1.0, 2.0, 4.0, 8.0, 16.0]  # the machine slows down, for both arms alike
    found, (low, high) = ratio([2 * t for t in base], base)
    assert found == low == high == 2
    found, (low, high) = ratio([1.0, 2.0, 4.0, 8.0, 32.0], base)
    assert found == low == 1 and high == 2
    rows = compare({"half": [0.001] * 3, "whole": [0.002] * 3}, "whole")
    assert rows["half"]["ratio to whole"] == 0.5 and rows["half"]["ms"] == pytest.approx(1)


def test_peak_memory_counts_what_lives_at_the_same_time():
    megabyte = 1 << 18  # floats

    def function():
        for _ in range(3):
            torch.empty(2 * megabyte)  # freed at once
        kept = torch.empty(megabyte)
        return kept + 1

    assert peak_memory(function) == pytest.approx(2 << 20, abs=1000)  # and the 1 itself


def test_table():
    text = Table(
        "T", {"a": {"ms": 1.5, "interval": [0.5, 1234.0]}, "b": {}}, ["A note."], 3
    ).markdown()
    assert "| a  | 1.5  | 0.5 to 1,234 |" in text and text.endswith("A note.\n")
