"""The graph of a Faster R-CNN against Detectron2's own inference, and files of it."""

import onnxruntime
import pytest
import torch
from detectron2.modeling.poolers import assign_boxes_to_levels
from detectron2.structures import Boxes
from scipy.optimize import linear_sum_assignment

from exported_files import HEAD, RCNN_KINDS, RPN, batch, found_alike, random_rcnn
from sad.export.onnx_file import to_onnx, with_inner
from sad.export.proof import prove
from sad.export.region_graph import RegionGraph
from sad.export.suppression import NOTHING
from sad.export.torch_program import to_program
from sad.exported.describe import describe
from sad.exported.program_file import load_program
from sad.exported.runs import OUTPUTS, GraphDetector
from sad.modeling.build import build_detector
from sad.utils.errors import UserError

SIZES = [(1, 64, 64), (2, 50, 70), (1, 33, 200), (8, 1, 1)]


def _images(n, height, width) -> torch.Tensor:
    return torch.stack([x["image"] for x in batch(*[(height, width)] * n)])


@pytest.mark.parametrize("kind", RCNN_KINDS)
def test_detections_are_those_of_detectron2(toy, kind):
    model, cfg = random_rcnn(toy, RCNN_KINDS[kind])
    assert found_alike(model, cfg, RegionGraph(model)) >= 5  # of so few proposals


def test_proposals_are_those_of_the_rpn(toy):
    model, _ = random_rcnn(toy, [RPN + "POST_NMS_TOPK_TEST", 200])
    images = _images(2, 48, 64)
    given = model.preprocess_image([{"image": x} for x in images])
    wanted, _ = model.proposal_generator(given, model.backbone(given.tensor))
    graph = RegionGraph(model)
    proposals, logits = graph(images)[6:8]
    for boxes, scores, other in zip(proposals, logits, wanted, strict=True):
        n = len(other)
        assert 0 < n < graph.num_proposals  # some places are left
        apart = torch.cdist(boxes[:n], other.proposal_boxes.tensor, p=torch.inf)
        assert (apart.numpy()[linear_sum_assignment(apart)] < 1e-4).all()  # ties in any order
        torch.testing.assert_close(scores[:n], other.objectness_logits)
        assert (scores[n:] == NOTHING).all() and not boxes[n:].any()


def test_regions_are_pooled_as_by_detectron2(toy):
    """Of every level, on the edges of the image, and without area."""
    model, _ = random_rcnn(toy)
    maps = [torch.rand(2, 16, 64 // stride, 96 // stride) for stride in (4, 8, 16, 32)]
    pooler = model.roi_heads.box_pooler
    boxes = torch.tensor([[0, 0, 96, 64], [3, 4, 23, 25], [90, 60, 96, 64], [5, 5, 5, 5.0]])
    boxes = torch.stack([boxes, boxes.flip(0)])
    levels = assign_boxes_to_levels([Boxes(boxes[0])], 2, 5, pooler.canonical_box_size, 4)
    assert set(levels.tolist()) == {0, 1, 3}
    wanted = pooler(maps, [Boxes(x) for x in boxes])
    pooled = RegionGraph(model)._pool(maps, boxes)
    torch.testing.assert_close(pooled, wanted, rtol=0, atol=0)


def test_an_image_without_objects_has_none(toy):
    model, _ = random_rcnn(toy)
    torch.nn.init.constant_(model.roi_heads.box_predictor.cls_score.bias[-1:], 60.0)
    boxes, scores, labels, num = RegionGraph(model)(torch.zeros(2, 3, 40, 60))[:4]
    assert num.tolist() == [0, 0]
    assert not boxes.any() and not scores.any() and (labels == -1).all()


@pytest.mark.parametrize(
    "kind",
    [
        "Faster R-CNN",
        *(
            pytest.param(x, marks=pytest.mark.slow)
            for x in ("class-agnostic", "sigmoids", "ROIAlign", "few proposals")
        ),
    ],
)
def test_an_onnx_file_gives_what_the_graph_does(toy, kind):
    model, cfg = random_rcnn(toy, RCNN_KINDS[kind])
    graph = RegionGraph(model)
    card = describe(model, cfg)
    file = with_inner(to_onnx(graph, card), graph.INNER)
    assert sum(node.op_type == "NonMaxSuppression" for node in file.graph.node) == 2
    session = onnxruntime.InferenceSession(file.SerializeToString())
    assert [x.name for x in session.get_outputs()] == [*OUTPUTS, *graph.INNER]

    def run(images):
        return [torch.from_numpy(x) for x in session.run(None, {"images": images.numpy()})]

    detect = GraphDetector(card, lambda images: run(images)[:4])
    batches = [_images(*size) for size in SIZES]
    proof = prove(model, detect, lambda images: run(images)[4:], batches)
    assert proof.proposals > 15 and proof.detections > 3 and proof.excepted <= 1


@pytest.mark.slow
def test_a_program_gives_what_the_graph_does(toy):
    model, cfg = random_rcnn(toy)
    graph = RegionGraph(model)
    run = load_program(to_program(graph, describe(model, cfg)), "cpu", "x.pt2")
    for size in SIZES:
        images = _images(*size)
        for one, other in zip(run(images), graph(images), strict=True):
            torch.testing.assert_close(one, other)


def test_what_has_no_graph_is_refused(toy):
    with pytest.raises(UserError, match="--nms graph"):
        RegionGraph(build_detector(toy.cfg("rcnn_teacher.yaml")), nms=False)
    cfg = toy.cfg("rcnn_teacher.yaml", HEAD + "POOLER_TYPE", "ROIPool")
    with pytest.raises(UserError, match="POOLER_TYPE ROIPool"):
        RegionGraph(build_detector(cfg))
