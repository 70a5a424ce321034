"""Batches through a graph: images of one size together, detections in Detectron2's form."""

import torch

from exported_files import CARD, batch
from sad.exported.runs import GraphDetector


def _graph(seen: list):
    """One detection an image, a box of half of it, its label the number of images at once."""

    def run(images):
        n, _, height, width = images.shape
        seen.append(n)
        box = torch.tensor([0.0, 0.0, width / 2, height / 2])
        boxes = torch.stack([torch.stack([box, torch.zeros(4)])] * n)
        scores = images.float().mean(dim=(1, 2, 3))[:, None].expand(-1, 2)
        return boxes, scores, torch.full((n, 2), n), torch.ones(n, dtype=torch.long)

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
    assert [int(x["instances"].pred_classes) for x in found] == [2, 1, 2, 1]


def test_sizes_may_be_left_out_and_a_batch_may_be_empty():
    detector = GraphDetector(CARD, _graph([]))
    (found,) = detector([{"image": torch.zeros(3, 6, 4)}])
    assert found["instances"].image_size == (6, 4)
    assert detector([]) == []
