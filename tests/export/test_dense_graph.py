"""The graph of RetinaNet and FCOS against Detectron2's own inference."""

import pytest
import torch

from exported_files import KINDS, batch, found_alike, random_model
from sad.export.dense_graph import DenseGraph
from sad.modeling.adapters import adapter_of

QUICK = ("RetinaNet", "FCOS", "up to P7", "few candidates")


@pytest.mark.parametrize(
    "kind", [x if x in QUICK else pytest.param(x, marks=pytest.mark.slow) for x in KINDS]
)
def test_detections_are_those_of_detectron2(toy, kind):
    model, cfg = random_model(toy, KINDS[kind])
    assert found_alike(model, cfg, DenseGraph(model)) > 20
    if kind == "up to P7":
        maps = adapter_of(model).outputs(model, torch.zeros(1, 3, 32, 224)).features
        odd = [x.shape[-1] for x in maps]
        assert odd == [56, 28, 14, 7, 4]  # the coarser maps are cut


def test_what_is_dense_is_decoded_as_detectron2_does(toy):
    model, _ = random_model(toy, [])
    images = torch.stack([x["image"] for x in batch((50, 70), (50, 70))])
    boxes, scores = DenseGraph(model, nms=False)(images)
    given = model.preprocess_image([{"image": x} for x in images])
    outputs = adapter_of(model).outputs(model, given.tensor)
    anchors = torch.cat([x.tensor for x in model.anchor_generator(outputs.features)])
    torch.testing.assert_close(scores, torch.cat(outputs.logits, dim=1).sigmoid())
    for found, deltas in zip(boxes, torch.cat(outputs.deltas, dim=1), strict=True):
        torch.testing.assert_close(found, model.box2box_transform.apply_deltas(deltas, anchors))


def test_an_image_without_objects_has_none(toy):
    model, _ = random_model(toy, [])
    torch.nn.init.constant_(model.head.cls_score.bias, -30.0)
    boxes, scores, labels, num = DenseGraph(model)(torch.zeros(2, 3, 40, 60))[:4]
    assert num.tolist() == [0, 0]
    assert boxes.shape == (2, 100, 4) and not boxes.any() and not scores.any()
    assert (labels == -1).all()
