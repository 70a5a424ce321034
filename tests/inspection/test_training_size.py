"""Boxes at the training size, and the anchors against those of the trainer's own check."""

import numpy as np
import pytest
from detectron2.structures import BoxMode

from anchor_problem import network
from planted import noise, write_set
from sad.config.load import get_sad_cfg
from sad.inspection.labeled_set import read_set
from sad.inspection.training_size import describe_size, fit_anchors, training_sides
from sad.modeling.anchors import check_anchors
from toy import REPOSITORY


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """Boxes of 60 pixels in images of 96 x 64, and of 30 in such of 320 x 160."""
    content = {f"{i}.png": (noise(i), [("cat", i, 2, 60, 60)]) for i in range(5)}
    content |= {f"w{i}.png": (noise(i, 320, 160), [("dog", 9, 9, 30, 30)]) for i in range(5)}
    return read_set("train", write_set(tmp_path_factory.mktemp("sizes"), "train", content))


def as_dicts(labeled) -> list[dict]:
    return [
        {
            "height": image["height"],
            "width": image["width"],
            "annotations": [
                {"bbox": labeled.boxes[at].tolist(), "bbox_mode": BoxMode.XYXY_ABS}
                for at in labeled.boxes_on(number)
            ],
        }
        for number, image in enumerate(labeled.images)
    ]


def test_sides_in_training(labeled):
    cfg, _ = network()  # the shorter side to 192 pixels, the longer to 256 at most
    expected = [60 * 256 / 96] * 5 + [30 * 256 / 320] * 5
    np.testing.assert_allclose(training_sides(cfg, labeled), expected, rtol=0.01)
    cfg, _ = network("INPUT.MIN_SIZE_TRAIN", [64, 128, 96])
    expected = [60 * 96 / 64] * 5 + [30 * 96 / 160] * 5
    np.testing.assert_allclose(training_sides(cfg, labeled), expected, rtol=0.01)


def test_size_in_words():
    cfg, _ = network()
    assert describe_size(cfg) == "192 pixels at the shorter side and at most 256 at the longer"
    cfg, _ = network("INPUT.MIN_SIZE_TRAIN", [320], "INPUT.MAX_SIZE_TRAIN", 320)
    assert describe_size(cfg) == "320 pixels at the longer side"


@pytest.mark.parametrize("fits", [True, False])
def test_recall_is_that_of_the_trainer(labeled, fits):
    sizes = [[16, 24], [32, 48], [96, 160] if fits else [52, 56]]
    cfg, model = network("MODEL.ANCHOR_GENERATOR.SIZES", sizes)
    found = fit_anchors(cfg, labeled)
    assert found["recall"] == pytest.approx(check_anchors(cfg, model, as_dicts(labeled)))
    assert found["recall"] == (1 if fits else 0.5)
    assert found["sizes"] == sizes and found["strides"] == [8, 16, 32]
    assert found["aspect_ratios"] == [[0.5, 1.0, 2.0]] * 3
    if fits:
        assert found["better"] is None
        return
    better, model = network(*found["better"]["options"].replace("'", "").split(" ", 1))
    recall = check_anchors(better, model, as_dicts(labeled))
    assert recall == pytest.approx(found["better"]["recall"]) and recall > 0.9


def test_no_boxes_or_no_anchors(labeled, tmp_path):
    empty = read_set("train", write_set(tmp_path, "train", {"a.png": (noise(0), [])}))
    cfg, _ = network()
    assert fit_anchors(cfg, empty) is None and training_sides(cfg, empty).shape == (0,)
    fcos = get_sad_cfg(str(REPOSITORY / "configs" / "digits" / "fcos_student.yaml"), [])
    assert fit_anchors(fcos, labeled) is None
    assert fcos.MODEL.DEVICE != "meta"  # as it was


def test_the_anchors_of_an_rpn_are_looked_at(labeled):
    cfg = get_sad_cfg(str(REPOSITORY / "configs" / "digits" / "FasterRCNN" / "student.yaml"), [])
    found = fit_anchors(cfg, labeled)
    assert found["strides"] == [4, 8, 16, 32] and found["sizes"] == [[16], [24], [36], [54]]


def test_the_student_of_a_distiller_is_looked_at(labeled):
    cfg = get_sad_cfg(str(REPOSITORY / "configs" / "bccd" / "SAD.yaml"), [])
    assert fit_anchors(cfg, labeled)["strides"] == [8, 16, 32]
