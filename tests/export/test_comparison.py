"""Two sets of detections that differ: what rounding may explain, and what it may not."""

import pytest
import torch
from detectron2.structures import Boxes, Instances

from sad.export.comparison import Candidates, Comparison
from sad.utils.errors import UserError

BOXES = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9.5], [20, 20, 40, 40], [50, 50, 60, 60.0]])
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.6])


def _detections(*places, boxes=BOXES, scores=SCORES) -> Instances:
    places = list(places)
    return Instances(
        (100, 100),
        pred_boxes=Boxes(boxes[places]),
        scores=scores[places],
        pred_classes=torch.zeros(len(places), dtype=torch.long),
    )


def _compared(found, wanted, boxes=BOXES, scores=SCORES, **changes) -> Comparison:
    candidates = Candidates(
        boxes=boxes, scores=scores[:, None], groups=[2, 2], topk=100, by_group=False,
        score_threshold=0.5, nms_threshold=0.5, min_side=0.0, most=100,
    )._replace(**changes)  # fmt: skip
    comparison = Comparison()
    comparison.add_set(found, wanted, candidates, "detections")
    return comparison


def test_the_same_in_another_order_is_the_same():
    comparison = _compared(_detections(3, 0, 2), _detections(0, 2, 3))
    assert comparison.detections == 3 and comparison.excepted == 0


@pytest.mark.parametrize("places", [(0, 2), (0, 2, 2, 3), (0, 1, 2, 3)])
def test_what_nothing_explains_is_another_detector(places):
    with pytest.raises(UserError, match="1 are found by one of them alone"):
        _compared(_detections(*places), _detections(0, 2, 3))


@pytest.mark.parametrize(
    ("changes", "excepted"),
    [
        ({"score_threshold": 0.60005}, 1),
        ({"most": 3}, 1),  # the last one that has room
        ({"topk": 1}, 0),  # 0.7 is the end of its group, and 0.6 is far from it
        ({"min_side": 10.0}, 1),
        ({"boxes": torch.cat([BOXES[:3], BOXES[2:3]])}, 0),
    ],
)
def test_what_lies_at_an_end_is_excepted(changes, excepted):
    found, wanted = _detections(0, 2), _detections(0, 2, 3)
    if excepted:
        assert _compared(found, wanted, **changes).excepted == excepted
    else:
        with pytest.raises(UserError, match="1 are found"):
            _compared(found, wanted, **changes)


def test_a_list_that_is_full_may_end_at_another_one():
    """An overlap beside the threshold lets one side have a better box, which moves the last out."""
    changes = {"most": 3, "nms_threshold": 0.95}
    for sides in (((0, 1, 2), (0, 2, 3)), ((0, 2, 3), (0, 1, 2))):
        assert _compared(*(_detections(*x) for x in sides), **changes).excepted == 2


def test_the_end_of_a_group_is_its_own():
    found, wanted = _detections(0, 2), _detections(0, 2, 3)
    with pytest.raises(UserError, match="1 are found"):
        _compared(found, wanted, groups=[3, 1], topk=1)  # the group of 0.6 has no more
    near = torch.tensor([0.9, 0.8, 0.60005, 0.6])
    sides = [_detections(*x, scores=near) for x in ((0, 2), (0, 2, 3))]
    assert _compared(*sides, scores=near, topk=1).excepted == 1


def test_a_place_is_that_of_box_and_logit():
    """Of two boxes 3 pixels apart, whose logits differ by as much as rounding may."""
    boxes = torch.tensor([[0, 0, 10, 10], [0, 3, 10, 13], [0, 0, 10, 7.0]])
    logits = torch.tensor([5.0, 5.00001, 4.0])
    sides = [
        _detections(*x, boxes=boxes, scores=y) for x, y in (((0,), logits + 1e-5), ((), logits))
    ]
    with pytest.raises(UserError, match="1 are found"):
        _compared(*sides, boxes=boxes, scores=logits, groups=[3], nms_threshold=0.9999)


def test_too_many_exceptions_prove_nothing():
    few = Comparison(detections=5, excepted=10)
    few.check_excepted()
    Comparison(detections=500, proposals=1000, excepted=60).check_excepted()
    with pytest.raises(UserError, match="cannot be proved: 60 of 560"):
        Comparison(detections=500, excepted=60).check_excepted()


def test_either_of_a_tie_may_suppress_the_other():
    scores = torch.tensor([0.8, 0.8, 0.7, 0.6])
    sides = [_detections(*x, scores=scores) for x in ((1, 2, 3), (0, 2, 3))]
    assert _compared(*sides, scores=scores).excepted == 2
    scores = torch.tensor([0.8, 0.7998, 0.7, 0.6])
    sides = [_detections(*x, scores=scores) for x in ((1, 2, 3), (0, 2, 3))]
    with pytest.raises(UserError, match="2 are found"):
        _compared(*sides, scores=scores)


def test_an_overlap_beside_the_threshold_may_suppress_or_not():
    assert _compared(_detections(0), _detections(0, 1), nms_threshold=0.95).excepted == 1
    with pytest.raises(UserError):
        _compared(_detections(0), _detections(0, 1), nms_threshold=0.9)


def test_only_a_box_of_the_own_group_suppresses():
    near = {"nms_threshold": 0.95, "groups": [1, 3]}
    assert _compared(_detections(0), _detections(0, 1), **near).excepted == 1
    with pytest.raises(UserError):
        _compared(_detections(0), _detections(0, 1), **near, by_group=True)


def test_margins_of_logits_grow_with_them():
    logits = torch.tensor([30.0, 20.0, 7.0, -4.0])
    shifted = logits * (1 + 5e-5)
    places = (0, 2, 3)
    sides = [_detections(*places, scores=x) for x in (shifted, logits)]
    assert _compared(*sides, scores=logits, score_threshold=-torch.inf).detections == 3


@pytest.mark.parametrize(
    ("found", "wanted", "what"),
    [
        (BOXES + 0.02, BOXES, "boxes"),
        (BOXES[:2], BOXES, "boxes"),
        (SCORES + 2e-4, SCORES, "scores"),
        (SCORES * torch.nan, SCORES, "scores"),
        (40 * SCORES + 8e-3, 40 * SCORES, "scores"),
    ],
)
def test_numbers_that_differ(found, wanted, what):
    comparison = Comparison(batches=["1 x 2 x 3"])
    with pytest.raises(UserError, match=f"{what}.* on images of 1 x 2 x 3"):
        comparison.add_numbers(found, wanted, what)


def test_numbers_that_do_not():
    comparison = Comparison(batches=["1 x 2 x 3"])
    comparison.add_numbers(BOXES + 5e-3, BOXES, "boxes")
    comparison.add_numbers(1000 * BOXES + 5e-2, 1000 * BOXES, "boxes")
    comparison.add_numbers(SCORES + 5e-5, SCORES, "scores")
    comparison.add_numbers(SCORES[:0], SCORES[:0], "scores")
    assert comparison.box == pytest.approx(5e-3, rel=0.1)
    assert comparison.score == pytest.approx(5e-5, rel=0.1)
