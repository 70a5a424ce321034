"""Whether what a teacher says of images can be kept, and is worth keeping."""

from ..config.defaults import keeps_answers
from ..terms import TERMS
from ..utils.errors import UserError

LONGER = "unless SAD.LOADER.VIEW_EPOCHS is more than 1"
KEPT = frozenset({"logits", "deltas"})  # fields of Outputs


def check_cache(cfg) -> None:
    """
    Args:
        cfg: of a Distiller, whose terms fit its detector.
    Raises:
        UserError: naming the key that SAD.TEACHER.CACHE.DIR does not go together with, and why.
    """
    cache, given = cfg.SAD.TEACHER.CACHE, cfg.INPUT
    if not keeps_answers(cfg):
        return
    unbounded = cfg.SAD.LOADER.VIEW_EPOCHS == 1
    others = [name for name in cfg.SAD.DISTILL.TERMS if not TERMS[name].need <= KEPT]
    if others:
        reason = (
            f"SAD.DISTILL.TERMS has {others[0]}: only class scores and boxes of anchors are kept, "
            "as feature maps take megabytes an image, and regions change with the student"
        )
    elif given.CROP.ENABLED and unbounded:
        reason = f"INPUT.CROP.ENABLED is True: a random crop is never seen again, {LONGER}"
    elif (
        given.MIN_SIZE_TRAIN_SAMPLING == "range"
        and len(set(given.MIN_SIZE_TRAIN)) > 1
        and unbounded
    ):
        reason = (
            "INPUT.MIN_SIZE_TRAIN_SAMPLING is range: an image is hardly seen again in one of so "
            f"many sizes (choice draws among those that are listed), {LONGER}"
        )
    elif "class" in cfg.SAD.DISTILL.TERMS and cfg.SAD.DISTILL.CLASS.LOSS == "l2":
        reason = (
            "SAD.DISTILL.CLASS.LOSS is l2: it compares the logits of all scores alike, also of the "
            "cells beyond an image that is smaller than its batch, which are not kept"
        )
    else:
        return
    raise UserError(f"SAD.TEACHER.CACHE.DIR is {cache.DIR}, but {reason}; or leave the folder out")
