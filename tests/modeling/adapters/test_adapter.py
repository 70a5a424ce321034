"""What every adapter says of its detector."""

import pytest
import torch
from detectron2.modeling import build_model

from sad.config.load import get_sad_cfg
from sad.modeling.adapters import ADAPTERS, adapter_of, adapter_of_config
from sad.modeling.build import build_detector
from sad.utils.errors import UserError

DETECTORS = {
    "RetinaNet": ("student.yaml",),
    "FCOS": ("student.yaml", "MODEL.META_ARCHITECTURE", "FCOS"),
    "GeneralizedRCNN": ("rcnn_student.yaml",),
}


def test_every_kind_is_here():
    assert DETECTORS.keys() == ADAPTERS.keys()


@pytest.mark.parametrize("kind", DETECTORS)
def test_classes_and_anchors(toy, kind):
    cfg = toy.cfg(*DETECTORS[kind])
    model = build_model(cfg)
    adapter = adapter_of(model)
    assert adapter is ADAPTERS[kind] is adapter_of_config(cfg, "a yaml")
    assert adapter.num_classes(model) == 2
    own = [x.tolist() for x in adapter.anchor_generator(model).cell_anchors]
    meta = build_detector(toy.cfg(*DETECTORS[kind], "MODEL.DEVICE", "meta", checked=False))
    renewed = adapter.anchor_generator(meta)
    assert [x.tolist() for x in renewed.cell_anchors] == own
    assert list(renewed.strides) == list(adapter.anchor_generator(model).strides)


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_batch_is_detected_as_by_the_model(toy, kind):
    """Random weights, all classes of all places above the threshold."""
    torch.manual_seed(0)
    model = build_model(toy.cfg(*DETECTORS[kind])).eval()
    batch = [
        {"image": torch.randint(256, (3, *size), dtype=torch.uint8), "height": 90, "width": 70}
        for size in ((64, 64), (48, 64))
    ]
    with torch.no_grad():
        expected = [output["instances"] for output in model(batch)]
    found = ADAPTERS[kind].detect(model, batch)
    assert sum(map(len, expected)) > 20
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.image_size == theirs.image_size == (90, 70)
        torch.testing.assert_close(ours.scores, theirs.scores)
        assert len(ours) == len(theirs)


def test_a_detector_of_another_kind_is_named():
    cfg = get_sad_cfg("", ["MODEL.META_ARCHITECTURE", "PanopticFPN"])
    with pytest.raises(UserError, match=r"a\.yaml describes a PanopticFPN, .* of RetinaNet, FCOS"):
        adapter_of_config(cfg, "a.yaml")


def test_a_part_that_is_unknown_is_named(toy):
    cfg = toy.cfg("rcnn_student.yaml", "MODEL.ROI_HEADS.NAME", "CascadeROIHeads", checked=False)
    with pytest.raises(UserError, match=r"^a\.yaml: MODEL\.ROI_HEADS\.NAME is 'CascadeROIHeads'"):
        adapter_of_config(cfg, "a.yaml")
