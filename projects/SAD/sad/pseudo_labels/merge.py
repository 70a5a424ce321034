"""From the shards of detections to pseudo-labels: threshold, json, report."""

import logging

import numpy as np

from ..config.detector_keys import keys_of, value_of
from ..utils.errors import UserError
from ..utils.files import remove_folder
from .coco_file import write_pseudo_labels
from .detections import SCORE_UNITS, calibrate_threshold, scores
from .job import LabelingJob
from .quality import summarize
from .report import write_report
from .shards import read_detections, read_truncated, read_unreadable
from .thresholds import of_each_class, reach

logger = logging.getLogger(__name__)


def merge_shards(job: LabelingJob, cfg, num_shards: int) -> None:
    """Write `job.output` and its report, then remove the shards: a run that is killed before the
    last of these merges them again.

    In memory are the pseudo-labels, not the detections, of which there are ten times as many.

    Args:
        cfg: the teacher's config.
    Raises:
        UserError: a shard is missing, too many images are unreadable, or nothing is left to write.
    """
    unreadable = job.unreadable | read_unreadable(job.shards, range(num_shards))
    unreadable = dict(sorted(unreadable.items()))
    job.check_unreadable(unreadable)
    score_counts = np.zeros(SCORE_UNITS + 1, np.int64)
    image_counts = np.zeros(len(job.images), np.int32)
    for detections in read_detections(job.shards, num_shards):
        np.add.at(score_counts, detections["score"], 1)
        np.add.at(image_counts, detections["image"], 1)
    floor_key = keys_of(cfg).score_threshold
    floor = value_of(cfg, floor_key)
    num_detections = image_counts.sum()
    if not num_detections:
        raise UserError(
            f"the teacher finds nothing above its score floor {floor} in any image: check its "
            f"weights (train_net.py --check-teacher) or lower {floor_key}"
        )
    threshold = job.calibration["threshold"]
    if threshold is None:
        num_images = len(job.images) - len(unreadable)
        threshold = calibrate_threshold(score_counts, num_images, job.calibration["target_mean"])
    thresholds = of_each_class(threshold, job.class_names)
    pseudo_labels, above_counts = [], np.zeros(len(job.images), np.int32)
    for detections in read_detections(job.shards, num_shards):
        pseudo_labels.append(detections[reach(detections, thresholds)])
        above = scores(detections) >= thresholds.min()
        np.add.at(above_counts, detections["image"][above], 1)
    pseudo_labels = np.concatenate(pseudo_labels)
    if not len(pseudo_labels):
        highest = np.flatnonzero(score_counts)[-1] / SCORE_UNITS
        file = job.calibration.get("class_thresholds")
        given = f"--class-thresholds {file}" if file else f"--threshold {threshold}"
        raise UserError(
            f"{given} keeps none of the {num_detections} detections, the highest score is {highest}"
        )
    # Stable: those of an image stay in their order, by falling score.
    pseudo_labels = pseudo_labels[np.argsort(pseudo_labels["image"], kind="stable")]
    info = {
        "description": "Pseudo-labels: a teacher's detections above a score threshold",
        "teacher_config": job.config_file,
        "teacher_options": job.opts,
        "teacher_weights": job.weights,
        "teacher_weights_sha256": job.weights_sha256,
        "threshold": threshold,
        "calibration": job.calibration,
    }
    write_pseudo_labels(job.output, job.images, job.categories, pseudo_labels, info)
    logger.info(f"wrote {job.output}")
    report = summarize(
        job,
        pseudo_labels,
        threshold,
        unreadable,
        truncated=read_truncated(job.shards, range(num_shards)),
        score_counts=score_counts,
        image_counts=image_counts,
        above_counts=above_counts,
        floor=floor,
        floor_key=floor_key,
        cap=cfg.TEST.DETECTIONS_PER_IMAGE,
    )
    write_report(job, pseudo_labels, report)
    remove_folder(job.shards)
