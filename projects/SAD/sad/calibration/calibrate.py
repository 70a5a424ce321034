"""What a teacher's boxes are worth on held-out images, and what follows for the student."""

import logging
import os
from typing import NamedTuple

import numpy as np

from ..config.defaults import device_of
from ..config.detector_keys import keys_of, value_of
from ..config.load import get_sad_cfg
from ..data.classes import given_names
from ..data.coco_json import count_instances
from ..data.datasets import register_from_config
from ..modeling.adapters import adapter_of
from ..modeling.build import load_detector
from ..modeling.fold_norms import fold_norms
from ..pseudo_labels.detections import SCORE_UNITS, calibrate_threshold, scores
from ..pseudo_labels.thresholds import of_each_class, reach, wanted_mean
from ..pseudo_labels.views import NO_OTHERS, Views, check_views
from ..utils.errors import UserError
from ..utils.files import atomic_write, make_folder, sha256, write_json
from .advice import SETTINGS, advise
from .choice import Choice, choose
from .curves import Counts, count_boxes, judge
from .images import HeldOut, draw_unlabeled, read_held_out
from .page import draw_proposals, render_page
from .summary import ALL, average_precision, curves, points
from .teacher_boxes import Found, find_boxes
from .to_label import choose_spread, describe, expected_errors, fit_chance, uncertainty, write_list

logger = logging.getLogger(__name__)

FLOOR = 0.02  # scores below it are not looked at
PAGE = "calibration.html"  # in the output folder


class Teacher(NamedTuple):
    model: object
    cfg: object  # that it runs with
    floor: float  # the score above which it reports boxes here: FLOOR, or its own if that is lower
    own_floor: float  # that of its yaml


class Judged(NamedTuple):
    """What the held-out images say."""

    held_out: HeldOut  # of the images that could be read
    found: Found
    right: np.ndarray  # (M,) of each detection; see `judge`
    wrong: np.ndarray
    counts: Counts
    start: float  # the threshold that labelling would choose
    common: Choice
    of_class: list[Choice]
    chosen: dict[str, float]  # class name -> threshold


def calibrate(
    teacher_config: str,
    teacher_weights: str,
    val: tuple[str, str],
    unlabeled: str | tuple[str, str],
    labeled_json: str,
    output: str,
    student_ap: float | None = None,
    num_images: int = 50,
    opts=(),
    *,
    class_names=(),
    max_unlabeled: int = 2000,
    views: Views = NO_OTHERS,
    batch_size: int = 8,
    seed: int = 0,
) -> dict:
    """Judge a teacher by held-out images; write numbers, thresholds, advice and images to label.

    Into `output` go calibration.json, calibration.html, thresholds.json (for --class-thresholds of
    label_unlabeled.py) and to_label.csv.

    Args:
        teacher_config, teacher_weights, opts: see `load_detector`.
        class_names: see SAD.TEACHER.CLASS_NAMES.
        val: (COCO json, image folder) of labelled images that the teacher was not trained on.
        unlabeled: a folder of images, or (json that lists them, folder).
        labeled_json: what the teacher was trained on; its mean number of boxes per image decides
            which threshold labelling would choose.
        student_ap: of the student alone on the same held-out images, in percent.
        num_images: how many unlabelled images to propose for labelling.
        max_unlabeled: unlabelled images to look at, drawn by `seed`.
        views: in which the teacher is shown each image; as labelling is to do it.
    Returns:
        the content of calibration.json.
    Raises:
        UserError: whatever is missing, broken or does not fit, before anything is written; or the
            teacher finds nothing.
    """
    teacher = _load(teacher_config, teacher_weights, opts, given_names(class_names))
    check_views(views, teacher.cfg)
    held_out = read_held_out(teacher.cfg, *val, labeled_json, teacher.model.class_names)
    labeled = _wanted_mean(teacher.cfg, labeled_json)
    image_json, image_root = (None, unlabeled) if isinstance(unlabeled, str) else unlabeled
    known = {val[0]: [image["file_name"] for image in held_out.images]}
    drawn = draw_unlabeled(
        teacher.cfg, image_root, image_json, labeled_json, known, max_unlabeled, seed
    )
    make_folder(output, "--output")

    found = find_boxes(*teacher[:2], held_out.images, batch_size, views, "held-out images")
    others = find_boxes(*teacher[:2], drawn.images, batch_size, views, "unlabelled images")
    judged = _judge(teacher, held_out, found, others, labeled["target_mean"], seed)
    report = {
        "teacher": {"config": teacher_config, "weights": teacher_weights},
        "student_AP": student_ap,
        "labeled": labeled,
        "unlabeled": {
            "source": image_json or image_root,
            "images": drawn.total,
            "looked_at": len(others.images),
            "left_out": drawn.left_out,
            "unreadable": drawn.unreadable | others.unreadable,
        },
    }
    _report_held_out(report, val[0], teacher, judged)
    _report_advice(report, adapter_of(teacher.model).needs_hard_targets)
    pictures = _report_proposals(report, judged, others, num_images)
    _write(output, report, pictures)
    return report


