"""A proof must fail where a file is another RetinaNet, and must not where it is the same."""

import pytest
import torch

from exported_files import batch, tame_teacher
from sad.export.graph import graph_of
from sad.export.proof import check_batches, prove
from sad.exported.describe import describe
from sad.exported.runs import GraphDetector
from sad.utils.errors import UserError

BATCHES = check_batches([x["image"] for x in batch((64, 64), (48, 64), (64, 50))], 32)


@pytest.fixture(scope="module")
def teacher(toy):
    return tame_teacher(toy)


def proved(teacher, change=lambda *outputs: outputs, batches=BATCHES, **options):
    """Of the graph, whose outputs are changed on the way."""
    model, cfg = teacher
    graph = graph_of(model)

    def run(images):
        return change(*graph(images))

    detector = GraphDetector(describe(model, cfg), lambda images: run(images)[:4])
    return prove(model, detector, lambda images: run(images)[4:], batches, **options)


def test_the_graph_itself_passes(teacher):
    proof = proved(teacher)
    assert len(proof.batches) == 7
    assert proof.box < 1e-3 and proof.score < 1e-6
    assert proof.detections > 50 and proof.excepted == 0


def _move_a_box(boxes, scores, labels, num, every, of_every):
    return (
        boxes,
        scores,
        labels,
        num,
        every + (torch.arange(every.shape[1]) == 7)[:, None],
        of_every,
    )


def _lower_a_score(boxes, scores, labels, num, every, of_every):
    of_every = of_every.clone()
    of_every[-1, -1, -1] += 2e-4
    return boxes, scores, labels, num, every, of_every


def _lose_numbers(boxes, scores, labels, num, every, of_every):
    return boxes, scores, labels, num, every, of_every * torch.nan


def _lose_an_anchor(boxes, scores, labels, num, every, of_every):
    return boxes, scores, labels, num, every[:, 1:], of_every[:, 1:]


def _lose_a_detection(boxes, scores, labels, num, *dense):
    return boxes, scores, labels, (num - 1).clamp(min=0), *dense


def _other_classes(boxes, scores, labels, num, *dense):
    return boxes, scores, 1 - labels, num, *dense


def _shift(boxes, scores, labels, num, *dense):
    return boxes + 0.05, scores, labels, num, *dense


def _twice(boxes, scores, labels, num, *dense):
    return (
        boxes[:, [0, *range(99)]],
        scores[:, [0, *range(99)]],
        labels[:, [0, *range(99)]],
        (num + 1),
        *dense,
    )


@pytest.mark.parametrize(
    "change",
    [
        _move_a_box,
        _lower_a_score,
        _lose_numbers,
        _lose_an_anchor,
        _lose_a_detection,
        _other_classes,
        _shift,
        _twice,
    ],
)
def test_another_detector_fails(teacher, change):
    with pytest.raises(UserError, match="the file is not its detector"):
        proved(teacher, change)


@pytest.mark.slow
def test_one_batch_alone_may_show_it(teacher):
    def change(boxes, scores, labels, num, *dense):
        wide = dense[0].shape[1] == len(graph_of(teacher[0])(BATCHES[5])[4][0])
        return (_shift if wide else lambda *x: x)(boxes, scores, labels, num, *dense)

    with pytest.raises(UserError, match="not its detector"):
        proved(teacher, change)


def test_what_lies_beside_the_threshold_is_excepted_and_counted(teacher):
    """The score threshold is put upon a detection's score, which only one side then reports."""
    model, cfg = teacher
    image = BATCHES[0]
    lowest = model([{"image": image[0]}])[0]["instances"].scores[-1].item()
    before = model.test_score_thresh
    detector = GraphDetector(describe(model, cfg), lambda x: graph_of(model)(x)[:4])

    def detect(images):
        model.test_score_thresh = lowest + 5e-5
        found = detector(images)
        model.test_score_thresh = lowest - 5e-5
        return found

    try:
        model.test_score_thresh = lowest - 5e-5
        proof = prove(model, detect, lambda x: graph_of(model)(x)[4:], [image])
    finally:
        model.test_score_thresh = before
    assert proof.excepted == 1 and proof.detections > 0


def test_ties_alone_are_no_proof(teacher):
    """Of two boxes that overlap and have one score, either may suppress the other."""
    model, cfg = teacher
    image = BATCHES[0]
    graph = graph_of(model)
    detector = GraphDetector(describe(model, cfg), lambda x: graph(x)[:4])
    proof = prove(model, detector, lambda x: graph(x)[4:], [image])
    assert proof.excepted == 0
    weight = model.head.cls_score.weight
    with torch.no_grad():
        kept = weight.clone()
        weight.zero_()  # every anchor has one score now
    try:
        mirrored = GraphDetector(describe(model, cfg), lambda x: _from_the_end(graph, x))
        with pytest.raises(UserError, match="cannot be proved"):  # all of them are excepted
            prove(model, mirrored, lambda x: graph(x)[4:], [image])
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def _from_the_end(graph, images):
    """The graph's detections, had its anchors been in the opposite order."""
    levels = [(b.flip(1), s.flip(1)) for b, s in graph.levels(images)]
    return graph.select(levels, images.shape[-2], images.shape[-1])
