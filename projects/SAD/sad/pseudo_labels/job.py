"""What is to be labelled, read and checked before any inference."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ..config.load import get_sad_cfg
from ..data.categories import in_order
from ..data.classes import given_names
from ..data.coco_boxes import Limits
from ..data.coco_json import count_instances
from ..data.images import allowed_unreadable
from ..data.leaks import labeled_and_tested, left_out
from ..modeling.build import load_detector
from ..utils.errors import UserError
from ..utils.files import make_folder, remove_folder, sha256
from .image_table import ImageTable, list_folder, list_json
from .keeping import check_keeping
from .resume import open_folder, record_job
from .thresholds import read_thresholds, wanted_mean
from .views import NO_OTHERS, Views, check_views

logger = logging.getLogger(__name__)


@dataclass
class LabelingJob:
    """All that a process needs to know. `prepare` makes it and checks it before any inference.

    Small, however long the list of images is: that lies in `shards`, the folder beside `output`
    that the processes also leave their detections in.
    """

    config_file: str
    weights: str
    weights_sha256: str
    opts: list[str]
    class_names: list[str]  # of the teacher, in the order of its logits
    image_root: str
    images: ImageTable
    unreadable: dict[int, str]  # position in images -> reason, as far as known before inference
    categories: list[dict]  # one for each of class_names
    left_out: int  # images that are labelled or tested on, and not listed
    labels_json: str | None  # annotations of these very images by people, if there are any
    calibration: dict  # threshold (None: to be calibrated; or one by class), target_mean, ...
    output: str
    batch_size: int
    max_unreadable: float
    views: Views
    keep_for: Sequence[str]  # see `check_keeping`; empty where nothing is kept

    @property
    def shards(self) -> str:
        return self.images.folder

    def path(self, position: int) -> str:
        return os.path.join(self.image_root, self.images[position]["file_name"])

    def files(self, positions: np.ndarray) -> np.ndarray:
        """(N, 2): these positions, and how many bytes each image's file has (-1: it is absent)."""
        names = (entry["file_name"] for entry in self.images.entries(positions))
        sizes = [_bytes(os.path.join(self.image_root, name)) for name in names]
        return np.stack([positions, np.array(sizes, np.int64)], axis=1)

    def check_unreadable(self, unreadable: dict[int, str]) -> None:
        """Raises: UserError, when these are more images than `max_unreadable` allows, or all."""
        allowed = min(
            allowed_unreadable(self.max_unreadable, len(self.images)), len(self.images) - 1
        )
        if len(unreadable) > allowed:
            position, reason = min(unreadable.items())
            raise UserError(
                f"{len(unreadable)} of {len(self.images)} images cannot be read, more than "
                f"--max-unreadable {self.max_unreadable:g} allows; "
                f"the first is {self.path(position)} ({reason})"
            )


