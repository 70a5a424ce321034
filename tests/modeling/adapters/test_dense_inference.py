"""Detections of a batch are those of Detectron2, which finds them image by image."""

import numpy as np
import pytest
import torch

from sad.modeling.adapters import adapter_of
from sad.modeling.build import load_detector
from sad.modeling.teacher import teacher_outputs


@pytest.fixture
def teacher(toy, batch):
    """The toy teacher, its class logits scaled until the scores are all over the range."""
    model, _ = load_detector(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")
    images = [item["image"] for item in batch]
    logits = teacher_outputs(model, images, model.input_format, {"logits"}).logits
    model.head.cls_score.weight *= 1.5 / torch.cat(logits, dim=1).std()
    return model


def assert_same(found, expected, tolerance=1e-5):
    for one, other in zip(found, expected, strict=True):
        assert one.image_size == other.image_size
        assert torch.equal(one.pred_classes, other.pred_classes)
        torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=tolerance)
        torch.testing.assert_close(
            one.pred_boxes.tensor, other.pred_boxes.tensor, rtol=0, atol=100 * tolerance
        )


def detect(model, batch, precision="float32"):
    return adapter_of(model).detect(model, batch, precision)


def detectron2s(model, batch):
    with torch.no_grad():
        return [output["instances"] for output in model(batch)]


@pytest.mark.parametrize(
    ("threshold", "candidates", "boxes"),
    [(0.05, 1000, 100), (0.0, 1000, 100), (0.3, 7, 100), (0.3, 1000, 3), (0.9, 1000, 100)],
)
def test_as_detectron2(teacher, batch, threshold, candidates, boxes):
    teacher.test_score_thresh = threshold
    teacher.test_topk_candidates = candidates
    teacher.max_detections_per_image = boxes
    expected = detectron2s(teacher, batch)
    assert max(map(len, expected)) > 1
    assert_same(detect(teacher, batch), expected)


def test_images_without_detections(teacher, batch):
    teacher.test_score_thresh = 1.0
    assert [len(found) for found in detect(teacher, batch)] == [0, 0, 0]
    teacher.test_score_thresh = 0.05
    best = [found.scores.max().item() for found in detectron2s(teacher, batch)]
    lowest, second, _ = sorted(best)
    teacher.test_score_thresh = (lowest + second) / 2
    found = detect(teacher, batch)
    assert [len(one) > 0 for one in found] == [score > lowest for score in best]
    assert_same(found, detectron2s(teacher, batch))


def test_scores_are_float32_whatever_the_network_computes_in(teacher, batch):
    exact, rough = detect(teacher, batch), detect(teacher, batch, "bfloat16")
    for one, other in zip(exact, rough, strict=True):
        assert other.scores.dtype == other.pred_boxes.tensor.dtype == torch.float32
        assert not torch.equal(one.scores[:5], other.scores[:5])
        np.testing.assert_allclose(one.scores[:5], other.scores[:5], atol=0.03)