def _load(config_file: str, weights: str, opts, class_names) -> Teacher:
    cfg = get_sad_cfg(config_file, opts)
    register_from_config(cfg)
    key = keys_of(cfg).score_threshold
    own_floor = value_of(cfg, key)
    floor = min(own_floor, FLOOR)
    opts = [*opts, key, floor]
    model, cfg = load_detector(config_file, weights, device_of(cfg), opts, class_names)
    fold_norms(model)
    if not model.class_names:
        raise UserError(
            f"the teacher's weights {weights} do not name their classes: give --class-names, the "
            "names in the order of its logits"
        )
    return Teacher(model, cfg, floor, own_floor)


def _wanted_mean(cfg, labeled_json: str) -> dict:
    labeled, instances = count_instances(labeled_json)
    share = cfg.DATASETS.LABELED_SHARE, cfg.DATASETS.LABELED_SHARE_SEED
    return wanted_mean(labeled, instances, *share)


def _judge(teacher, held_out, found, others, target_mean: float, seed: int) -> Judged:
    """Compare what was found in the held-out images with their labels, and choose thresholds."""
    held_out = held_out.only(found.images)
    if not any(not label["iscrowd"] for label in held_out.labels):
        raise UserError("the held-out images that can be read have no boxes: mend the others")
    seen = others.detections[scores(others.detections) > teacher.own_floor]  # by labelling
    if not len(seen):
        raise UserError(
            "the teacher finds nothing in the unlabelled images with a score above "
            f"{teacher.own_floor}, its yaml's: labelling would find nothing; train it longer"
        )
    score_counts = np.bincount(seen["score"], minlength=SCORE_UNITS + 1)
    start = calibrate_threshold(score_counts, len(others.images), target_mean)
    right, wrong = judge(held_out, found.detections)
    counts = count_boxes(held_out, found.detections, right, wrong, teacher.floor, [start])
    common, of_class = choose(counts, start, seed)
    thresholds = [choice.threshold for choice in of_class]
    chosen = dict(zip(teacher.model.class_names, thresholds, strict=True))
    return Judged(held_out, found, right, wrong, counts, start, common, of_class, chosen)


def _report_held_out(report: dict, json_file: str, teacher: Teacher, judged: Judged) -> None:
    """Add AP, curves and thresholds."""
    held_out, found = judged.held_out, judged.found
    names = teacher.model.class_names
    own = found.detections[scores(found.detections) > teacher.own_floor]
    weights = report["teacher"]["weights"]
    report["teacher"] |= {"weights_sha256": sha256(weights), "class_names": names}
    report["teacher"] |= average_precision(json_file, held_out, own)
    report["held_out"] = {
        "json": json_file,
        "images": len(held_out.images),
        "boxes": int(judged.counts.labels.sum()),
        "trained_on": held_out.trained_on,
        "unreadable": found.unreadable,
    }
    reasons = [choice.reason for choice in (judged.common, *judged.of_class)]
    report["thresholds"] = {
        "labelling": judged.start,
        "common": judged.common.threshold,
        "by_class": len(set(judged.chosen.values())) > 1,
        "chosen": judged.chosen,
        "reasons": dict(zip([ALL, *names], reasons, strict=True)),
    }
    report["score_floor"] = teacher.floor
    report["points"] = points(judged.counts, names, judged.start, judged.chosen)
    report |= curves(judged.counts, names)


def _report_advice(report: dict, needs_hard_targets: bool) -> None:
    targets, lines = advise(
        report["teacher"]["AP"],
        report["student_AP"],
        report["points"][0]["chosen"]["precision"] or 0.0,
        report["labeled"]["labeled_images"],
        report["unlabeled"]["images"],
        needs_hard_targets=needs_hard_targets,
    )
    report["advice"] = {
        "targets": targets,
        "settings": SETTINGS[targets],
        "lines": [line._asdict() for line in lines],
    }


def _report_proposals(report: dict, judged: Judged, others: Found, number: int) -> list:
    """Add the images to label; their pictures."""
    names = report["teacher"]["class_names"]
    counted = judged.right | judged.wrong
    chance = fit_chance(scores(judged.found.detections)[counted], judged.right[counted])
    chances = chance(scores(others.detections))
    kept = reach(others.detections, of_each_class(judged.chosen, names))
    errors = expected_errors(others.detections["image"], chances, kept, len(others.images))
    positions = choose_spread(uncertainty(errors), others.features, number)
    report["to_label"] = describe(positions, others.images, errors)
    return draw_proposals(report["to_label"], positions, others, chances, kept, names)


def _write(output: str, report: dict, pictures: list) -> None:
    """calibration.json comes last: where it is, everything is."""
    write_json(os.path.join(output, "thresholds.json"), report["thresholds"]["chosen"], indent=2)
    write_list(os.path.join(output, "to_label.csv"), report["to_label"])
    with atomic_write(os.path.join(output, PAGE)) as file:
        file.write(render_page(report, pictures))
    write_json(os.path.join(output, "calibration.json"), report, indent=1, allow_nan=False)
    logger.info(f"wrote {output}/: {PAGE}, calibration.json, thresholds.json and to_label.csv")
