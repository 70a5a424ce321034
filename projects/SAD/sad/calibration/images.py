"""The images that a teacher is judged by, and the unlabelled ones it is asked about."""

import logging
import os
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

import numpy as np
from detectron2.data import MetadataCatalog

from ..data.categories import in_order
from ..data.coco_boxes import Limits
from ..data.coco_json import CocoJson
from ..data.image_files import find_images
from ..data.images import ImageError, read_size
from ..data.leaks import find_leaks, labeled_and_tested, left_out
from ..utils.errors import UserError
from ..utils.files import check_inside

logger = logging.getLogger(__name__)


class HeldOut(NamedTuple):
    """Labelled images that the teacher was not trained on."""

    images: list[dict]  # N dicts with image_id, file_name (a path), height and width
    labels: list[dict]  # COCO annotations of them, crowds included
    categories: list[dict]  # of the file, in the order of the teacher's classes
    trained_on: int  # images of the file that are left out

    def only(self, images: list[dict]) -> "HeldOut":
        """Some of the images, with their labels."""
        ids = {image["image_id"] for image in images}
        labels = [label for label in self.labels if label["image_id"] in ids]
        return self._replace(images=images, labels=labels)


class Unlabeled(NamedTuple):
    images: list[dict]  # dicts with file_name (a path), height and width
    total: int  # unlabelled images there are, of which these were drawn
    left_out: int  # images of the list that are labelled or tested on
    unreadable: dict[str, str]  # path -> why its header cannot be read


def read_held_out(cfg, json_file: str, image_root: str, labeled_json: str, names) -> HeldOut:
    """Read the validation set; images that the teacher was trained on are left out.

    Args:
        cfg: the teacher's config, its sets registered: DATASETS.TRAIN is what it was trained on.
        labeled_json: the labelled set, which it was trained on as well.
        names: the teacher's classes, in the order of its logits.
    Raises:
        UserError: see `CocoJson`; also when the classes are others, the folder is missing, or no
            box is left.
    """
    if not os.path.isdir(image_root):
        raise UserError(f"image folder {image_root} of {json_file} does not exist")
    file = CocoJson(json_file)
    categories = in_order(file.categories, names, file.where)
    images = [
        {
            "image_id": entry["id"],
            "file_name": os.path.join(image_root, entry["file_name"]),
            "height": int(entry["height"]),
            "width": int(entry["width"]),
        }
        for entry in sorted(file.images(), key=lambda entry: entry["id"])
    ]
    for image in images:
        check_inside(image_root, image["file_name"], file.where)
    known = _trained_on(cfg, json_file, image_root, labeled_json)
    trained = find_leaks([image["file_name"] for image in images], known)
    if trained:
        logger.warning(
            f"{len(trained)} of {len(images)} images of {file.where} are among those that the "
            "teacher was trained on, and are left out"
        )
    if len(trained) == len(images):
        raise UserError(
            f"the teacher was trained on all images of {json_file}: give held-out ones, which it "
            "has not seen"
        )
    images = [image for number, image in enumerate(images) if number not in trained]
    sizes = {image["image_id"]: (image["width"], image["height"]) for image in images}
    limits = Limits(cfg.DATASETS.MAX_BOXES_OUTSIDE, cfg.DATASETS.MAX_BOXES_UNDER_A_PIXEL)
    labels = list(file.labels(sizes, limits))
    if not any(not label["iscrowd"] for label in labels):
        raise UserError(
            f"{file.where} has no boxes to measure the teacher by: {file.why_no_boxes()}"
        )
    return HeldOut(images, labels, categories, len(trained))


def _trained_on(cfg, json_file: str, image_root: str, labeled_json: str) -> dict[str, list[str]]:
    """{set or json that the teacher was trained on: paths of its images}."""
    jsons = [MetadataCatalog.get(name).get("json_file") for name in cfg.DATASETS.TRAIN]
    if os.path.realpath(json_file) in {os.path.realpath(x) for x in [*jsons, labeled_json] if x}:
        raise UserError(
            f"the teacher was trained on {json_file}: give a json of held-out images, which it "
            "has not seen"
        )
    names = {*cfg.DATASETS.TRAIN, os.path.realpath(labeled_json)}
    known = labeled_and_tested(cfg, image_root, json_file, labeled_json)
    return {name: paths for name, paths in known.items() if name in names}


def draw_unlabeled(
    cfg, image_root: str, image_json: str | None, labeled_json: str, held_out, limit: int, seed: int
) -> Unlabeled:
    """As many unlabelled images, drawn by lot, without those that are labelled or tested on.

    Args:
        image_root, image_json: all images below the folder, or those of the json in it.
        held_out: {name of a set: paths of its images} that are left out as well.
        limit: most images to draw.
    Raises:
        UserError: there are none, none can be read, or the folder or json cannot be.
    """
    if not os.path.isdir(image_root):
        raise UserError(f"image folder {image_root} does not exist")
    if image_json:
        entries = list(CocoJson(image_json, whole=False).images())
    else:
        entries = [{"file_name": name} for name in find_images(image_root)]
    paths = [os.path.join(image_root, entry["file_name"]) for entry in entries]
    if image_json:
        for path in paths:
            check_inside(image_root, path, image_json)
    known = labeled_and_tested(cfg, image_root, image_json, labeled_json) | held_out
    out = left_out(paths, known, image_json or image_root)
    rest = np.setdiff1d(np.arange(len(paths)), list(out))
    drawn = np.sort(np.random.default_rng(seed).permutation(rest)[:limit]).tolist()

    def size(position: int) -> tuple[int, int] | str:
        entry = entries[position]
        if "width" in entry:
            return int(entry["width"]), int(entry["height"])
        try:
            return read_size(paths[position], cfg.DATALOADER.MAX_IMAGE_PIXELS)
        except ImageError as error:
            return str(error)

    with ThreadPool(16) as pool:
        sizes = dict(zip(drawn, pool.map(size, drawn), strict=True))
    images = [
        {"file_name": paths[position], "width": found[0], "height": found[1]}
        for position, found in sizes.items()
        if not isinstance(found, str)
    ]
    unreadable = {paths[p]: found for p, found in sizes.items() if isinstance(found, str)}
    if not images:
        path, why = next(iter(unreadable.items()))
        raise UserError(
            f"none of {len(drawn)} images of {image_root} can be read; the first is {path} ({why})"
        )
    return Unlabeled(images, len(rest), len(out), unreadable)
