"""What is to be told of a trained detector: its card."""

from collections.abc import Mapping

from detectron2.config import CfgNode

from ..config.load import get_sad_cfg
from ..utils.errors import UserError
from .card import Card, digest


def describe(
    model,
    cfg,
    *,
    threshold: float | None = None,
    metrics: Mapping[str, float] | None = None,
    licence: str = "",
) -> Card:
    """The card of a detector.

    Args:
        model, cfg: as `load_detector` returns them.
        threshold: the score of the best F1 on the validation set, where it is known.
        metrics: name -> value.
    Raises:
        UserError: nobody names its classes, or it reads other images than of three colours.
    """
    if not model.class_names:
        raise UserError("the weights do not name their classes, which an exported file must")
    if cfg.INPUT.FORMAT not in ("BGR", "RGB"):
        raise UserError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT}, only BGR and RGB can be exported")
    kind = type(model).__name__
    of_scores = model.roi_heads.box_predictor if kind == "GeneralizedRCNN" else model
    config = portable(cfg).dump()
    return Card(
        detector=kind,
        class_names=list(model.class_names),
        pixel_mean=list(map(float, cfg.MODEL.PIXEL_MEAN)),
        pixel_std=list(map(float, cfg.MODEL.PIXEL_STD)),
        channel_order=cfg.INPUT.FORMAT,
        min_size=cfg.INPUT.MIN_SIZE_TEST,
        max_size=cfg.INPUT.MAX_SIZE_TEST,
        size_divisibility=model.backbone.size_divisibility,
        score_threshold=float(of_scores.test_score_thresh),
        nms_threshold=float(of_scores.test_nms_thresh),
        detections=cfg.TEST.DETECTIONS_PER_IMAGE,
        threshold=threshold,
        config=config,
        config_digest=digest(config),
        data=[*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED],
        seed=cfg.SEED,
        metrics=dict(metrics or {}),
        licence=licence,
    )


def portable(cfg) -> CfgNode:
    """The config without the files and folders of the machine on which it was trained."""
    plain = cfg.clone()
    plain.defrost()
    defaults = get_sad_cfg()
    plain.DATASETS = defaults.DATASETS
    plain.OUTPUT_DIR = defaults.OUTPUT_DIR
    plain.SAD.TEACHER = defaults.SAD.TEACHER
    plain.MODEL.WEIGHTS = ""
    plain.MODEL.DEVICE = "cpu"
    return plain
