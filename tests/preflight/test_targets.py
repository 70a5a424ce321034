"""Terms that a detector does not know, and images that a term or a detector cannot learn from."""

import pytest

from sad.config.load import get_sad_cfg
from sad.preflight.targets import check_targets
from sad.preflight.values import check_config
from sad.utils.errors import UserError

DISTILLER = ("MODEL.META_ARCHITECTURE", "Distiller")
RCNN = (
    *DISTILLER,
    *("SAD.STUDENT.META_ARCHITECTURE", "GeneralizedRCNN"),
    *("MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead"),
    *("MODEL.ROI_BOX_HEAD.NUM_FC", 2),
)
TERMS, LABELED = "SAD.DISTILL.TERMS", "SAD.TARGETS.LABELED"
UNLABELED = ("DATASETS.UNLABELED", ("coco_2017_unlabeled",), "SAD.TARGETS.UNLABELED")


def check(*opts):
    check_config(get_sad_cfg("", opts))


@pytest.mark.parametrize(
    ("opts", "named"),
    [
        ((*RCNN, TERMS, ("class",)), "class, which learns from what a GeneralizedRCNN does not"),
        ((*RCNN, TERMS, ("feature", "box")), "TERMS has box"),
        ((*DISTILLER, TERMS, ("class", "roi_box")), "its terms are class, box, feature"),
        ((*RCNN, TERMS, ("feature",), LABELED, ("soft",)), "GeneralizedRCNN is taught in the reg"),
        ((*RCNN, TERMS, ("roi_box",), *UNLABELED, ("soft",)), "SAD.TARGETS.UNLABELED is"),
        (
            (*DISTILLER, TERMS, ("feature",), LABELED, ("soft",),
             "SAD.DISTILL.FEATURE.MASK", "gaussian"),
            "MASK gaussian is made of hard targets",
        ),
        ((*DISTILLER, "SAD.DISTILL.PROPOSALS", "union"), "SAD.DISTILL.PROPOSALS is union"),
        ((*RCNN, TERMS, ("feature",), "SAD.DISTILL.PROPOSALS", "both"), "one of student, teacher"),
    ],
)  # fmt: skip
def test_refused(opts, named):
    with pytest.raises(UserError) as error:
        check(*opts)
    assert named in str(error.value)


@pytest.mark.parametrize(
    "opts",
    [
        (*RCNN, TERMS, ("feature", "roi_class", "roi_box"), "SAD.DISTILL.PROPOSALS", "union"),
        (*RCNN, TERMS, ("feature",), *UNLABELED, ("hard",)),  # beside images with both
        (*RCNN, TERMS, ()),
        (*DISTILLER, TERMS, ("feature",), "SAD.DISTILL.FEATURE.MASK", "box"),
        (*DISTILLER, TERMS, ("feature",), LABELED, ("soft",)),
    ],
)
def test_allowed(opts):
    check(*opts)


def test_nothing_to_learn_from():
    with pytest.raises(UserError, match=r"SAD\.TARGETS\.LABELED is \(\)"):
        check_targets(get_sad_cfg("", [*DISTILLER, LABELED, []]))
