"""The benchmark's section of labelling, run at toy size."""

import pytest

from sad.study.benchmarks import labeling
from sad.study.benchmarks.timing import Options


@pytest.mark.slow
def test_labeling(monkeypatch):
    case = ("configs/digits/student.yaml", [], 6, [(128, 128)], (2,), 60)
    monkeypatch.setitem(labeling.SIZES, "small", [case])
    rows = labeling.run(Options("cpu", "small", 3)).rows
    base, exact, rough = rows.values()
    assert 10 < base["boxes/image"] < 60
    assert base["boxes/image"] - exact["boxes/image"] < 1  # slivers at the border, left out
    assert base["boxes found again"] == 1 and exact["boxes found again"] > 0.98
    assert 0.5 < rough["boxes found again"] <= 1
    assert all(row["images/s"] > 0 for row in rows.values())
