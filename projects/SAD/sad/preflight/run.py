"""What can be wrong with a run, found in seconds and before anything is written.

Models are built and filled on device "meta", so that only names and shapes are compared. Small
annotation files are read as the training will read them; large ones, which take as long again, are
checked when it does.
"""

import logging
import os
from contextlib import contextmanager
from pathlib import Path

import torch
from detectron2.data import MetadataCatalog
from detectron2.utils import comm

from ..checkpoint.checkpointer import SADCheckpointer
from ..checkpoint.safe_load import UnreadableError
from ..config.defaults import distills
from ..config.identity import check_same_run, describe_run
from ..data.checks import check_classes, check_deciding_set, check_files, check_test_sets
from ..data.loader import build_mixed_loader, check_before_reading
from ..data.shared_read import once_per_machine
from ..engine.schedule import derive_schedule
from ..engine.watch import check_packages
from ..exported.open import check_as_card, is_exported, open_exported
from ..modeling.build import build_detector, load_weights
from ..modeling.teacher import build_teacher
from ..utils.errors import UserError
from .values import check_evaluation_values, check_training_values

MADE_WEIGHTS = (
    "; those below output/weights are made by scripts/convert_weights.py, see docs/coco.md"
)
SMALL = 20e6  # bytes of annotations, about a second


def check_training(cfg, resume: bool, check_teacher: bool) -> None:
    """
    Args:
        cfg: after `check_config` and `register_from_config`.
        resume, check_teacher: whether --resume and --check-teacher are given.
    Raises:
        UserError: naming the key, file or folder.
    """
    check_training_values(cfg)
    _check_folder(cfg.OUTPUT_DIR, resume)
    if cfg.SOLVER.MAX_ITER < 1:
        raise UserError(f"SOLVER.MAX_ITER is {cfg.SOLVER.MAX_ITER}, it must be at least 1")
    if comm.is_main_process():  # which alone imports them
        check_packages(cfg)
    cfg = derive_schedule(cfg, comm.get_world_size())
    check_before_reading(cfg)
    check_files(cfg.DATASETS.TEST)
    with _silent():
        check_classes(cfg, _names(cfg))
        student = _without_memory(cfg)
        if distills(cfg) or check_teacher:
            teacher, teacher_cfg = build_teacher(_on_meta(cfg))
            check_as_card(teacher_cfg, cfg.SAD.TEACHER.WEIGHTS)
        if distills(cfg):
            student.attach_teacher(teacher)
        _check_weights(cfg, student, resume, strict=False)
    if resume:
        _check_last_run(cfg)
    with _silent():
        if _is_small(_names(cfg)):
            build_mixed_loader(cfg)
            check_test_sets(cfg)
            check_deciding_set(cfg)


def check_evaluation(cfg, resume: bool) -> None:
    """As `check_training`, for --eval-only.

    Raises:
        UserError: naming the key, file or folder.
    """
    check_evaluation_values(cfg)
    if not (cfg.MODEL.WEIGHTS or resume):
        raise UserError("--eval-only needs MODEL.WEIGHTS, or --resume with an OUTPUT_DIR")
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty: name a data set to evaluate on")
    check_files(cfg.DATASETS.TEST)
    if not cfg.MODEL.WEIGHTS and not _has_checkpoint(cfg):
        raise UserError(f"OUTPUT_DIR {cfg.OUTPUT_DIR} holds no checkpoint to resume from")
    _check_results_stay(cfg, resume)
    if runs_alone(cfg, resume):
        _check_exported(cfg)
    elif not (resume and _has_checkpoint(cfg)):
        check_as_card(cfg, cfg.MODEL.WEIGHTS)
    with _silent():
        if not runs_alone(cfg, resume):
            _check_weights(cfg, _without_memory(cfg), resume, strict=True)
        if _is_small(cfg.DATASETS.TEST):
            check_test_sets(cfg)
        check_classes(cfg, cfg.DATASETS.TEST)


def _check_results_stay(cfg, resume: bool) -> None:
    """That no results of a run are replaced by those of other weights."""
    folder, weights = cfg.OUTPUT_DIR, cfg.MODEL.WEIGHTS
    if resume or os.path.dirname(os.path.abspath(weights)) == os.path.abspath(folder):
        return
    if name := _of_a_run(folder):
        raise UserError(
            f"OUTPUT_DIR {folder} holds a run ({name}), whose results those of {weights} would "
            "replace: name another OUTPUT_DIR"
        )


