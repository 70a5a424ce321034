"""The toy problem for Faster R-CNN: yamls of teacher, student and TAR beside tests/toy.py's."""

import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

import toy as toy_problem

BASE = """
_BASE_: base.yaml
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  FPN: {{IN_FEATURES: [res2, res3, res4, res5]}}
  ANCHOR_GENERATOR: {{SIZES: [[12], [18], [26], [40]], ASPECT_RATIOS: [[0.5, 1.0, 2.0]]}}
  RPN:
    IN_FEATURES: [p2, p3, p4, p5]
    BATCH_SIZE_PER_IMAGE: 32
    PRE_NMS_TOPK_TRAIN: 60
    PRE_NMS_TOPK_TEST: 40
    POST_NMS_TOPK_TRAIN: 30
    POST_NMS_TOPK_TEST: 20
  ROI_HEADS:
    NAME: StandardROIHeads
    NUM_CLASSES: 2
    IN_FEATURES: [p2, p3, p4, p5]
    BATCH_SIZE_PER_IMAGE: 16
    POSITIVE_FRACTION: 0.5
    SCORE_THRESH_TEST: 0.001
  ROI_BOX_HEAD: {{NAME: FastRCNNConvFCHead, NUM_FC: 1, POOLER_RESOLUTION: 3}}
SOLVER: {{BASE_LR: 0.01}}
OUTPUT_DIR: {root}/never_written
"""
WIDTHS = """
_BASE_: rcnn_base.yaml
MODEL:
  RESNETS: {{STEM_OUT_CHANNELS: {width}, RES2_OUT_CHANNELS: {width}}}
  FPN: {{OUT_CHANNELS: {width}}}
  ROI_BOX_HEAD: {{FC_DIM: {fc}}}
"""
TAR = """
_BASE_: rcnn_student.yaml
MODEL: {{META_ARCHITECTURE: Distiller}}
DATASETS:
  REGISTER:
    toy_pseudo_labels:
      JSON: {root}/annotations/pseudo_labels.json
      IMAGES: {root}/unlabeled
  UNLABELED: [toy_pseudo_labels]
SAD:
  STUDENT: {{META_ARCHITECTURE: GeneralizedRCNN}}
  TEACHER:
    CONFIG_FILE: {root}/rcnn_teacher.yaml
    WEIGHTS: {root}/rcnn_teacher.pth
  DISTILL:
    TERMS: [feature, roi_class, roi_box]
    FEATURE: {{MASK: gaussian, LAYER: conv3x3, WEIGHT: 3.0}}
"""


def write(toy) -> None:
    """The yamls, and weights of a random, but opinionated, teacher."""
    root = toy.root
    (root / "rcnn_base.yaml").write_text(BASE.format(root=root))
    (root / "rcnn_teacher.yaml").write_text(WIDTHS.format(width=16, fc=32))
    (root / "rcnn_student.yaml").write_text(WIDTHS.format(width=8, fc=16))
    (root / "TAR.yaml").write_text(TAR.format(root=root))
    torch.manual_seed(1)
    model = opinionated(build_model(toy.cfg("rcnn_teacher.yaml")))
    names = [category["name"] for category in toy_problem.CATEGORIES]
    torch.save({"model": model.state_dict(), "class_names": names}, root / "rcnn_teacher.pth")


def opinionated(model):
    """A second stage whose scores and boxes differ from region to region."""
    predictor = model.roi_heads.box_predictor
    torch.nn.init.normal_(predictor.cls_score.weight, std=0.5)
    torch.nn.init.normal_(predictor.bbox_pred.weight, std=0.2)
    return model


def regions_of_image(size, boxes, classes, truth=None) -> Instances:
    """Sampled ones, with their classes and, where there are any, the boxes of their objects."""
    found = Instances(size)
    found.proposal_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    found.gt_classes = torch.tensor(classes, dtype=torch.long)
    if truth is not None:
        found.gt_boxes = Boxes(torch.tensor(truth, dtype=torch.float32).reshape(-1, 4))
    return found
