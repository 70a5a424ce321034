"""What the teacher finds in a list of images, as it finds it in one."""

import numpy as np
import pytest
import torch

from sad.calibration.teacher_boxes import find_boxes
from sad.modeling.build import load_detector
from sad.predict.predictor import Predictor
from sad.pseudo_labels.detections import scores
from sad.utils.errors import UserError


@pytest.fixture(scope="module")
def teacher(toy):
    return load_detector(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")


def images(toy, names=()):
    entries = toy.json("labeled.json")["images"]
    return [
        {
            "file_name": toy.path(f"labeled/{x['file_name']}"),
            "height": x["height"],
            "width": x["width"],
        }
        for x in entries
    ] + [{"file_name": str(name), "height": 48, "width": 64} for name in names]


def test_boxes_are_those_of_a_single_image(toy, teacher):
    found = find_boxes(*teacher, images(toy), 4, "images")
    predict = Predictor(toy.path("teacher.yaml"), toy.path("teacher.pth"))
    for position, image in enumerate(found.images):
        own = predict(image["file_name"])
        some = found.detections[found.detections["image"] == position]
        order = np.argsort(-some["score"], kind="stable")
        assert np.allclose(scores(some)[order], own.scores.numpy(), atol=1e-5)
        assert len(some) == len(own)
    assert found.features.shape[0] == 6 and np.isfinite(found.features).all()


def test_an_unreadable_image_is_survived(toy, teacher, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"none")
    found = find_boxes(*teacher, images(toy, [tmp_path / "broken.png"]), 4, "images")
    assert len(found.images) == 6 and list(found.unreadable) == [str(tmp_path / "broken.png")]
    with pytest.raises(UserError, match="none of the 1 images can be read"):
        find_boxes(*teacher, images(toy, [tmp_path / "broken.png"])[-1:], 4, "images")


def test_a_teacher_that_finds_nothing(toy, teacher):
    model, cfg = load_detector(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")
    torch.nn.init.constant_(model.head.cls_score.bias, -50.0)
    with pytest.raises(UserError, match="finds nothing"):
        find_boxes(model, cfg, images(toy), 4, "images")
