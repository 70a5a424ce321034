"""A RetinaNet's own losses and scores."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from sad.data.loader import build_mixed_loader
from sad.modeling.adapters.retinanet import RetinaNetAdapter

ADAPTER = RetinaNetAdapter()


@pytest.mark.parametrize("kind", ["smooth_l1", "giou"])
@pytest.mark.parametrize("normalizer", [1.0, 20.0])
def test_losses_are_detectron2s(toy, normalizer, kind):
    torch.manual_seed(0)
    opts = ("MODEL.RETINANET.BBOX_REG_LOSS_TYPE", kind, "MODEL.RETINANET.SMOOTH_L1_LOSS_BETA", 0.1)
    model = build_model(toy.cfg("student.yaml", *opts)).train()
    batch = next(iter(build_mixed_loader(toy.cfg("SAD.yaml", "SOLVER.IMS_PER_BATCH", 4))))
    with EventStorage():
        expected = model(batch)
        images = model.preprocess_image(batch)
        targets = ADAPTER.targets(model, images.tensor.shape[-2:], batch)
        outputs = ADAPTER.outputs(model, images.tensor)
        found = ADAPTER.detection_losses(model, outputs, targets, 1, normalizer)
    assert found.keys() == expected.keys()
    for name, loss in expected.items():
        sum_of_all = loss.item() * model.loss_normalizer
        assert found[name].item() == pytest.approx(sum_of_all / normalizer, rel=1e-5)


@pytest.mark.parametrize("threshold", [0.001, 0.05, 0.5])
def test_the_least_logit_has_the_threshold_as_its_score(threshold):
    least = torch.tensor([ADAPTER.least_logit(threshold)])
    assert ADAPTER.scores(least, None).item() == pytest.approx(threshold, rel=1e-5)
