"""What was run: the settings of each run that a reader asks for, and all in which runs differ."""

from collections.abc import Sequence

from ..config.defaults import detector_name, distills
from ..config.identity import settings, training_settings
from .runs import Run

LONGEST = 60  # characters of a value
UNTOLD = ("MODEL.META_ARCHITECTURE", "SAD.STUDENT", "MODEL.WEIGHTS", "VERSION")  # told elsewhere
OF_TEACHING = "SAD."


def describe_settings(runs: Sequence[Run]) -> dict:
    """The entry "settings" of report.json.

    Returns:
        "runs": for each run {what: value}, texts and numbers; "differing": {key: the value of each
        run as text, None where the key has no say}, the keys of which not all runs have one value;
        of those of teaching the ones that are not the defaults of all.
    """
    chosen = set().union(*(training_settings(run.cfg) for run in runs))
    values = [_told(run.cfg, chosen) for run in runs]
    differing = {
        key: [found.get(key) for found in values]
        for key in sorted(set().union(*values))
        if any(found.get(key) != values[0].get(key) for found in values)
    }
    return {"runs": [_summary(run.cfg) for run in runs], "differing": differing}


def _told(cfg, chosen: set[str]) -> dict[str, str]:
    return {
        key: _short(value)
        for key, value in settings(cfg).items()
        if not key.startswith(UNTOLD)
        and (not key.startswith(OF_TEACHING) or (distills(cfg) and key in chosen))
    }


def _short(value) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _summary(cfg) -> dict:
    inputs, solver = cfg.INPUT, cfg.SOLVER
    return {
        "detector": detector_name(cfg),
        "backbone": _backbone(cfg),
        "iterations": solver.MAX_ITER,
        "images per step": solver.IMS_PER_BATCH,
        "learning rate": f"{solver.BASE_LR:g}",
        "test size": f"{inputs.MIN_SIZE_TEST} to {inputs.MAX_SIZE_TEST}",
        "seed": cfg.SEED,
        "learns from": _sources(cfg),
    }


def _backbone(cfg) -> str:
    name = cfg.MODEL.BACKBONE.NAME.removeprefix("build_").removesuffix("_backbone")
    if name == "timm_fpn":
        return f"{cfg.MODEL.TIMM.NAME}, FPN"
    return f"{name}, depth {cfg.MODEL.RESNETS.DEPTH}" if name.startswith("resnet") else name


def _sources(cfg) -> str:
    sources = ["labels"]
    if cfg.DATASETS.UNLABELED and (not distills(cfg) or "hard" in cfg.SAD.TARGETS.UNLABELED):
        sources.append("pseudo-labels")
    if distills(cfg):
        sources += [f"the teacher's {_term(cfg, name)}" for name in cfg.SAD.DISTILL.TERMS]
    return ", ".join(sources)


def _term(cfg, name: str) -> str:
    options = cfg.SAD.DISTILL[name.upper()]
    loss = f"{options.LOSS}, " if "LOSS" in options else ""
    return f"{name} ({loss}weight {options.WEIGHT:g})"
