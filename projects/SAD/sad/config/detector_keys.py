"""Which keys of MODEL hold what every detector has: they differ between the kinds of detectors."""

from typing import NamedTuple

from .defaults import detector_name


class DetectorKeys(NamedTuple):
    """Dotted names of keys."""

    num_classes: str
    score_threshold: str  # a detection of a lower score is not reported
    nms_threshold: str  # nor is one that overlaps with a better one of its class by more
    anchor_levels: str  # the feature maps that have anchors
    sections: tuple[str, ...]  # that detectors of the other kind do not read


DENSE = DetectorKeys(
    "MODEL.RETINANET.NUM_CLASSES",
    "MODEL.RETINANET.SCORE_THRESH_TEST",
    "MODEL.RETINANET.NMS_THRESH_TEST",
    "MODEL.RETINANET.IN_FEATURES",
    ("MODEL.RETINANET.", "MODEL.FCOS."),
)
TWO_STAGES = DetectorKeys(
    "MODEL.ROI_HEADS.NUM_CLASSES",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
    "MODEL.ROI_HEADS.NMS_THRESH_TEST",
    "MODEL.RPN.IN_FEATURES",
    ("MODEL.RPN.", "MODEL.PROPOSAL_GENERATOR.", "MODEL.ROI_HEADS.", "MODEL.ROI_BOX_HEAD."),
)


def keys_of(cfg) -> DetectorKeys:
    """Those of the detector that a config describes, be it a distiller's student or alone."""
    return TWO_STAGES if detector_name(cfg) == "GeneralizedRCNN" else DENSE


def others_of(cfg) -> DetectorKeys:
    """Those of the other kind of detector, which this one does not read."""
    return DENSE if keys_of(cfg) == TWO_STAGES else TWO_STAGES


def value_of(cfg, key: str):
    """Of a dotted key."""
    for part in key.split("."):
        cfg = cfg[part]
    return cfg
