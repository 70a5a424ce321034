"""The parts that all graphs share, against Detectron2's."""

import pytest
import torch
from detectron2.structures import Boxes

from exported_files import random_model
from sad.export.dense_graph import DenseGraph
from sad.export.detection_graph import anchors_of, best_of_level, clip
from sad.export.suppression import NOTHING
from sad.utils.errors import UserError


def test_anchors_are_detectron2s(toy):
    generator = random_model(toy, [])[0].anchor_generator
    maps = [torch.zeros(1, 4, 5, 7), torch.zeros(1, 4, 3, 4), torch.zeros(1, 4, 1, 1)]
    maps = maps[: len(generator.strides)]
    for level, wanted in enumerate(generator(maps)):
        found = anchors_of(generator, level, maps[level])
        torch.testing.assert_close(found, wanted.tensor, rtol=0, atol=0)


def test_boxes_are_clipped_as_by_detectron2():
    boxes = 40 * torch.randn(50, 4)
    wanted = Boxes(boxes.clone())
    wanted.clip((30, 20))
    assert torch.equal(clip(boxes, 30, 20), wanted.tensor)


def test_a_level_of_few_has_nothing_for_the_rest():
    best, places = best_of_level(torch.tensor([[0.3, 0.9]]), 4)
    assert best.tolist() == [[pytest.approx(0.9), pytest.approx(0.3), NOTHING, NOTHING]]
    assert places[0, :2].tolist() == [1, 0] and (places[0, 2:] >= 2).all()


def test_a_backbone_that_pads_to_squares_is_refused(toy, monkeypatch):
    model, _ = random_model(toy, [])
    kind = type(model.backbone)
    monkeypatch.setattr(kind, "padding_constraints", property(lambda _: {"square_size": 64}))
    with pytest.raises(UserError, match="squares"):
        DenseGraph(model)
