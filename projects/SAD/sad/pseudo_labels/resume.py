"""An interrupted labelling goes on: which of the detections it left are those of this job.

A job's folder holds a record of all that detections depend on, beside the images and the shards.
The score threshold is not part of it: that is applied when the shards are merged.
"""

import hashlib
import json
import logging
import os
import re

import detectron2
import numpy as np
import PIL
import torch
import torchvision
import yaml

from ..config.identity import timm_version
from ..utils.errors import UserError
from ..utils.files import LOCK, lock_folder, write_json
from .image_table import ENTRIES
from .shards import is_whole

logger = logging.getLogger(__name__)

FORMAT = 3  # of the shards and of how a teacher is asked; another one, and shards are made again
RECORD = "job.json"
SHARD = re.compile(r"shard_\d+\.npz")
LEFTOVER = re.compile(r"\.(shard_\d+\.npz|job\.json)\..*")  # of `atomic_write`, when killed
OWN_FILES = re.compile(
    rf"images\.(jsonl|npy)|job\.json|{re.escape(LOCK)}|{SHARD.pattern}|{LEFTOVER.pattern}"
)


def open_folder(folder: str) -> None:
    """Make the folder of a job, or take over that of an interrupted one.

    Raises:
        UserError: there are files in it that no job has written, or a job is at work in it.
    """
    os.makedirs(folder, exist_ok=True)
    foreign = [name for name in os.listdir(folder) if not OWN_FILES.fullmatch(name)]
    if foreign:
        raise UserError(
            f"{folder}, where the processes' detections go, holds {foreign[0]}: move it away, "
            "or give another --output"
        )
    lock_folder(folder, "--output: its folder")
    _remove(folder, LEFTOVER)


def record_job(job, cfg) -> None:
    """Note in the job's folder what its detections depend on; shards made otherwise are removed.

    Args:
        job: sad.pseudo_labels.job.LabelingJob, its images listed.
        cfg: the teacher's config.
    """
    images = hashlib.sha256(job.images.index.tobytes())
    with open(os.path.join(job.shards, ENTRIES), "rb") as file:
        images.update(hashlib.file_digest(file, "sha256").digest())
    record = {
        "format": FORMAT,
        "versions": {m.__name__: m.__version__ for m in (torch, torchvision, detectron2, PIL)}
        | {"timm": timm_version()},
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "weights": job.weights_sha256,
        "image folder": os.path.abspath(job.image_root),
        "list of images": images.hexdigest(),
        "batch size": "as in training" if job.keep_for else job.batch_size,
        "kept for": list(job.keep_for),
        "precision": cfg.SAD.TEACHER.PRECISION,
        "views": [list(job.views.scales), job.views.flip],
        # Those of the config that inference reads; the number of readers, say, may change.
        **{key: yaml.safe_load(cfg[key].dump()) for key in ("MODEL", "INPUT", "TEST")},
    }
    path = os.path.join(job.shards, RECORD)
    before = None
    if os.path.exists(path):
        with open(path) as file:
            before = json.load(file)
    if before == record:
        return
    # The shards first: a job that is killed here must not find them under the new record.
    if _remove(job.shards, SHARD):
        other = [key for key in record if not before or before.get(key) != record[key]]
        logger.warning(
            f"the detections of an interrupted run in {job.shards} are of another job and begin "
            f"anew; what differs: {', '.join(other)}"
        )
    write_json(path, record, indent=2)


def find_done(job, shards: list[list[np.ndarray]]) -> list[int]:
    """The numbers of the planned shards that an interrupted run of this job has left whole.

    An image counts as another one when its file has another size.
    """
    done = [
        number
        for number, batches in enumerate(shards)
        if is_whole(job.shards, number, job.files(np.concatenate(batches)))
    ]
    if done:
        num_images = sum(len(batch) for number in done for batch in shards[number])
        logger.info(
            f"{num_images} of {len(job.images)} images are labelled already: going on with the "
            f"detections in {job.shards}"
        )
    return done


def _remove(folder: str, pattern: re.Pattern) -> int:
    """Delete the files of such names; how many there were."""
    names = [name for name in os.listdir(folder) if pattern.fullmatch(name)]
    for name in names:
        os.unlink(os.path.join(folder, name))
    return len(names)
