"""The benchmark of the loader, run on a few small images."""

import pytest
from detectron2.data import DatasetCatalog

from sad.study.benchmarks import data
from sad.study.benchmarks.timing import Options


@pytest.mark.slow
def test_a_loader_and_its_step(monkeypatch):
    sizes = [("configs/digits/SAD_ADL.yaml", (64, 64), 12, (0, 1), True)]
    monkeypatch.setitem(data.SIZES, "small", sizes)
    monkeypatch.setattr(data, "BATCHES", (2,))
    rows = data.run(Options("cpu", "small", 3)).rows
    rows = {name.removeprefix("digits/SAD_ADL: "): row for name, row in rows.items()}
    sample = rows.pop("a sample")["ms"]
    for readers in (0, 1):
        row = rows.pop(f"batch 2, readers {readers}")
        assert 0 < row["waiting (%)"] < 100
        assert row["given / taken"] == row["images a second"] / row["training takes"]
    assert len(rows) == 4 and all(row["ms"] < sample for row in rows.values())


def test_images_are_as_hard_to_decode_as_photographs(tmp_path):
    data.write_set(tmp_path, data.SETS[0], 3, (640, 480), 10)
    entries = DatasetCatalog.get(data.SETS[0])
    assert [len(entry["annotations"]) for entry in entries] == [data.OBJECTS] * 3
    lengths = [path.stat().st_size for path in (tmp_path / data.SETS[0]).iterdir()]
    assert all(100_000 < length < 250_000 for length in lengths)  # COCO's average is 160,000
