"""The benchmark of teachers and students, run on small ones."""

import pytest
import torch

from sad.study.benchmarks import models
from sad.study.benchmarks.timing import Options

OPTIONS = Options("cpu", "small", 3)


def run(monkeypatch, *pairs):
    monkeypatch.setitem(models.SIZES, "small", ((96, 64), "configs/digits", list(pairs)))
    monkeypatch.setattr(torch, "compile", lambda function: function)  # seconds; tested below
    return models.run(OPTIONS).rows


@pytest.mark.slow
def test_a_student_costs_less(monkeypatch):
    rows = run(monkeypatch, ("teacher", "student"), ("large", "student"))
    assert rows["teacher"]["parameters (M)"] == pytest.approx(3.16, abs=0.01)
    for teacher in ("teacher", "large"):
        found = rows[f"student / {teacher}"]
        for column in ("parameters (M)", "GFLOPs", "peak memory (MB)"):
            assert found[column] == rows["student"][column] / rows[teacher][column] < 1
        assert found["whole, ms"] < 1 and found["network, ms"] < 1


def test_a_network_beside_itself(monkeypatch):
    rows = run(monkeypatch, ("student", "student"))
    assert rows["student"]["compiled, ms"] > 0
    assert set(rows.pop("student / student").pop("95 % interval")) == {1}
    assert all(value > 0 for value in rows["student"].values())


@pytest.mark.slow
def test_compiled_gives_the_same():
    model, _ = models.build("configs/digits/student.yaml", "cpu")
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = (
            function(model, pixels) for function in (models.network, torch.compile(models.network))
        )
    for one, other in zip(sum(expected, []), sum(found, []), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
