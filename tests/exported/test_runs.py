"""Batches through a graph: images of one size together, detections in Detectron2's form."""

import pytest
import torch

from exported_files import CARD, batch
from sad.exported.runs import GraphDetector
from sad.utils.errors import UserError


def _graph(seen: list):
    """One detection an image, a box of half of it, its label 1 where it is not alone."""

    def run(images):
        n, _, height, width = images.shape
        seen.append(n)
        box = torch.tensor([0.0, 0.0, width / 2, height / 2])
        boxes = torch.stack([torch.stack([box, torch.zeros(4)])] * n)
        scores = images.float().mean(dim=(1, 2, 3))[:, None].expand(-1, 2)
        return boxes, scores, torch.full((n, 2), min(n - 1, 1)), torch.ones(n, dtype=torch.long)

    return run


def test_images_of_one_size_go_together_and_come_back_in_their_order():
    seen = []
    images = batch((8, 16), (4, 4), (8, 16), (8, 4))
    found = GraphDetector(CARD, _graph(seen))(images)
    assert sorted(seen) == [1, 1, 2]
    for item, one in zip(images, found, strict=True):
        one, (height, width) = one["instances"], item["image"].shape[1:]
        assert one.image_size == (2 * height, 2 * width)
        assert one.pred_boxes.tensor.tolist() == [[0, 0, width, height]]
        assert one.scores.tolist() == [item["image"].float().mean().item()]
    assert [int(x["instances"].pred_classes) for x in found] == [1, 0, 1, 0]


def test_sizes_may_be_left_out_and_a_batch_may_be_empty():
    detector = GraphDetector(CARD, _graph([]))
    (found,) = detector([{"image": torch.zeros(3, 6, 4)}])
    assert found["instances"].image_size == (6, 4)
    assert detector([]) == []


GOOD = {
    "boxes": torch.tensor([[[0.0, 0.0, 4.0, 4.0]] * 3]),
    "scores": torch.ones(1, 3),
    "labels": torch.tensor([[0, 1, -1]]),
    "num": torch.tensor([2]),
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": torch.tensor([[0, 2, -1]])}, "label 2, and its card has 2 class names"),
        ({"labels": torch.tensor([[-1, 0, 0]])}, "label -1"),
        ({"num": torch.tensor([4])}, r"\[4\] detections, with room for 3"),
        ({"num": torch.tensor([-1])}, r"\[-1\] detections"),
        ({"boxes": torch.ones(1, 3, 5)}, "shapes"),
        ({"scores": torch.ones(1, 2)}, "shapes"),
        ({"num": torch.tensor(2)}, "shapes"),
    ],
)
def test_outputs_that_the_card_does_not_know_are_refused(changes, said):
    images = batch((8, 6))
    (found,) = GraphDetector(CARD, lambda _: tuple(GOOD.values()))(images)
    assert len(found["instances"]) == 2
    outputs = tuple({**GOOD, **changes}.values())
    with pytest.raises(UserError, match=said):
        GraphDetector(CARD, lambda _: outputs)(images)
