"""Values and parts of a Faster R-CNN that are refused, and the stock ones that are not."""

import re

import pytest
from detectron2 import model_zoo

from sad.config.load import get_sad_cfg
from sad.modeling.adapters.rcnn_rules import RULES
from sad.modeling.build import build_detector
from sad.preflight.values import check_config
from sad.utils.errors import UserError

ZOO = "COCO-Detection/faster_rcnn_"


@pytest.mark.parametrize(
    "name", ["R_50_FPN_1x", "R_101_FPN_3x", "X_101_32x8d_FPN_3x", "R_50_DC5_1x"]
)
def test_stock_ones_pass(name):
    check_config(get_sad_cfg(model_zoo.get_config_file(f"{ZOO}{name}.yaml")))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{ZOO}R_50_C4_1x", "MODEL.ROI_HEADS.NAME is 'Res5ROIHeads'"),
        ("Misc/cascade_mask_rcnn_R_50_FPN_1x", "MODEL.MASK_ON is True"),
        ("COCO-Detection/fast_rcnn_R_50_FPN_1x", "MODEL.PROPOSAL_GENERATOR.NAME is 'Precomputed"),
        ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x", "MODEL.KEYPOINT_ON is True"),
    ],
)
def test_other_models_of_the_zoo_are_refused(name, said):
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        check_config(get_sad_cfg(model_zoo.get_config_file(f"{name}.yaml")))


WRONG = {
    "MODEL.LOAD_PROPOSALS": True,
    "MODEL.RPN.BBOX_REG_WEIGHTS": (1.0, 1.0, 1.0),
    "MODEL.RPN.IN_FEATURES": [],
    "MODEL.ROI_HEADS.IN_FEATURES": [],
    "MODEL.RPN.IOU_THRESHOLDS": [0.7, 0.3],
    "MODEL.RPN.IOU_LABELS": [0, -1, 2],
    "MODEL.ROI_HEADS.IOU_THRESHOLDS": [0.4, 0.5],
    "MODEL.ROI_HEADS.IOU_LABELS": [1, 0],
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": (10.0, 10.0, 0.0, 5.0),
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": True,
    "MODEL.ROI_BOX_HEAD.USE_FED_LOSS": True,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignRotated",
    "MODEL.MASK_ON": True,
    "MODEL.KEYPOINT_ON": True,
    "SOLVER.LOSS_NORMALIZERS": "global",
}


@pytest.mark.parametrize("key", RULES)
def test_each_rule_holds_for_the_toy_and_refuses_something(toy, key):
    check_config(toy.cfg("rcnn_student.yaml"))
    value = WRONG.get(key)
    if value is None:
        value = {str: "rotated", int: -1, float: -1.0}[type(_value(toy, key))]
    with pytest.raises(UserError, match=f"^{re.escape(key)} is "):
        check_config(get_sad_cfg(toy.path("rcnn_student.yaml"), [key, value]))


def _value(toy, key):
    node = toy.cfg("rcnn_student.yaml")
    for part in key.split("."):
        node = node[part]
    return node


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            ("MODEL.RPN.IOU_THRESHOLDS", [0.5]),
            ("MODEL.RPN.IOU_LABELS", [0, 1]),
            r"IOU_LABELS is \[0, -1, 1\], .*IOU_THRESHOLDS \[0\.5\]",
        ),
        (
            ("MODEL.ROI_BOX_HEAD.NUM_FC", 0),
            ("MODEL.ROI_BOX_HEAD.NUM_CONV", 1),
            "NUM_FC and NUM_CONV are 0",
        ),
    ],
)
def test_what_goes_together(toy, one, other, said):
    yaml = toy.path("rcnn_student.yaml")
    with pytest.raises(UserError, match=said):
        check_config(get_sad_cfg(yaml, one))
    build_detector(get_sad_cfg(yaml, (*one, *other)))


def test_they_say_nothing_of_a_dense_detector(toy, tmp_path):
    path = tmp_path / "inherits.yaml"
    path.write_text(
        f"_BASE_: {toy.path('student.yaml')}\nMODEL: {{ROI_HEADS: {{NAME: RROIHeads}}}}"
    )
    check_config(get_sad_cfg(str(path)))


def test_rotated_boxes(toy):
    for opts in (
        ("MODEL.PROPOSAL_GENERATOR.NAME", "RRPN"),
        ("MODEL.ROI_HEADS.NAME", "RROIHeads"),
    ):
        with pytest.raises(UserError, match=f"^{opts[0]} is '{opts[1]}'.* rotated"):
            check_config(get_sad_cfg(toy.path("rcnn_student.yaml"), opts))


def test_why_losses_are_not_divided_globally(toy):
    opts = ("SOLVER.LOSS_NORMALIZERS", "global")
    with pytest.raises(UserError, match=r"'global', it must be local: .*samples"):
        check_config(get_sad_cfg(toy.path("rcnn_student.yaml"), opts))
