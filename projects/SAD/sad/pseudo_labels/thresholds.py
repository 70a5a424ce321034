"""Score thresholds: where they come from, by class or not, and which detections reach them."""

import json

import numpy as np

from ..data.coco_items import short
from ..data.coco_json import CocoJson
from ..data.subset import choose_share
from ..utils.errors import UserError, did_you_mean, reason
from .detections import scores


def wanted_mean(labeled: CocoJson, instances: dict, share: float, seed: int) -> dict:
    """The mean number of instances of the labelled images, and where it comes from.

    Args:
        labeled, instances: see `count_instances`.
        share, seed: DATASETS.LABELED_SHARE: the mean is that of these images only.
    Returns:
        labeled_json, labeled_images, labeled_instances and target_mean.
    Raises:
        UserError: there are no boxes.
    """
    if share < 1:
        chosen = choose_share([{"id": image_id} for image_id in instances], share, seed, key="id")
        instances = {image["id"]: instances[image["id"]] for image in chosen}
    total = sum(instances.values())
    if not total:
        raise UserError(
            f"{labeled.where} has no boxes to calibrate the score threshold with: "
            f"{labeled.why_no_boxes()}"
        )
    return {
        "labeled_json": labeled.path,
        "labeled_images": len(instances),
        "labeled_instances": total,
        "target_mean": total / len(instances),
    }


def read_thresholds(path: str, names: list[str]) -> dict[str, float]:
    """The file of --class-thresholds: a json {class name: score}.

    Args:
        names: the teacher's classes, in the order of its logits.
    Returns:
        in the order of `names`.
    Raises:
        UserError: it cannot be read, a class is missing or unknown, or a value is no score.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            given = json.load(file)
    except OSError as error:
        raise UserError(f"--class-thresholds {path} cannot be opened: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"--class-thresholds {path} is no json ({reason(error)})") from error
    where = f"--class-thresholds {path}"
    if type(given) is not dict:
        raise UserError(f"{where} is {short(given)}, it must be {{class name: score}}")
    for name in names:
        if name not in given:
            raise UserError(f"{where} has no score for the teacher's class {short(name)}: add it")
    for name, value in given.items():
        if name not in names:
            raise UserError(
                f"{where} names {short(name)}, which is no class of the teacher"
                f"{did_you_mean(name, names) or '; take it out'}"
            )
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise UserError(f"{where} gives {short(name)} {short(value)}, not a number from 0 to 1")
    return {name: float(given[name]) for name in names}


def of_each_class(threshold: float | dict[str, float], names: list[str]) -> np.ndarray:
    """(K,) the score that each class must reach, of one score for all or one for each name."""
    if isinstance(threshold, dict):
        return np.array([threshold[name] for name in names])
    return np.full(len(names), threshold, np.float64)


def reach(detections: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(M,) bool: whether each of M detections has the score that its class must reach."""
    return scores(detections) >= thresholds[detections["category"]]


def say(threshold: float | dict[str, float], decimals: int = 4) -> str:
    """A threshold in few words, for a log or a legend."""
    if not isinstance(threshold, dict):
        return f"{threshold:.{decimals}f}"
    lowest, highest = min(threshold.values()), max(threshold.values())
    return f"{lowest:.{decimals}f} to {highest:.{decimals}f} by class"
