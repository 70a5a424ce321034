"""The benchmark's clockwork, and its sections about training, run at toy size."""

import pytest
import torch

from sad.study.benchmarks import losses, step
from sad.study.benchmarks.timing import Options, Table, compare, peak_memory, ratio, take_turns

OPTIONS = Options("cpu", "small", 3)


def test_arms_take_turns_and_the_first_round_does_not_count():
    calls = []
    arms = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = take_turns(arms, 3)
    assert "".join(calls) == "abbaabba"
    assert [len(found) for found in times.values()] == [3, 3]


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


def test_losses(monkeypatch):
    monkeypatch.setitem(losses.SIZES, "small", (2, (60, 20), 5))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # a minute; has its test
    table = losses.run(OPTIONS)
    errors = [row["largest gradient error"] for row in table.rows.values() if len(row) > 4]
    assert errors[0] == 0 and 0 < max(errors) < 1e-5
    assert {"plain", "lean", "one pass"} < table.rows.keys()


def test_step(monkeypatch):
    monkeypatch.setitem(step.SIZES, "small", [("configs/digits/SAD_ADL.yaml", 2, (64, 64))])
    rows = step.run(OPTIONS).rows
    own = {name.removeprefix("digits/SAD_ADL: "): row["ms"] for name, row in rows.items()}
    floor = own["student + teacher, class branch"]
    assert 0 < own["teacher, class branch"] < floor and own["SAD"] > 0
    assert rows["digits/SAD_ADL: SAD"]["peak memory (MB)"] > 1
