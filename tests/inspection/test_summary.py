"""The content of inspection.json, against counts by hand."""

import json

import numpy as np
import pytest

from planted import noise, write_set
from sad.inspection.examine import examine
from sad.inspection.summary import quantiles, summarize


def test_counts(summary):
    train, val = summary["sets"]["train"], summary["sets"]["val"]
    assert (train["images"], train["boxes"], train["negatives"], train["crowds"]) == (22, 35, 1, 1)
    assert (val["images"], val["boxes"]) == (2, 3)
    assert train["boxes_per_image"]["1"] == 2 and train["tiny"] == 1
    assert train["sizes"] == [{"height": 64, "width": 96, "images": 21}]  # one is absent
    assert train["mended"] == {"boxes clipped": ["0.xml", "1.xml"]}
    assert val["box_aspect_ratios"]["0"] == pytest.approx(20 / 30, abs=1e-4)  # height / width
    assert val["aspect_ratios"]["0.5"] == pytest.approx(64 / 96, abs=1e-4)
    assert summary["classes"] == [
        {"name": "cat", "train": 21, "val": 1},
        {"name": "dog", "train": 13, "val": 1},
        {"name": "bird", "train": 0, "val": 1},
        {"name": "fish", "train": 1, "val": 0},
    ]
    assert summary["unlabeled"]["images"] == 4
    assert summary["training"]["shorter_side"] == 192
    assert summary["training"]["longest_side"] == 256
    assert [len(group["images"]) for group in summary["similar"]] == [2, 2, 2]
    assert [group["identical"] for group in summary["similar"]] == [False, True, False]


def test_it_is_a_json_and_warnings_come_first(summary):
    assert json.loads(json.dumps(summary)) == summary
    levels = [finding["level"] for finding in summary["findings"]]
    assert levels == sorted(levels, key=["warning", "good", "info"].index)
    assert len(set(levels)) == 3 and "nothing_suspicious" not in levels


def test_nothing_suspicious(tmp_path):
    content = {f"{i}.png": (noise(i), [("cat", 9, 9, 30, 30)]) for i in range(10)}
    seen = examine({"train": write_set(tmp_path, "train", content, ["cat"])})
    summary = summarize(seen)
    assert [finding["what"] for finding in summary["findings"]] == ["nothing_suspicious"]
    assert summary["training"] is summary["anchors"] is None
    assert summary["sets"]["train"]["box_sides_in_training"] is None


def test_quantiles():
    assert quantiles(np.arange(101)) == {
        **{"0": 0, "0.05": 5, "0.25": 25, "0.5": 50},
        **{"0.75": 75, "0.95": 95, "1": 100},
    }
    assert quantiles(np.empty(0)) is None
