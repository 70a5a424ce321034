"""The benchmark of the class logits' losses, run at toy size."""

import torch

from sad.study.benchmarks import losses
from sad.study.benchmarks.timing import Options

OPTIONS = Options("cpu", "small", 3)


def test_losses(monkeypatch):
    monkeypatch.setitem(losses.SIZES, "small", (2, (60, 20), 5))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # a minute; has its test
    table = losses.run(OPTIONS)
    errors = [row["largest gradient error"] for row in table.rows.values() if len(row) > 4]
    assert errors[0] == 0 and 0 < max(errors) < 1e-5
    assert {"plain", "lean", "one pass"} < table.rows.keys()
