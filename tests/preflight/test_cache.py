"""What goes together with a folder of the teacher's answers, and what is refused."""

import pytest

from sad.preflight.cache import check_cache
from sad.utils.errors import UserError

FOLDER = ("SAD.TEACHER.CACHE.DIR", "answers")
REFUSED = {
    "FEATURE.MASK": ("SAD.DISTILL.TERMS", "('class','feature')"),
    "FEATURE.LOSS": ("SAD.DISTILL.TERMS", "('class','feature')", "SAD.DISTILL.FEATURE.LOSS", "cwd"),
    "CROP": ("INPUT.CROP.ENABLED", True),
    "SAMPLING": ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"),
    "l2": ("SAD.DISTILL.CLASS.LOSS", "l2"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_views_and_terms_that_cannot_be_kept_are_refused(toy, why):
    cfg = toy.cfg("SAD.yaml", *REFUSED[why], checked=False)
    check_cache(cfg)
    cfg = toy.cfg("SAD.yaml", *FOLDER, *REFUSED[why], checked=False)
    with pytest.raises(UserError, match=f"SAD.TEACHER.CACHE.DIR is answers, but .*{why}"):
        check_cache(cfg)


@pytest.mark.parametrize("share", ["teacher", "union"])
def test_proposals_of_a_two_stage_teacher_are_refused(toy, share):
    check_cache(toy.cfg("TAR.yaml", *FOLDER, checked=False))
    cfg = toy.cfg("TAR.yaml", *FOLDER, "SAD.DISTILL.PROPOSALS", share, checked=False)
    with pytest.raises(UserError, match=f"PROPOSALS is {share}"):
        check_cache(cfg)


@pytest.mark.parametrize(
    "opts",
    [
        ("SAD.DISTILL.TERMS", "('class','box')"),
        ("SAD.DISTILL.TERMS", "('feature','box')", "SAD.DISTILL.FEATURE.MASK", "box"),
        ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range", "INPUT.MIN_SIZE_TRAIN", "(64,64)"),
        ("INPUT.CROP.ENABLED", True, "SAD.LOADER.VIEW_EPOCHS", 2),
        ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range", "SAD.LOADER.VIEW_EPOCHS", 2),
        ("SAD.DISTILL.TERMS", "()", "INPUT.CROP.ENABLED", True),  # no teacher is asked
    ],
)
def test_what_can_be_kept_is_not_refused(toy, opts):
    check_cache(toy.cfg("SAD.yaml", *FOLDER, *opts, checked=False))
