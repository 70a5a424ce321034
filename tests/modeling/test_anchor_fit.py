"""What share of boxes has an anchor that fits, against all anchors of the model."""

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.data.detection_utils import build_augmentation
from detectron2.structures import Boxes, pairwise_iou

from anchor_problem import images_with, network
from sad.modeling import anchor_fit
from sad.modeling.anchor_fit import as_trained, best_iou, sample_boxes
from sad.modeling.build import build_detector


def random_boxes(rng, count, height, width):
    """Of all sizes, some of them in the image's corners."""
    x = np.sort(rng.uniform(-0.2, 1.2, (count, 2)).clip(0, 1) * width)
    y = np.sort(rng.uniform(-0.2, 1.2, (count, 2)).clip(0, 1) * height)
    return torch.tensor(np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1))


@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("p6_p7", [False, True])
@pytest.mark.parametrize("size", [(96, 128), (100, 61), (33, 200)])
def test_iou_of_the_best_of_all_anchors(size, p6_p7, offset):
    sizes = [[16, 20], [32, 41], [64, 80]] + ([[128, 160], [256, 300]] if p6_p7 else [])
    levels = [f"p{level}" for level in range(3, 3 + len(sizes))]
    cfg, _ = network(
        *("MODEL.ANCHOR_GENERATOR.OFFSET", offset),
        *("MODEL.FPN.LAST_LEVEL", 7 if p6_p7 else 5),
        *("MODEL.ANCHOR_GENERATOR.SIZES", sizes),
        *("MODEL.RETINANET.IN_FEATURES", levels),
    )
    cfg.MODEL.DEVICE = "cpu"
    model = build_detector(cfg).eval()
    boxes = random_boxes(np.random.default_rng(0), 300, *size)

    images = model.preprocess_image([{"image": torch.zeros(3, *size)}])
    maps = model.backbone(images.tensor)
    grid = model.anchor_generator([maps[name] for name in model.head_in_features])
    expected = pairwise_iou(Boxes.cat(grid), Boxes(boxes)).max(dim=0).values

    seen = anchor_fit.SeenBoxes(Boxes(boxes), torch.tensor([size]).expand(len(boxes), 2))
    torch.testing.assert_close(best_iou(cfg, model, seen), expected)


@pytest.mark.parametrize(
    ("sampling", "shorts"), [("choice", (192,)), ("choice", (96, 130, 192)), ("range", (96, 192))]
)
def test_boxes_are_seen_as_training_resizes_them(sampling, shorts):
    cfg, _ = network(
        *("INPUT.MIN_SIZE_TRAIN", shorts),
        *("INPUT.MIN_SIZE_TRAIN_SAMPLING", sampling),
        *("INPUT.RANDOM_FLIP", "none"),
    )
    sizes = [(480, 640), (640, 480), (301, 907), (50, 50)]
    boxes = [[10.0, 5.0, 30.0, 49.0]] * len(sizes)
    seen = as_trained(cfg, torch.tensor(boxes).double(), torch.tensor(sizes).double())
    found = torch.cat([seen.images, seen.boxes.tensor], dim=1)

    expected = []
    for short in shorts:
        cfg.INPUT.MIN_SIZE_TRAIN = (short, short)
        for size, box in zip(sizes, boxes, strict=True):
            view = T.AugInput(np.zeros((*size, 3), np.uint8), boxes=np.array([box]))
            T.AugmentationList(build_augmentation(cfg, is_train=True))(view)
            expected.append([*view.image.shape[:2], *view.boxes[0]])
    np.testing.assert_allclose(sorted(found.tolist()), sorted(expected), rtol=1e-5)


def test_crowds_and_images_of_unknown_size_do_not_count():
    images = images_with([(0, 0, 10, 20), (30, 40, 50, 60)])
    images += images_with([(1, 1, 5, 5)], iscrowd=1)
    images.append({"annotations": images[0]["annotations"]})
    boxes, sizes = sample_boxes(images)
    assert sorted(boxes.tolist()) == [[0, 0, 10, 20], [30, 40, 80, 100]]
    assert sizes.tolist() == [[960, 1280]] * 2


def test_of_many_boxes_the_same_are_drawn_and_nothing_else_is(monkeypatch):
    images = images_with([(number, 0, 10, 10) for number in range(50)])
    monkeypatch.setattr(anchor_fit, "MOST", 20)
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    boxes, sizes = sample_boxes(images)
    assert len(boxes) == len(sizes) == 20 and len(boxes.unique(dim=0)) == 20
    assert boxes[:, 0].max() > 20  # not the first ones
    assert torch.equal(sample_boxes(images)[0], boxes)
    cfg, _ = network("INPUT.MIN_SIZE_TRAIN", (96, 192))
    assert len(as_trained(cfg, boxes, sizes).boxes) == 20
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
