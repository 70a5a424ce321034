"""What is to be labelled, read and checked before any inference."""

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from detectron2.utils.file_io import PathManager
from PIL import ExifTags, Image
from tqdm import tqdm

from . import pseudo_labels
from .config import get_sad_cfg
from .errors import UserError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass
class LabelingJob:
    """All that a process needs to know. `prepare` makes it and checks it before any inference."""

    config_file: str
    weights: str
    weights_sha256: str
    opts: list[str]
    image_root: str
    images: list[dict]  # COCO entries; one whose size could not be read has no width and height
    unreadable: dict[int, str]  # position in images -> reason, as far as known before inference
    categories: list[dict]  # in the teacher's class order
    labels: list[dict] | None  # annotations of these very images by people, if there are any
    calibration: dict  # threshold (None: to be calibrated), target_mean, labeled_json, ...
    output: str
    batch_size: int
    max_unreadable: float

    def path(self, position: int) -> str:
        return os.path.join(self.image_root, self.images[position]["file_name"])

    def check_unreadable(self, unreadable: dict[int, str]) -> None:
        """Raises: UserError, when these are more images than `max_unreadable` allows."""
        if len(unreadable) > self.max_unreadable * len(self.images):
            position, reason = min(unreadable.items())
            raise UserError(
                f"{len(unreadable)} of {len(self.images)} images cannot be read, which is over "
                f"the share of {self.max_unreadable} that --max-unreadable allows; "
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
    batch_size: int = 8,
    max_unreadable: float = 0.01,
    opts=(),
) -> LabelingJob:
    """Read the lists and check everything that can be wrong before inference.

    Args:
        config_file, weights, opts: the teacher, see `sad.teacher.load_retinanet`.
        image_root: folder of the images; without `image_json` all images below it are labelled.
        image_json: image-info json (no annotations) or COCO json. With annotations, the hard
            targets are measured against them.
        labeled_json: labelled set; gives the classes and, unless one of the next two is given,
            the mean number of instances per image (over all its images, also those with none).
        target_mean, threshold: wanted mean of instances per image, or the score threshold itself.
        max_unreadable: the run stops when more than this share of the images cannot be read.
    Raises:
        UserError: whatever is missing, broken or does not fit.
    """
    if labeled_json is None and target_mean is None and threshold is None:
        raise UserError(
            "no labelled set is given to calibrate the score threshold with: give --labeled-json "
            "or --labeled-dataset, or --mean-instances or --threshold by hand"
        )
    coco, unreadable = _list_images(image_root, image_json)
    images, labels = coco["images"], coco.get("annotations")
    labeled = pseudo_labels.read_coco(labeled_json) if labeled_json else coco
    source = labeled_json or image_json or image_root
    categories = labeled.get("categories")
    if not categories:
        raise UserError(f"{source} names no classes: give --labeled-json, its categories are used")
    num_classes = get_sad_cfg(config_file, opts).MODEL.RETINANET.NUM_CLASSES
    if len(categories) != num_classes:
        raise UserError(
            f"{source} has {len(categories)} classes, but the teacher of {config_file} has "
            f"{num_classes} (MODEL.RETINANET.NUM_CLASSES)"
        )
    if labels is not None:
        labels = _with_category_ids(labels, coco["categories"], categories, image_json, source)
    calibration = {"threshold": threshold, "target_mean": target_mean}
    if target_mean is None and threshold is None:
        num_instances = pseudo_labels.count_instances(labeled)
        if not num_instances:
            raise UserError(f"{labeled_json} has no annotated instances to calibrate with")
        calibration["labeled_json"] = labeled_json
        calibration["labeled_images"] = len(labeled["images"])
        calibration["labeled_instances"] = num_instances
        calibration["target_mean"] = num_instances / len(labeled["images"])
    job = LabelingJob(
        config_file,
        weights,
        _sha256(weights),
        list(opts),
        image_root,
        images,
        unreadable,
        categories,
        labels,
        calibration,
        output,
        batch_size,
        max_unreadable,
    )
    for position, reason in unreadable.items():
        logger.warning(f"skipping {job.path(position)}: {reason}")
    job.check_unreadable(unreadable)
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    return job


def _list_images(image_root: str, image_json: str | None) -> tuple[dict, dict[int, str]]:
    """The images in COCO's format, and why some of them cannot be read."""
    if not os.path.isdir(image_root):
        raise UserError(f"image folder {image_root} does not exist")
    if image_json:
        coco = pseudo_labels.read_coco(image_json)
        names = [image["file_name"] for image in coco["images"]]
        return coco, {
            position: "no such file"
            for position, name in enumerate(names)
            if not os.path.isfile(os.path.join(image_root, name))
        }
    names = sorted(
        os.path.relpath(os.path.join(folder, name), image_root)
        for folder, _, files in os.walk(image_root)
        for name in files
        if name.lower().endswith(IMAGE_SUFFIXES)
    )
    if not names:
        raise UserError(f"there are no images in {image_root} ({', '.join(IMAGE_SUFFIXES)})")
    images = [{"id": number, "file_name": name} for number, name in enumerate(names, start=1)]
    unreadable = {}
    with ThreadPoolExecutor() as pool:
        sizes = pool.map(_image_size, [os.path.join(image_root, name) for name in names])
        for position, size in enumerate(tqdm(sizes, "reading sizes", len(names), leave=False)):
            if isinstance(size, str):
                unreadable[position] = size
            else:
                images[position]["width"], images[position]["height"] = size
    return {"images": images}, unreadable


def _image_size(path: str) -> tuple[int, int] | str:
    """(width, height) after the EXIF rotation that Detectron2 applies too, or what is wrong."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except Exception as error:  # decoders raise anything, from OSError to struct.error
        return reason(error)
    return (height, width) if turned else (width, height)


def reason(error: Exception) -> str:
    """An error of a decoder, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _with_category_ids(labels, own, categories, image_json, source) -> list[dict]:
    """People's annotations with the ids that the hard targets will have; names must agree."""
    if [category["name"] for category in own] != [category["name"] for category in categories]:
        raise UserError(f"{image_json} has annotations of other classes than {source}")
    new_id = {old["id"]: category["id"] for old, category in zip(own, categories, strict=True)}
    try:
        return [
            {
                "image_id": label["image_id"],
                "category_id": new_id[label["category_id"]],
                "bbox": label["bbox"],
                "iscrowd": label.get("iscrowd", 0),
            }
            for label in labels
        ]
    except KeyError as error:
        raise UserError(f"{image_json} has annotations of category {error}, not listed") from error


def _sha256(weights: str) -> str:
    try:
        with open(PathManager.get_local_path(weights), "rb") as file:  # downloads, if it is a URL
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"the teacher's weights {weights} cannot be opened: {error}") from error