def runs_alone(cfg, resume: bool) -> bool:
    """Whether MODEL.WEIGHTS is a file that is run as it is (.onnx, .pt2), without MODEL's network.

    A .safetensors file with a card is read into the network, as every checkpoint.
    """
    path = cfg.MODEL.WEIGHTS
    loads_checkpoint = resume and _has_checkpoint(cfg)
    return not loads_checkpoint and not path.endswith(".safetensors") and is_exported(path)


def _check_exported(cfg) -> None:
    """That the file can be run, and that the config reads images as it wants them."""
    card = open_exported(cfg.MODEL.WEIGHTS).card
    wanted = {
        "FORMAT": card.channel_order,
        "MIN_SIZE_TEST": card.min_size,
        "MAX_SIZE_TEST": card.max_size,
    }
    for key, value in wanted.items():
        if cfg.INPUT[key] != value:
            raise UserError(
                f"INPUT.{key} is {cfg.INPUT[key]}, and MODEL.WEIGHTS {cfg.MODEL.WEIGHTS} wants "
                f"{value}: set it to that"
            )


def _check_folder(folder: str, resume: bool) -> None:
    if not folder:
        raise UserError("OUTPUT_DIR is empty: name a folder for the run")
    if (name := _of_a_run(folder)) and not resume:
        raise UserError(
            f"OUTPUT_DIR {folder} holds a run ({name}): give --resume to go on with it, or name "
            "another OUTPUT_DIR"
        )
    if Path(folder, "model_final.pth").exists() and not Path(folder, "last_checkpoint").exists():
        raise UserError(
            f"OUTPUT_DIR {folder} holds model_final.pth, but no last_checkpoint that says where to "
            "go on: write the name of a checkpoint into a file last_checkpoint, or name another "
            "OUTPUT_DIR"
        )


def _of_a_run(folder: str) -> str:
    """The name of a file of the run that a folder holds. One that died before its first checkpoint
    is none to go on with, and not in the way.
    """
    patterns = ("last_checkpoint", "model_[0-9]*.pth", "model_final.pth")
    found = (path.name for pattern in patterns for path in sorted(Path(folder).glob(pattern)))
    return next(found, "")


def _check_last_run(cfg) -> None:
    """That it is the same experiment; a checkpoint that is broken is the trainer's to deal with."""
    checkpointer = SADCheckpointer(None, cfg.OUTPUT_DIR)
    try:
        last = torch.load(
            checkpointer.get_checkpoint_file(), map_location="cpu", mmap=True, weights_only=True
        )
        before = last["trainer"]["run"]
    except Exception:  # a broken file can raise anything
        return
    check_same_run(before, once_per_machine(lambda: describe_run(cfg)))


def _check_weights(cfg, model, resume: bool, *, strict: bool) -> None:
    if not cfg.MODEL.WEIGHTS or (resume and _has_checkpoint(cfg)):
        return
    try:
        load_weights(model, cfg.MODEL.WEIGHTS, strict=strict)
    except UserError as error:
        absent = isinstance(error, UnreadableError) and not os.path.exists(cfg.MODEL.WEIGHTS)
        hint = MADE_WEIGHTS if absent else ""
        raise UserError(f"MODEL.WEIGHTS {cfg.MODEL.WEIGHTS}: {error}{hint}") from error


def _has_checkpoint(cfg) -> bool:
    return SADCheckpointer(None, cfg.OUTPUT_DIR).has_checkpoint()


def _on_meta(cfg):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "meta"
    return cfg


def _without_memory(cfg):
    return build_detector(_on_meta(cfg))


def _names(cfg) -> list[str]:
    return [*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED, *cfg.DATASETS.TEST]


def _is_small(names) -> bool:
    files = {MetadataCatalog.get(name).get("json_file") for name in names}
    return all(files) and sum(os.path.getsize(file) for file in files) <= SMALL


@contextmanager
def _silent():
    """Whatever is worth a line is said again by the run itself, into its log."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
