"""Do the anchors fit the objects? One that overlaps with no anchor is hardly learned.

That can be said before training, with advice on other anchors.
"""

import logging
from collections.abc import Sequence

import torch
from detectron2.structures import Boxes

from .adapters import adapter_of
from .anchor_advice import changes, find_better
from .anchor_fit import ENOUGH, IOU, MOST, as_trained, best_iou, sample_boxes

logger = logging.getLogger(__name__)


def check_anchors(cfg, model, images: Sequence[dict]) -> float | None:
    """Log what share of the boxes has an anchor that fits; where it is small, warn with advice.

    Args:
        model: the detector of `cfg`.
        images: labelled ones, Detectron2's dicts.
    Returns:
        the best possible recall of the anchors; None where there are no boxes.
    """
    boxes, sizes = sample_boxes(images)
    if not len(boxes):
        return None
    seen = as_trained(cfg, boxes, sizes)
    fits = best_iou(cfg, model, seen) >= IOU
    recall = fits.float().mean().item()
    sampled = " of them, drawn by chance," if len(boxes) == MOST else ""
    crops = ", without crops" if cfg.INPUT.CROP.ENABLED else ""
    found = (
        f"Anchors: {recall:.1%} of the training boxes ({len(boxes)}{sampled} at the training size"
        f"{crops}) have an anchor of IoU {IOU} or more"
    )
    if recall >= ENOUGH:
        logger.info(found)
        return recall
    cells = adapter_of(model).anchor_generator(model).cell_anchors
    anchors = torch.cat([Boxes(cell).area().sqrt() for cell in cells])
    least, most = seen.sides[~fits].quantile(torch.tensor([0.05, 0.95])).tolist()
    better, then = find_better(cfg, model, boxes, sizes)
    too = ""
    if adapter_of(model).shares_anchors:
        scale = cfg.SAD.TEACHER.INPUT_SCALE
        times = "" if scale == 1 else f" (the teacher's SIZES {scale:g} times these)"
        too = (
            f"; teacher and student need the same MODEL.ANCHOR_GENERATOR{times}, so set it in the "
            "file that both are based on and train the teacher anew"
        )
    logger.warning(
        f"{found}. Those without one are {least:.0f} to {most:.0f} pixels large there (square root "
        f"of the area, 5th to 95th percentile), the anchors {anchors.min():.0f} to "
        f"{anchors.max():.0f}. "
        + (
            f"{then:.1%} would have one with {changes(cfg, better)}{too}"
            if then > recall
            else "No anchors were found that fit better"
        )
    )
    return recall
