"""The keys of what every detector has are those that the detector is built by."""

import pytest
from detectron2.modeling import build_model

from sad.config.detector_keys import keys_of, value_of
from sad.modeling.adapters import adapter_of


@pytest.mark.parametrize("name", ["student.yaml", "SAD.yaml", "rcnn_student.yaml"])
def test_they_are_what_the_detector_reads(toy, name):
    keys = keys_of(toy.cfg(name))
    levels = value_of(toy.cfg(name), keys.anchor_levels)[1:]
    opts = (keys.num_classes, 3, keys.score_threshold, 0.25, keys.anchor_levels, levels)
    cfg = toy.cfg(name, *opts, "MODEL.ANCHOR_GENERATOR.SIZES", [[8]])
    model = build_model(cfg)
    detector = getattr(model, "student", model)
    adapter = adapter_of(detector)
    assert adapter.num_classes(detector) == value_of(cfg, keys.num_classes) == 3
    assert len(adapter.anchor_generator(detector).strides) == len(levels) > 1
    judge = detector if hasattr(detector, "test_score_thresh") else detector.roi_heads.box_predictor
    assert judge.test_score_thresh == value_of(cfg, keys.score_threshold) == 0.25