def prepare(
    config_file: str,
    weights: str,
    image_root: str,
    output: str,
    *,
    image_json: str | None = None,
    labeled_json: str | None = None,
    target_mean: float | None = None,
    threshold: float | None = None,
    class_thresholds: str | None = None,
    labeled_share: tuple[float, int] = (1.0, 0),
    batch_size: int = 8,
    max_unreadable: float = 0.01,
    views: Views = NO_OTHERS,
    keep_for: Sequence[str] = (),
    opts=(),
    class_names=(),
) -> LabelingJob:
    """Read the lists and check everything that can be wrong before inference.

    Args:
        config_file, weights, opts: see `sad.modeling.build.load_detector`.
        class_names: see SAD.TEACHER.CLASS_NAMES.
        image_root: folder of the images; without `image_json` all images below it are labelled.
        output: the json to write. Beside it come the report and, while the job runs, a folder for
            the processes' detections, which all machines must see. What an interrupted run of the
            same job has left there is kept.
        image_json: image-info json (no annotations) or COCO json. With annotations, the
            pseudo-labels are measured against them.
        labeled_json: labelled set; gives the categories and, unless one of the next is given,
            the mean number of instances per image (over all its images, also those with none).
            Its categories are matched with the teacher's classes by name. Its images are not
            labelled again, nor are those of the config, see `labeled_and_tested`.
        labeled_share: DATASETS.LABELED_SHARE and its seed: the mean is that of these images only.
        target_mean, threshold: wanted mean of instances per image, or the score threshold itself.
        class_thresholds: a json of the score threshold of each class, see `read_thresholds`.
        max_unreadable: the run stops when more than this share of the images cannot be read; see
            `sad.data.images.allowed_unreadable`.
        views: in which the teacher is shown each image.
        keep_for: a yaml, and KEY VALUE pairs: of a training that keeps its teacher's answers. What
            it would ask of these images is kept for it, and decides on the batches.
    Raises:
        UserError: whatever is missing, broken or does not fit.
    """
    if (labeled_json, target_mean, threshold, class_thresholds) == (None,) * 4:
        raise UserError(
            "no labelled set is given to calibrate the score threshold with: give --labeled-json "
            "or --labeled-dataset, or --mean-instances, --threshold or --class-thresholds by hand"
        )
    if not os.path.isdir(image_root):
        raise UserError(f"image folder {image_root} does not exist")
    if os.path.isdir(output):
        raise UserError(f"--output {output} is a folder: name the json to write in it")
    names, limits = _teacher(config_file, weights, opts, given_names(class_names))
    own, own_instances = count_instances(image_json, limits) if image_json else (None, {})
    labeled, instances = count_instances(labeled_json, limits) if labeled_json else (own, {})
    has_labels = any(own_instances.values())
    categories = _categories([labeled or own, own if has_labels else None], names)
    calibration = {"threshold": threshold, "target_mean": target_mean}
    if class_thresholds is not None:
        calibration["threshold"] = read_thresholds(class_thresholds, names)
        calibration["class_thresholds"] = class_thresholds
    elif target_mean is None and threshold is None:
        calibration |= wanted_mean(labeled, instances, *labeled_share)
    weights_sha256 = _sha256(weights)
    cfg = get_sad_cfg(config_file, opts)
    check_views(views, cfg)
    if keep_for and not check_keeping(keep_for, cfg, weights_sha256):
        keep_for = ()
    known = labeled_and_tested(cfg, image_root, image_json, labeled_json)
    with _folder_of_shards(output) as shards:
        images, unreadable, num_left_out = _list_images(shards, image_root, image_json, known, cfg)
        job = LabelingJob(
            config_file,
            weights,
            weights_sha256,
            list(opts),
            names,
            image_root,
            images,
            unreadable,
            categories,
            num_left_out,
            image_json if has_labels else None,
            calibration,
            output,
            batch_size,
            max_unreadable,
            views,
            tuple(keep_for),
        )
        job.check_unreadable(unreadable)
    for position, reason in unreadable.items():
        logger.warning(f"skipping {job.path(position)}: {reason}")
    record_job(job, cfg)
    return job


def _teacher(config_file: str, weights: str, opts, class_names) -> tuple[list[str], Limits]:
    """The teacher's classes, and what its config allows of boxes."""
    teacher, cfg = load_detector(config_file, weights, "meta", opts, class_names)
    if not teacher.class_names:
        raise UserError(
            f"the teacher's weights {weights} do not name their classes: give --class-names, the "
            "names in the order of its logits"
        )
    limits = Limits(cfg.DATASETS.MAX_BOXES_OUTSIDE, cfg.DATASETS.MAX_BOXES_UNDER_A_PIXEL)
    return teacher.class_names, limits


def _categories(files: list, names: list[str]) -> list[dict]:
    """COCO's categories in the teacher's order: those of the first file that has any, or new ones.

    Raises:
        UserError: a file has other classes than the teacher.
    """
    files = [file for file in files if file and file.categories]
    ordered = [in_order(file.categories, names, file.where) for file in files]
    numbered = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    return ordered[0] if ordered else numbered


@contextmanager
def _folder_of_shards(output: str) -> Iterator[str]:
    """The folder of the processes' detections; a new one does not outlive a mistake."""
    make_folder(os.path.dirname(output) or ".", "--output in")
    shards = os.path.splitext(output)[0] + "_labelling"
    goes_on = os.path.isdir(shards)
    open_folder(shards)
    try:
        yield shards
    except UserError:
        if not goes_on:
            remove_folder(shards)
        raise


def _list_images(shards: str, image_root: str, image_json: str | None, known: dict, cfg):
    """(the images, why some are unreadable, how many are left out as labelled or tested on)."""
    out = set()

    def leave_out(paths):
        out.update(left_out(paths, known, image_json or image_root))
        return out

    if image_json:
        images, unreadable = list_json(shards, image_root, image_json, leave_out)
    else:
        max_pixels = cfg.DATALOADER.MAX_IMAGE_PIXELS
        images, unreadable = list_folder(shards, image_root, leave_out, max_pixels)
    return images, unreadable, len(out)


def _bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _sha256(weights: str) -> str:
    try:
        return sha256(weights)
    except OSError as error:
        raise UserError(f"the teacher's weights {weights} cannot be opened: {error}") from error
