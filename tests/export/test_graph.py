"""The graph against Detectron2's own inference, and its suppression against torchvision's."""

import pytest
import torch
from detectron2.layers import batched_nms

from exported_files import KINDS, assert_same, batch, random_model
from sad.export.graph import NOTHING, DetectionGraph, suppress
from sad.exported.describe import describe
from sad.exported.runs import GraphDetector
from sad.modeling.adapters import adapter_of
from sad.modeling.build import build_detector
from sad.utils.errors import UserError

QUICK = ("RetinaNet", "FCOS", "up to P7", "few candidates")


@pytest.mark.parametrize(
    "kind", [x if x in QUICK else pytest.param(x, marks=pytest.mark.slow) for x in KINDS]
)
def test_detections_are_those_of_detectron2(toy, kind):
    model, cfg = random_model(toy, KINDS[kind])
    graph = GraphDetector(describe(model, cfg), lambda x: DetectionGraph(model)(x)[:4])
    found = 0
    for size in ((64, 64), (50, 70), (33, 200), (1, 1), (8, 64)):
        images = batch(size, size, seed=size[0])
        wanted = model(images)
        assert_same(graph(images), wanted)
        found += sum(len(x["instances"]) for x in wanted)
    assert found > 20
    if kind == "up to P7":
        maps = adapter_of(model).outputs(model, torch.zeros(1, 3, 32, 224)).features
        odd = [x.shape[-1] for x in maps]
        assert odd == [56, 28, 14, 7, 4]  # the coarser maps are cut


def test_what_is_dense_is_decoded_as_detectron2_does(toy):
    model, _ = random_model(toy, [])
    images = torch.stack([x["image"] for x in batch((50, 70), (50, 70))])
    boxes, scores = DetectionGraph(model, nms=False)(images)
    given = model.preprocess_image([{"image": x} for x in images])
    outputs = adapter_of(model).outputs(model, given.tensor)
    anchors = torch.cat([x.tensor for x in model.anchor_generator(outputs.features)])
    torch.testing.assert_close(scores, torch.cat(outputs.logits, dim=1).sigmoid())
    for found, deltas in zip(boxes, torch.cat(outputs.deltas, dim=1), strict=True):
        torch.testing.assert_close(found, model.box2box_transform.apply_deltas(deltas, anchors))


def test_an_image_without_objects_has_none(toy):
    model, _ = random_model(toy, [])
    torch.nn.init.constant_(model.head.cls_score.bias, -30.0)
    boxes, scores, labels, num = DetectionGraph(model)(torch.zeros(2, 3, 40, 60))[:4]
    assert num.tolist() == [0, 0]
    assert boxes.shape == (2, 100, 4) and not boxes.any() and not scores.any()
    assert (labels == -1).all()


@pytest.mark.parametrize("seed", range(5))
def test_suppression_is_that_of_each_image_and_class(seed):
    draw = torch.Generator().manual_seed(seed)
    n, m, k = 3, 60, 4
    corners = 40 * torch.rand(n, m, 2, generator=draw) - 10
    sides = 1 + 20 * torch.rand(n, m, 2, generator=draw)
    boxes = torch.cat([corners, corners + sides], dim=2)
    scores = torch.rand(n, m, generator=draw)
    scores[:, ::4] = NOTHING
    scores[2] = NOTHING
    labels = torch.randint(k, (n, m), generator=draw)
    keep = suppress(boxes, scores, labels, k, 0.3)
    for image in range(n):
        real = (scores[image] > NOTHING).nonzero()[:, 0]
        wanted = batched_nms(boxes[image, real], scores[image, real], labels[image, real], 0.3)
        assert keep[image].nonzero()[:, 0].tolist() == real[wanted].sort().values.tolist()


def test_far_boxes_of_many_images_are_told_apart():
    """In float32 the 640th class's boxes would be moved by more than they can bear."""
    near = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 4.9], [0.0, 0.0, 10.0, 5.1]])
    boxes = torch.cat([near, torch.tensor([[0.0, 0.0, 1e5, 1e5]])]).expand(8, 4, 4)
    scores = torch.tensor([0.9, 0.8, 0.7, 0.95]).expand(8, 4)
    labels = torch.tensor([79, 79, 79, 78]).expand(8, 4)
    keep = suppress(boxes, scores, labels, 80, 0.5)
    assert keep.tolist() == [[True, True, False, True]] * 8


def test_a_faster_rcnn_is_refused_by_name(toy):
    model = build_detector(toy.cfg("rcnn_teacher.yaml"))
    with pytest.raises(UserError, match="a GeneralizedRCNN cannot be exported as a graph"):
        DetectionGraph(model)
