"""What the keys of a Faster R-CNN may say: values, and the kinds of parts that are known here."""

from detectron2.modeling.roi_heads.box_head import ROI_BOX_HEAD_REGISTRY

from ...utils.errors import UserError
from ...utils.rules import Rule, at_least, count, each, one_of, text, within
from .adapter import BOX_REG_LOSSES, BOX_WEIGHTS, BOXES_ALONE

# What the registry holds when this is read: an own head is registered before.
BOX_HEADS = Rule(
    lambda x: x in ROI_BOX_HEAD_REGISTRY,
    "a registered box head, such as FastRCNNConvFCHead",
    ("FastRCNNConvFCHead",),
)

RULES = {
    "MODEL.MASK_ON": BOXES_ALONE,
    "MODEL.KEYPOINT_ON": BOXES_ALONE,
    "MODEL.PROPOSAL_GENERATOR.NAME": Rule(
        lambda x: x == "RPN",
        "RPN: a Faster R-CNN makes its own proposals, of boxes that are not rotated",
    ),
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": at_least(0),
    "MODEL.LOAD_PROPOSALS": Rule(lambda x: not x, "False: a Faster R-CNN makes its own proposals"),
    "MODEL.RPN.IN_FEATURES": each(text),
    "MODEL.RPN.IOU_THRESHOLDS": Rule(
        lambda x: 0 < len(x) < 3 and all(0 < y <= 1 for y in x) and list(x) == sorted(x),
        "one or two rising values, above 0 and at most 1",
    ),
    "MODEL.RPN.IOU_LABELS": each(Rule(lambda x: x in (-1, 0, 1), "-1, 0 or 1")),
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": at_least(1),
    "MODEL.RPN.POSITIVE_FRACTION": within(0, 1),
    "MODEL.RPN.BBOX_REG_LOSS_TYPE": BOX_REG_LOSSES,
    "MODEL.RPN.BBOX_REG_LOSS_WEIGHT": at_least(0),
    "MODEL.RPN.BBOX_REG_WEIGHTS": BOX_WEIGHTS,
    "MODEL.RPN.SMOOTH_L1_BETA": at_least(0),
    "MODEL.RPN.LOSS_WEIGHT": at_least(0),
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": at_least(1),
    "MODEL.RPN.PRE_NMS_TOPK_TEST": at_least(1),
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": at_least(1),
    "MODEL.RPN.POST_NMS_TOPK_TEST": at_least(1),
    "MODEL.RPN.NMS_THRESH": within(0, 1),
    "MODEL.ROI_HEADS.NAME": Rule(
        lambda x: x == "StandardROIHeads",
        "StandardROIHeads with MODEL.META_ARCHITECTURE GeneralizedRCNN: cascades, heads on res5 "
        "(C4) and rotated boxes are not known here",
    ),
    "MODEL.ROI_HEADS.NUM_CLASSES": at_least(1),
    "MODEL.ROI_HEADS.IN_FEATURES": each(text),
    "MODEL.ROI_HEADS.IOU_THRESHOLDS": Rule(
        lambda x: len(x) == 1 and 0 < x[0] <= 1, "one value, above 0 and at most 1"
    ),
    "MODEL.ROI_HEADS.IOU_LABELS": Rule(lambda x: list(x) == [0, 1], "[0, 1]"),
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": at_least(1),
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": within(0, 1),
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": within(0, 1),
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": within(0, 1),
    "MODEL.ROI_BOX_HEAD.NAME": BOX_HEADS,
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": BOX_REG_LOSSES,
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT": at_least(0),
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": BOX_WEIGHTS,
    "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA": at_least(0),
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": at_least(1),
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": at_least(0),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": one_of("ROIAlignV2", "ROIAlign", "ROIPool"),
    "MODEL.ROI_BOX_HEAD.NUM_FC": at_least(0),
    "MODEL.ROI_BOX_HEAD.FC_DIM": count,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": at_least(0),
    "MODEL.ROI_BOX_HEAD.CONV_DIM": count,
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": Rule(
        lambda x: not x, "False: it is of mask and keypoint heads, and these detectors have none"
    ),
    "MODEL.ROI_BOX_HEAD.USE_FED_LOSS": Rule(
        lambda x: not x, "False: the federated loss is LVIS's, whose class counts it needs"
    ),
    "SOLVER.LOSS_NORMALIZERS": Rule(
        lambda x: x == "local",
        "local: a Faster R-CNN divides its losses in each forward itself, by the anchors and "
        "proposals that it samples",
    ),
}


def check_together(cfg) -> None:
    """What Detectron2 asserts without a word.

    Raises:
        UserError: naming the keys that do not go together.
    """
    rpn, head = cfg.MODEL.RPN, cfg.MODEL.ROI_BOX_HEAD
    if len(rpn.IOU_LABELS) != len(rpn.IOU_THRESHOLDS) + 1:
        raise UserError(
            f"MODEL.RPN.IOU_LABELS is {rpn.IOU_LABELS}, they must be one more than "
            f"MODEL.RPN.IOU_THRESHOLDS {rpn.IOU_THRESHOLDS}"
        )
    if not head.NUM_FC + head.NUM_CONV:
        raise UserError(
            "MODEL.ROI_BOX_HEAD.NUM_FC and NUM_CONV are 0, a box head needs at least one layer"
        )
