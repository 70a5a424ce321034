"""Anchors that are advised; tests/modeling/test_anchors.py tries whether they fit."""

import pytest

from anchor_problem import network, objects
from sad.modeling import anchor_advice
from sad.modeling.anchor_advice import changes, find_better
from sad.modeling.anchor_fit import sample_boxes


@pytest.mark.slow
def test_the_best_is_found_where_nothing_is_enough(monkeypatch):
    cfg, model = network()
    monkeypatch.setattr(anchor_advice, "GROWTH", [1, 2])
    better, recall = find_better(cfg, model, *sample_boxes(objects([(16, 16)] * 100)))
    assert 0 < recall < 0.9 and better.INPUT.MAX_SIZE_TRAIN == 512


def test_changes_are_pairs_for_the_shell():
    cfg, _ = network()
    other, _ = network("INPUT.MIN_SIZE_TEST", 64, "MODEL.ANCHOR_GENERATOR.SIZES", [[8, 9]])
    assert changes(cfg, cfg) == ""
    expected = "MODEL.ANCHOR_GENERATOR.SIZES '[[8, 9]]'"
    assert expected in changes(cfg, other) and "INPUT.MIN_SIZE_TEST 64" in changes(cfg, other)
