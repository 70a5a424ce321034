"""A Faster R-CNN of the toy problem with answers worth learning, and regions by hand."""

import torch
from detectron2.structures import Boxes, Instances


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
