"""The images of a run's training sets: read, checked and counted."""

import logging
from collections import Counter

from tabulate import tabulate

from ..utils.errors import UserError
from .checks import check_classes, classes_of, has_boxes, why_no_boxes
from .datasets import read_sets
from .leaks import find_leaks, left_out
from .subset import choose_share

logger = logging.getLogger(__name__)


def read_training_images(cfg) -> tuple[list[dict], list[dict]]:
    """The labelled images to train on, and the unlabelled ones that are not tested on.

    Raises:
        UserError: a set cannot be read, lacks the annotations it is used for, or has other classes.
    """
    # Read with every image and whatever classes there are, so that the checks can name them.
    sets = cfg.DATASETS
    images = {
        name: read_sets([name], cfg.DATALOADER.MAX_IMAGE_PIXELS)
        for name in dict.fromkeys((*sets.TRAIN, *sets.UNLABELED, *sets.TEST))
    }
    labeled, unlabeled, tested = (
        [image for name in names for image in images[name]]
        for names in (sets.TRAIN, sets.UNLABELED, sets.TEST)
    )
    check_classes(cfg, (*sets.TRAIN, *sets.UNLABELED))
    labeled = choose_share(labeled, sets.LABELED_SHARE, sets.LABELED_SHARE_SEED)
    unlabeled = _without_leaks(labeled, unlabeled, tested)
    return _choose_labeled(cfg, labeled), _choose_unlabeled(cfg, unlabeled)


def _choose_labeled(cfg, images: list[dict]) -> list[dict]:
    """The labelled images to train on, after their numbers are logged.

    Images whose annotations are all crowds or unusable are no negatives: they are left out.
    """
    sets = ", ".join(cfg.DATASETS.TRAIN)
    with_boxes = [image for image in images if has_boxes(image)]
    if not with_boxes:
        why = {name: why_no_boxes(name) for name in cfg.DATASETS.TRAIN}
        raise UserError(
            f"DATASETS.TRAIN {sets} holds no boxes: "
            f"{'; '.join(why.values()) or 'there are no annotations'}"
        )
    empty = sum(map(_is_negative, images))
    if other := len(images) - len(with_boxes) - empty:
        logger.warning(
            f"{other} of {len(images)} labelled images ({sets}) hold only crowds or unusable "
            "annotations and are left out"
        )
    keeps_empty = not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    if empty:
        what = "trained on as negatives" if keeps_empty else "left out"
        logger.info(
            f"{empty} of {len(images)} labelled images ({sets}) have no box and are {what} "
            f"(DATALOADER.FILTER_EMPTY_ANNOTATIONS {not keeps_empty})"
        )
    _count_classes("training labels", with_boxes, classes_of(cfg.DATASETS.TRAIN[0]))
    if keeps_empty:
        return [image for image in images if has_boxes(image) or _is_negative(image)]
    return with_boxes


def _is_negative(image: dict) -> bool:
    """Whether people have looked at it and found nothing."""
    return not (image.get("annotations") or image.get("unusable"))


def _choose_unlabeled(cfg, images: list[dict]) -> list[dict]:
    """The unlabelled images to train on: with hard targets those that have some, as of the labelled
    ones; with soft targets alone all.
    """
    if not images:
        return images
    sets = ", ".join(cfg.DATASETS.UNLABELED)
    with_boxes, is_hard = list(filter(has_boxes, images)), "hard" in cfg.SAD.TARGETS.UNLABELED
    if with_boxes:
        _count_classes(f"pseudo-labels of {sets}", images, classes_of(cfg.DATASETS.TRAIN[0]))
    elif is_hard:
        why = "; ".join(filter(None, map(why_no_boxes, cfg.DATASETS.UNLABELED)))
        raise UserError(
            f"SAD.TARGETS.UNLABELED asks for hard targets, but {sets} holds no boxes"
            f"{f' ({why})' if why else ''}: write them with scripts/label_unlabeled.py"
        )
    if not is_hard or len(with_boxes) == len(images):
        return images
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        chosen, what = with_boxes, "left out"
    else:
        chosen = [image for image in images if has_boxes(image) or _is_negative(image)]
        what = "trained on as negatives, if people or a teacher have found nothing in them"
    logger.info(
        f"{len(images) - len(with_boxes)} of {len(images)} unlabelled images ({sets}) have no box "
        f"and are {what} (DATALOADER.FILTER_EMPTY_ANNOTATIONS "
        f"{cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS})"
    )
    return chosen


def _count_classes(what: str, images: list[dict], classes: list[str]) -> None:
    """Log the instances of each class, and warn of classes without any."""
    # Not by Detectron2's function: it logs once a process, and the check before the run is silent.
    found = Counter(
        annotation["category_id"]
        for image in images
        for annotation in image.get("annotations", ())
        if not annotation.get("iscrowd", 0)
    )
    counts = [found[number] for number in range(len(classes))]
    rows = [*zip(classes, counts, strict=True), ("total", sum(counts))]
    table = tabulate(rows, ["class", "instances"])
    logger.info(f"Distribution of instances of the {what}:\n{table}")
    if without := [name for name, count in zip(classes, counts, strict=True) if not count]:
        logger.warning(
            f"{len(without)} of {len(classes)} classes are without any of the {what}: "
            f"{', '.join(without[:10])}{', ...' if without[10:] else ''}"
        )


def _without_leaks(labeled: list[dict], unlabeled: list[dict], tested: list[dict]) -> list[dict]:
    """The unlabelled images that are neither labelled nor tested on.

    Labelled images that are tested on are said.

    Raises:
        UserError: there were some, and none is left.
    """
    of_train, of_unlabeled, of_test = (
        [image["file_name"] for image in images] for images in (labeled, unlabeled, tested)
    )
    if leaks := find_leaks(of_test, {"DATASETS.TRAIN": of_train}):
        logger.warning(
            f"{len(leaks)} of {len(of_test)} images of DATASETS.TEST are trained on, the first is "
            f"{of_test[min(leaks)]}: the AP on them says nothing of other images"
        )
    known = {"DATASETS.TRAIN": of_train, "DATASETS.TEST": of_test}
    leaks = left_out(of_unlabeled, known, "DATASETS.UNLABELED") if unlabeled else ()
    return [image for position, image in enumerate(unlabeled) if position not in leaks]
