"""Whether the images that are used have targets that the terms and the detector can learn from."""

from ..modeling.adapters import ADAPTERS
from ..terms import TERMS
from ..utils.errors import UserError


def check_targets(cfg) -> None:
    """That every image that is used has something to learn from, and the teacher to teach.

    Args:
        cfg: of a Distiller, whose values are allowed each by itself.
    Raises:
        UserError: naming the key and its value.
    """
    distill, sad = cfg.SAD.DISTILL, cfg.SAD
    terms = f"SAD.DISTILL.TERMS {list(distill.TERMS)}"
    used = {"SAD.TARGETS.LABELED": sad.TARGETS.LABELED}
    if cfg.DATASETS.UNLABELED:
        used["SAD.TARGETS.UNLABELED"] = sad.TARGETS.UNLABELED
    for key, targets in used.items():
        if not targets or not (distill.TERMS or "hard" in targets):
            raise UserError(
                f"{key} is {targets}, of which nothing is learnt with {terms}: add 'hard', or "
                "leave the images out of DATASETS"
            )
    if not distill.TERMS:
        return
    if not any("soft" in targets for targets in used.values()):
        raise UserError(
            f"{terms} learns from soft targets, but {' and '.join(used)} ask for none: add 'soft', "
            "or switch distillation off with SAD.DISTILL.TERMS '()'"
        )
    if len(set(distill.TERMS)) < len(distill.TERMS):
        raise UserError(f"{terms} names a term twice")
    _check_detector(cfg, used)
    for name in distill.TERMS:
        section = f"SAD.DISTILL.{name.upper()}"
        if distill[name.upper()].WEIGHT == 0:
            raise UserError(
                f"{section}.WEIGHT is 0, so the teacher works for nothing: leave {name} out of "
                "SAD.DISTILL.TERMS"
            )
        why = TERMS[name].why_local(distill[name.upper()])
        if why and cfg.SOLVER.LOSS_NORMALIZERS == "global":
            raise UserError(
                f"{section}.{why}, which SOLVER.LOSS_NORMALIZERS global cannot divide by a number "
                "of the whole step: make it local, or give another value"
            )
        why = TERMS[name].why_hard_targets(distill[name.upper()])
        if why and any("hard" not in targets for targets in used.values()):
            raise UserError(
                f"{section}.{why}, but SAD.TARGETS has images with soft targets alone: give "
                "another value, or those images hard targets"
            )


def _check_detector(cfg, used: dict[str, tuple]) -> None:
    """That the student's kind of detector emits what the terms compare."""
    detector = cfg.SAD.STUDENT.META_ARCHITECTURE
    adapter = ADAPTERS[detector]
    fitting = [name for name, term in TERMS.items() if term.need <= adapter.emits]
    if strange := [name for name in cfg.SAD.DISTILL.TERMS if name not in fitting]:
        raise UserError(
            f"SAD.DISTILL.TERMS has {strange[0]}, which learns from what a {detector} does not "
            f"emit: its terms are {', '.join(fitting)}"
        )
    for key, targets in used.items():
        if adapter.needs_hard_targets and "hard" not in targets:
            raise UserError(
                f"{key} is {targets}, but a {detector} is taught in the regions that hard targets "
                "choose: add 'hard', or leave the images out of DATASETS"
            )
