"""The benchmark of a training iteration, run at toy size."""

import pytest

from sad.study.benchmarks import kept, step
from sad.study.benchmarks.timing import Options

OPTIONS = Options("cpu", "small", 3)


@pytest.mark.slow
def test_step(monkeypatch):
    monkeypatch.setitem(step.SIZES, "small", [("configs/digits/SAD_ADL.yaml", 2, (64, 64))])
    monkeypatch.setattr(kept, "STEPS", 1)
    rows = step.run(OPTIONS).rows
    own = {name.removeprefix("digits/SAD_ADL: "): row.get("ms") for name, row in rows.items()}
    floor = own["student + teacher, class branch"]
    assert 0 < own["teacher, class branch"] < floor and own["SAD"] > 0
    assert rows["digits/SAD_ADL: SAD"]["peak memory (MB)"] > 1
    ratios = [row["ratio"] for name, row in rows.items() if " / " in name]
    assert len(ratios) == 3 and all(0.1 < ratio < 10 for ratio in ratios)


def test_step_of_two_stages(monkeypatch):
    config = "configs/digits/FasterRCNN/TAR.yaml"
    monkeypatch.setitem(step.SIZES, "small", [(config, 2, (64, 64))])
    rows = step.run(OPTIONS).rows
    own = {name.removeprefix("digits/FasterRCNN/TAR: "): row["ms"] for name, row in rows.items()}
    floor = own["student + teacher, backbone and box head"]
    assert 0 < own["teacher, backbone and box head"] < floor and own["TAR"] > own["student"] / 2
    assert rows["digits/FasterRCNN/TAR: TAR"]["peak memory (MB)"] > 1
