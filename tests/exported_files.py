"""The toy teacher in exported files, to be read again, and batches to compare detectors on."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from scipy.optimize import linear_sum_assignment

from sad.export.graph import graph_of
from sad.export.onnx_file import to_onnx
from sad.exported.card import Card, digest
from sad.exported.describe import describe
from sad.exported.runs import GraphDetector
from sad.modeling.build import build_detector, load_detector

CARD = Card(
    detector="RetinaNet",
    class_names=["cat", "Katze \u00fc"],
    pixel_mean=[103.5, 116.3, 123.7],
    pixel_std=[1.0, 1.0, 1.0],
    channel_order="BGR",
    min_size=800,
    max_size=1333,
    size_divisibility=32,
    score_threshold=0.05,
    nms_threshold=0.5,
    detections=100,
    threshold=None,
    config="MODEL: {}",
    config_digest=digest("MODEL: {}"),
    data=["coco_2017_train"],
    seed=-1,
    metrics={"AP": 37.4},
    licence="Apache-2.0",
)


def tame_teacher(toy, name="teacher", opts=()):
    """(model, config) of the toy's teacher, its scores far from 0 and 1 and its boxes moved."""
    model, cfg = load_detector(toy.path(f"{name}.yaml"), toy.path("teacher.pth"), "cpu", opts)
    torch.manual_seed(3)
    model.head.cls_score.weight.data *= 0.1
    torch.nn.init.normal_(model.head.bbox_pred.weight, std=0.02)
    return model, cfg


FCOS = ["MODEL.META_ARCHITECTURE", "FCOS"]
UP = [
    "MODEL.BACKBONE.NAME",
    "build_upsampled_backbone",
    "MODEL.UPSAMPLED.BACKBONE",
    "build_small_resnet_fpn_backbone",
]
TO_P7 = ["MODEL.FPN.LAST_LEVEL", 7, "MODEL.RETINANET.IN_FEATURES", ["p3", "p4", "p5", "p6", "p7"]]
KINDS = {
    "RetinaNet": [],
    "FCOS": FCOS,
    "up": UP,
    "up to P7": UP + TO_P7 + ["MODEL.ANCHOR_GENERATOR.SIZES", [[16], [24], [32], [48], [64]]],
    "few candidates": ["MODEL.RETINANET.TOPK_CANDIDATES_TEST", 9, "TEST.DETECTIONS_PER_IMAGE", 20],
    "fewer than detections": ["MODEL.RETINANET.TOPK_CANDIDATES_TEST", 5],
    "no threshold": ["MODEL.RETINANET.SCORE_THRESH_TEST", 0.0],
    "GN": ["MODEL.RETINANET.NORM", "GN", "MODEL.FPN.OUT_CHANNELS", 32],
}


def random_model(toy, opts):
    """A detector of random weights that finds some tens of objects in noise."""
    cfg = toy.cfg("teacher.yaml", *opts)
    torch.manual_seed(3)
    model = build_detector(cfg).eval().requires_grad_(False)
    torch.nn.init.normal_(model.head.cls_score.weight, std=0.03)
    torch.nn.init.constant_(model.head.cls_score.bias, -1.5)
    torch.nn.init.normal_(model.head.bbox_pred.weight, std=0.02)
    model.class_names = ["light", "dark"]
    return model, cfg


HEAD, RPN = "MODEL.ROI_BOX_HEAD.", "MODEL.RPN."
RCNN_KINDS = {
    "Faster R-CNN": [],
    "class-agnostic": [HEAD + "CLS_AGNOSTIC_BBOX_REG", True],
    "sigmoids": [HEAD + "USE_SIGMOID_CE", True],
    "ROIAlign": [HEAD + "POOLER_TYPE", "ROIAlign", HEAD + "POOLER_SAMPLING_RATIO", 2],
    "few proposals": [RPN + "PRE_NMS_TOPK_TEST", 9, RPN + "POST_NMS_TOPK_TEST", 4],
    "large objects alone": ["MODEL.PROPOSAL_GENERATOR.MIN_SIZE", 12],
    "one level": ["MODEL.ROI_HEADS.IN_FEATURES", ["p3"]],
}


def random_rcnn(toy, opts=()):
    """A Faster R-CNN of random weights that finds some tens of objects in noise."""
    cfg = toy.cfg("rcnn_teacher.yaml", *opts)
    torch.manual_seed(3)
    model = build_detector(cfg).eval().requires_grad_(False)
    rpn, predictor = model.proposal_generator.rpn_head, model.roi_heads.box_predictor
    torch.nn.init.normal_(rpn.objectness_logits.weight, std=0.05)
    torch.nn.init.normal_(rpn.anchor_deltas.weight, std=0.02)
    torch.nn.init.normal_(predictor.cls_score.weight, std=0.1)
    torch.nn.init.constant_(predictor.cls_score.bias[-1:], -2.0)  # of the background
    torch.nn.init.normal_(predictor.bbox_pred.weight, std=0.02)
    model.roi_heads.box_pooler.canonical_box_size = (
        30  # so that small images have boxes of all levels
    )
    model.class_names = ["light", "dark"]
    return model, cfg


def write_onnx(model, cfg, path: Path, nms: bool = True, **facts) -> str:
    card = describe(model, cfg, **facts)
    path.write_bytes(to_onnx(graph_of(model, nms), card).SerializeToString())
    return str(path)


def write_weights(model, cfg, path: Path, **facts) -> str:
    tensors = {key: x.contiguous() for key, x in model.state_dict().items()}
    save_file(tensors, str(path), {"card": describe(model, cfg, **facts).text()})
    return str(path)


def batch(*sizes, seed=0) -> list[dict]:
    """Of one noise image for each (height, width), to be given in twice its size."""
    draw = torch.Generator().manual_seed(seed)
    return [
        {
            "image": torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=draw),
            "height": 2 * size[0],
            "width": 2 * size[1],
        }
        for size in sizes
    ]


def found_alike(model, cfg, graph) -> int:
    """How many detections Detectron2 and the graph both have in images of many shapes."""
    detector, found = GraphDetector(describe(model, cfg), lambda x: graph(x)[:4]), 0
    for size in ((64, 64), (50, 70), (33, 200), (1, 1), (8, 64)):
        images = batch(size, size, seed=size[0])
        wanted = model(images)
        assert_same(detector(images), wanted)
        found += sum(len(x["instances"]) for x in wanted)
    return found


def assert_same(found: list[dict], wanted: list[dict]) -> None:
    """Detections of one detector, up to rounding; those of equal scores in any order."""
    for one, other in zip(found, wanted, strict=True):
        one, other = one["instances"], other["instances"]
        assert len(one) == len(other)
        assert one.image_size == other.image_size
        assert (one.scores.diff() <= 0).all()
        apart = torch.cdist(one.pred_boxes.tensor, other.pred_boxes.tensor, p=torch.inf)
        apart += 1000 * (one.scores[:, None] - other.scores).abs()
        apart += 1000 * (one.pred_classes[:, None] != other.pred_classes)
        assert (apart.numpy()[linear_sum_assignment(apart)] < 0.01).all()
