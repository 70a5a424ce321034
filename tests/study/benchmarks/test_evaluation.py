"""The benchmark's section of COCO's evaluation, run at toy size."""

import pytest
from detectron2.data import MetadataCatalog

from sad.study.benchmarks import evaluation
from sad.study.benchmarks.timing import Options


@pytest.mark.slow
def test_evaluation(monkeypatch):
    monkeypatch.setitem(evaluation.IMAGES, "small", 12)
    rows = evaluation.run(Options("cpu", "small", 3)).rows
    assert rows["hotcoco"]["largest difference of the 12 numbers"] == 0
    assert rows["hotcoco"]["ms"] > 0 and rows["pycocotools"]["ratio to pycocotools"] == 1
    assert evaluation.SET not in MetadataCatalog
