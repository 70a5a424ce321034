"""The benchmark of a training iteration, run at toy size."""

import pytest

from sad.config.load import get_sad_cfg
from sad.data.teacher_cache import TeacherCache
from sad.study.benchmarks import kept, step
from sad.study.benchmarks.timing import Options

OPTIONS = Options("cpu", "small", 3)


@pytest.mark.slow
def test_step(monkeypatch):
    monkeypatch.setitem(step.SIZES, "small", [("configs/digits/SAD_ADL.yaml", 2, (64, 64))])
    monkeypatch.setattr(kept, "STEPS", 1)
    floors = []

    class Cache(TeacherCache):
        def __init__(self, root, describe, floor, leave_free):
            floors.append(floor)
            super().__init__(root, describe, floor, leave_free)

    monkeypatch.setattr(kept, "TeacherCache", Cache)
    rows = step.run(OPTIONS).rows
    assert floors == [get_sad_cfg("configs/digits/SAD_ADL.yaml").SAD.TEACHER.CACHE.FLOOR]
    own = {name.removeprefix("digits/SAD_ADL: "): row.get("ms") for name, row in rows.items()}
    floor = own["student + teacher, class branch"]
    assert 0 < own["teacher, class branch"] < floor and own["SAD"] > 0
    assert rows["digits/SAD_ADL: SAD"]["peak memory (MB)"] > 1
    ratios = [row["ratio"] for name, row in rows.items() if " / " in name]
    assert len(ratios) == 6 and all(0.1 < ratio < 10 for ratio in ratios)


@pytest.mark.slow
def test_step_of_two_stages(monkeypatch):
    config = "configs/digits/FasterRCNN/TAR.yaml"
    monkeypatch.setitem(step.SIZES, "small", [(config, 2, (64, 64))])
    monkeypatch.setattr(kept, "STEPS", 1)
    rows = step.run(OPTIONS).rows
    own = {name.removeprefix("digits/FasterRCNN/TAR: "): row for name, row in rows.items()}
    ratios = [row["ratio"] for name, row in own.items() if " / " in name]
    assert len(ratios) == 4 and all(0.1 < ratio < 10 for ratio in ratios)
    own = {name: row.get("ms") for name, row in own.items()}
    floor = own["student + teacher, backbone and box head"]
    assert 0 < own["teacher, backbone and box head"] < floor and own["TAR"] > own["student"] / 2
    assert rows["digits/FasterRCNN/TAR: TAR"]["peak memory (MB)"] > 1
