"""The two kinds of detectors: levels, proposals, and which yaml is of which."""

import pytest

from sad.config.load import get_sad_cfg
from sad.pipeline.detectors import (
    DETECTORS,
    FASTER_RCNN,
    METHODS,
    PROPOSALS,
    RETINANET,
    SAMPLED,
    find_detector,
    kind_of,
)
from sad.utils.errors import UserError
from square_facts import facts
from toy import REPOSITORY


def values(settings) -> dict:
    return {setting.key: setting.value for setting in settings}


def test_levels_of_a_retinanet():
    found = [RETINANET.levels(size, False) for size in (128, 192, 224, 512, 544)]
    assert found == [(3, 5), (3, 5), (3, 6), (3, 6), (3, 7)]
    assert RETINANET.levels(128, True) == (3, 7)  # Detectron2's builder makes all
    settings = values(RETINANET.level_settings(3, 6))
    assert settings["MODEL.FPN.IN_FEATURES"] == ["res3", "res4", "res5"]
    assert settings["MODEL.RETINANET.IN_FEATURES"] == ["p3", "p4", "p5", "p6"]


def test_levels_of_a_faster_rcnn_are_those_of_the_fpn_paper():
    """P6 is for anchors alone, and small images need none."""
    assert [FASTER_RCNN.levels(size, False) for size in (128, 320)] == [(2, 5), (2, 6)]
    settings = values(FASTER_RCNN.level_settings(2, 6))
    base = get_sad_cfg(str(REPOSITORY / "configs" / "Base-FasterRCNN.yaml")).MODEL
    assert settings["MODEL.RPN.IN_FEATURES"] == list(base.RPN.IN_FEATURES)
    assert settings["MODEL.ROI_HEADS.IN_FEATURES"] == list(base.ROI_HEADS.IN_FEATURES)
    assert settings["MODEL.FPN.IN_FEATURES"] == list(base.FPN.IN_FEATURES)
    assert settings["MODEL.RESNETS.OUT_FEATURES"] == list(base.RESNETS.OUT_FEATURES)


@pytest.mark.parametrize(
    ("most", "proposals", "sampled"),
    [(0, 128, 64), (1, 128, 64), (5, 128, 64), (23, 512, 256), (50, 1024, 512), (900, 1024, 512)],
)
def test_proposals_are_as_many_as_crowded_images_need(most, proposals, sampled):
    found = values(FASTER_RCNN.head(facts(most_boxes=most)))
    for use in ("TRAIN", "TEST"):
        assert found[f"MODEL.RPN.POST_NMS_TOPK_{use}"] == proposals
        assert found[f"MODEL.RPN.PRE_NMS_TOPK_{use}"] == 2 * proposals
    assert found["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE"] == sampled
    assert found["MODEL.RPN.BATCH_SIZE_PER_IMAGE"] <= 256  # the field's
    assert PROPOSALS[0] <= proposals <= PROPOSALS[1] and SAMPLED[0] <= sampled <= SAMPLED[1]


def test_a_teacher_s_levels_are_followed():
    cfg = {"MODEL.RPN.IN_FEATURES": ["p3", "p4", "p5"], "MODEL.ROI_HEADS.IN_FEATURES": ["p3"]}
    found = values(FASTER_RCNN.levels_as(cfg))
    assert found["MODEL.FPN.IN_FEATURES"] == ["res3", "res4", "res5"]
    assert found["MODEL.FPN.LAST_LEVEL"] == 5
    assert found["MODEL.ROI_HEADS.IN_FEATURES"] == ["p3"]


@pytest.mark.parametrize("names", [["res4"], ["p3", "res5"]])
def test_a_teacher_without_an_fpn_is_refused(names):
    cfg = {"MODEL.RPN.IN_FEATURES": names, "MODEL.ROI_HEADS.IN_FEATURES": names}
    with pytest.raises(UserError, match=names[-1]):
        FASTER_RCNN.levels_as(cfg)


def test_kinds():
    assert kind_of("RetinaNet") is kind_of("FCOS") is find_detector("RetinaNet")
    assert kind_of("GeneralizedRCNN") is find_detector("FasterRCNN")
    assert METHODS == ("SAD", "TAR") and len(DETECTORS) == 2
    with pytest.raises(UserError, match="did you mean FasterRCNN"):
        find_detector("FasterRcnn")
