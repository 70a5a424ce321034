"""Whether what a teacher says of images can be kept, and is worth keeping."""

from ..config.defaults import keeps_answers
from ..terms import TERMS
from ..terms.kept import kept_kinds
from ..utils.errors import UserError

LONGER = "unless SAD.LOADER.VIEW_EPOCHS is more than 1"
KEPT = frozenset({"logits", "deltas", "features"})  # fields of Outputs


def check_cache(cfg) -> None:
    """
    Args:
        cfg: of a Distiller, whose terms fit its detector.
    Raises:
        UserError: naming the key that SAD.TEACHER.CACHE.DIR does not go together with, and why.
    """
    cache, given, distill = cfg.SAD.TEACHER.CACHE, cfg.INPUT, cfg.SAD.DISTILL
    if not keeps_answers(cfg):
        return
    unbounded = cfg.SAD.LOADER.VIEW_EPOCHS == 1
    others = [name for name in distill.TERMS if not kept_kinds(TERMS[name].need) <= KEPT]
    if others:
        reason = f"SAD.DISTILL.TERMS has {others[0]}, which needs more than {sorted(KEPT)}"
    elif distill.PROPOSALS != "student":
        reason = f"SAD.DISTILL.PROPOSALS is {distill.PROPOSALS}: a teacher's proposals are not kept"
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
    elif everywhere := _compares_all_cells(distill):
        reason = (
            f"{everywhere}: it compares all cells alike, also those beyond an image that is "
            "smaller than its batch, which are not kept"
        )
    else:
        return
    raise UserError(f"SAD.TEACHER.CACHE.DIR is {cache.DIR}, but {reason}; or leave the folder out")


def _compares_all_cells(distill) -> str:
    """The key that says so, and its value; "" where none does."""
    if "class" in distill.TERMS and distill.CLASS.LOSS == "l2":
        return "SAD.DISTILL.CLASS.LOSS is l2"
    if "feature" in distill.TERMS and distill.FEATURE.LOSS != "l2":
        return f"SAD.DISTILL.FEATURE.LOSS is {distill.FEATURE.LOSS}"
    if "feature" in distill.TERMS and distill.FEATURE.MASK == "none":
        return "SAD.DISTILL.FEATURE.MASK is none"
    return ""
