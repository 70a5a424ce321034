"""A Faster R-CNN's proof must fail where a file is another detector, and pass where it is not."""

import pytest
import torch

from exported_files import RCNN_KINDS, batch, random_rcnn
from sad.export.graph import graph_of
from sad.export.proof import check_batches, prove
from sad.export.suppression import NOTHING
from sad.exported.describe import describe
from sad.exported.runs import GraphDetector
from sad.utils.errors import UserError

BATCHES = check_batches([x["image"] for x in batch((64, 64), (48, 64), (64, 50))], 32)
PLACES = {"num": 3, "anchor_boxes": 4, "anchor_logits": 5, "proposals": 6, "proposal_logits": 7,
          "region_boxes": 8, "region_scores": 9}  # fmt: skip


@pytest.fixture(scope="module")
def detector(toy):
    return random_rcnn(toy)


def proved(detector, batches=BATCHES, **changes):
    """Of the graph, whose outputs of some names are changed on the way."""
    model, cfg = detector
    graph = graph_of(model)

    def run(images):
        outputs = list(graph(images))
        for name, change in changes.items():
            outputs[PLACES[name]] = change(outputs[PLACES[name]].clone())
        return outputs

    detect = GraphDetector(describe(model, cfg), lambda images: tuple(run(images)[:4]))
    return prove(model, detect, lambda images: tuple(run(images)[4:]), batches)


@pytest.mark.parametrize(
    "kind", ["Faster R-CNN", "class-agnostic", "few proposals", "large objects alone"]
)
def test_the_graph_itself_passes(toy, kind):
    proof = proved(random_rcnn(toy, RCNN_KINDS[kind]))
    assert len(proof.batches) == 7 and proof.excepted == 0
    assert proof.box < 1e-3 and proof.score < 1e-5
    assert proof.proposals > 30 and proof.detections > 3


def _lose_the_best(logits):
    logits[:, 0] = NOTHING
    return logits


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("num", lambda x: (x - 1).clamp(min=0)),
        ("anchor_boxes", lambda x: x + 0.05),
        ("anchor_logits", lambda x: x * 1.01),
        ("anchor_logits", lambda x: x * torch.nan),
        ("proposals", lambda x: x + 0.05),
        ("proposal_logits", _lose_the_best),
        ("region_boxes", lambda x: x.flip(1)),
        ("region_scores", lambda x: x + 2e-4),
    ],
)
def test_another_detector_fails(detector, name, change):
    with pytest.raises(UserError, match="the file is not its detector"):
        proved(detector, **{name: change})


def test_ties_alone_are_no_proof(detector):
    """All anchors of one logit: another order of them is another set of proposals."""
    model, _ = detector
    head = model.proposal_generator.rpn_head.objectness_logits
    kept = head.weight.clone()
    try:
        head.weight.zero_()
        graph = graph_of(model)
        levels = graph.anchor_levels
        graph.anchor_levels = lambda maps: [(b.flip(1), s.flip(1)) for b, s in levels(maps)]
        images = BATCHES[0]

        def inner(images):
            boxes, logits, *rest = graph(images)[4:]
            sizes = [x.shape[1] for x, _ in levels(model.backbone(graph.normalized(images)))]
            boxes = torch.cat([x.flip(1) for x in boxes.split(sizes, dim=1)], dim=1)
            return boxes, logits, *rest

        with pytest.raises(UserError, match="cannot be proved"):
            prove(model, None, inner, [images])
    finally:
        head.weight.copy_(kept)
