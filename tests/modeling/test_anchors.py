"""The best possible recall of the anchors, and whether the advice where it is small is right."""

import re
import shlex

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.data.detection_utils import build_augmentation
from detectron2.structures import Boxes, BoxMode, pairwise_iou

from sad.config.load import get_sad_cfg
from sad.engine.trainer import SADTrainer
from sad.modeling import anchor_advice, anchor_fit, anchors
from sad.modeling.anchor_advice import find_better
from sad.modeling.anchor_fit import as_trained, best_iou, sample_boxes
from sad.modeling.anchors import check_anchors
from sad.modeling.build import build_detector
from toy import REPOSITORY

BCCD = str(REPOSITORY / "configs" / "bccd" / "teacher.yaml")


def network(*opts):
    """(config, its model without memory) of BCCD's teacher: 192 x 256 pixels, strides 8 to 32."""
    cfg = get_sad_cfg(BCCD, ["MODEL.DEVICE", "meta", *opts])
    return cfg, build_detector(cfg)


def images_with(boxes, width=1280, height=960, **annotation):
    """An image for each x, y, width, height."""
    mode = BoxMode.XYWH_ABS
    return [
        {
            "width": width,
            "height": height,
            "annotations": [{"bbox": list(box), "bbox_mode": mode, "iscrowd": 0, **annotation}],
        }
        for box in boxes
    ]


def objects(sides, width=1280, height=960):
    """An image with an object for each (w, h), anywhere in it."""
    rng = np.random.default_rng(0)
    return images_with(
        [(rng.uniform(0, width - w), rng.uniform(0, height - h), w, h) for w, h in sides],
        *(width, height),
    )


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
        *("MODEL.SMALL_RESNET.P6_P7", p6_p7),
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


def test_no_boxes_no_line(log):
    assert check_anchors(*network(), images_with([(0, 0, 9, 9)], iscrowd=1)) is None
    assert log == []


def lines(caplog) -> list:
    return [record for record in caplog.records if record.name == "sad.modeling.anchors"]


def test_anchors_that_fit_are_no_warning(caplog):
    caplog.set_level("INFO", "sad.modeling.anchors")
    images = objects([(side, side) for side in np.geomspace(110, 400, 200)])
    assert check_anchors(*network(), images) > 0.95
    assert [record.levelname for record in lines(caplog)] == ["INFO"]


SQUARES = [(side, side) for side in np.geomspace(16, 900, 300)]
HARD = {
    "of 3 pixels": [(16, 16)] * 200,
    "larger than every anchor": [(side, side) for side in np.geomspace(700, 950, 200)],
    "of all sizes": SQUARES,
    "long ones": [(side, side / 6) for side in np.geomspace(500, 1200, 200)],
}


@pytest.mark.parametrize("name", HARD)
def test_what_is_advised_fits(name, caplog):
    cfg, model = network()
    images = objects(HARD[name])
    recall = check_anchors(cfg, model, images)
    assert recall < 0.7
    (record,) = lines(caplog)
    assert record.levelname == "WARNING" and f"{recall:.1%}" in record.message
    pairs = re.findall(r"((?:MODEL|INPUT)\.[\w.]+) ('[^']*'|\w+)[ ;]", record.message)
    options = [x for key, value in pairs for x in (key, shlex.split(value)[0])]

    caplog.clear()
    advised, its_model = network(*options)
    recall = check_anchors(advised, its_model, images)
    assert recall >= 0.9
    assert f"{recall:.1%} would" in record.message
    sizes = advised.MODEL.ANCHOR_GENERATOR.SIZES
    assert [len(level) for level in sizes] == [3, 3, 3]
    assert advised.INPUT.MIN_SIZE_TRAIN[0] == advised.INPUT.MIN_SIZE_TEST
    larger, long = advised.INPUT.MAX_SIZE_TRAIN > 256, "ASPECT_RATIOS" in record.message
    assert (larger, long) == {
        "of 3 pixels": (True, False),
        "larger than every anchor": (False, False),
        "of all sizes": (True, False),
        "long ones": (False, True),
    }[name]


def test_where_nothing_is_enough_the_best_is_named(monkeypatch, caplog):
    cfg, model = network()
    images = objects([(16, 16)] * 100)
    monkeypatch.setattr(anchor_advice, "GROWTH", [1, 2])
    better, recall = find_better(cfg, model, *sample_boxes(images))
    assert 0 < recall < 0.9 and better.INPUT.MAX_SIZE_TRAIN == 512
    monkeypatch.setattr(anchor_advice, "GROWTH", [1])
    for module in (anchors, anchor_advice):  # no box will do
        monkeypatch.setattr(module, "IOU", 1.01)
    assert check_anchors(cfg, model, images) == 0
    assert "SIZES" not in caplog.text


def test_crops_are_not_reckoned_with_and_a_scaled_teacher_is_named(caplog):
    images = objects(HARD["larger than every anchor"])
    check_anchors(*network(), images)
    assert "crops" not in caplog.text
    caplog.clear()
    opts = ("INPUT.CROP.ENABLED", True, "SAD.TEACHER.INPUT_SCALE", 2.0)
    check_anchors(*network(*opts), images)
    assert "without crops" in caplog.text and "2 times" in caplog.text


@pytest.mark.parametrize(("sizes", "level"), [([[16, 24]], "info"), ([[100, 200]], "warning")])
def test_a_run_says_it_at_its_start(toy, tmp_path, sizes, level, log):
    anchor_sizes = ("MODEL.ANCHOR_GENERATOR.SIZES", sizes)
    SADTrainer(toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path), *anchor_sizes))
    (line,) = [line for line in log if line.startswith("Anchors: ")]
    assert "(12 at" in line and ("would have" in line) == (level == "warning")
