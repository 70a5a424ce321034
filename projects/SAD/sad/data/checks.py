"""What must be true of data sets together, and of those that are evaluated on."""

from itertools import zip_longest

from detectron2.data import MetadataCatalog
from detectron2.utils import comm

from ..config.defaults import stops_early
from ..config.detector_keys import keys_of, value_of
from ..utils.errors import UserError
from .datasets import check_paths, read_sets
from .image_files import check_every_image


def check_files(names) -> None:
    """
    Raises:
        UserError: naming the data set and the file or folder that is missing.
    """
    for name in names:
        metadata = MetadataCatalog.get(name)
        check_paths(name, metadata.get("json_file"), metadata.get("image_root"))


def check_classes(cfg, names) -> None:
    """Of those data sets whose classes are known, as COCO's are before any file is read.

    Raises:
        UserError: the sets have different ones, or another number than the model.
    """
    of_sets = {name: list(MetadataCatalog.get(name).get("thing_classes", ())) for name in names}
    known = [name for name in names if of_sets[name]]
    for name in known:
        first = of_sets[known[0]]
        if of_sets[name] != first:
            other = next(pair for pair in zip_longest(first, of_sets[name]) if pair[0] != pair[1])
            raise UserError(
                f"data sets {known[0]} and {name} have other classes, the first of them "
                f"{other[0]!r} and {other[1]!r}"
            )
        key = keys_of(cfg).num_classes
        if len(first) != value_of(cfg, key):
            raise UserError(
                f"{key} is {value_of(cfg, key)}, it must be {len(first)}: data set {name} has so "
                "many classes"
            )


def check_test_sets(cfg) -> None:
    """Catch before training, or before the first image, what would only spoil the evaluation.

    Raises:
        UserError: a set of DATASETS.TEST is broken, has other classes than the model or than
            DATASETS.TRAIN, has annotations of which none is a box, or an image that cannot be read.
    """
    check_files(cfg.DATASETS.TEST)
    max_pixels = cfg.DATALOADER.MAX_IMAGE_PIXELS
    for name in cfg.DATASETS.TEST:
        images = read_sets([name], max_pixels)
        check_boxes(name, images)
        if comm.is_main_process():
            check_every_image(name, images, max_pixels)
    check_classes(cfg, (*cfg.DATASETS.TRAIN[:1], *cfg.DATASETS.TEST))


def check_deciding_set(cfg) -> None:
    """
    Raises:
        UserError: early stop is on, and the set whose AP it watches has no boxes.
    """
    if not stops_early(cfg):
        return
    name = cfg.DATASETS.TEST[0]
    if not any(map(has_boxes, read_sets([name], cfg.DATALOADER.MAX_IMAGE_PIXELS))):
        raise UserError(
            f"SOLVER.EARLY_STOP watches the AP on {name}, the first of DATASETS.TEST, which has no "
            "annotations: name one with annotations first, or give a PATIENCE of 0"
        )


def classes_of(name: str) -> list[str]:
    """
    Raises:
        UserError: nobody has named them.
    """
    if names := MetadataCatalog.get(name).get("thing_classes"):
        return list(names)
    raise UserError(
        f"data set {name} names no classes: give its json categories, or, where it is registered "
        f"in Python, MetadataCatalog.get({name!r}).thing_classes"
    )


def check_boxes(name: str, images: list[dict]) -> None:
    """Of a set to test on.

    Args:
        images: Detectron2's dicts of the set.
    Raises:
        UserError: there are annotations, or an empty list of them, but none is a box; or there are
            no categories, whose ids detections are written with.
    """
    classes_of(name)
    if not any(has_boxes(image) for image in images) and (why := why_no_boxes(name)):
        raise UserError(f"data set {name} holds no boxes: {why}")


def has_boxes(image: dict) -> bool:
    return count_boxes(image) > 0


def count_boxes(image: dict) -> int:
    """Those that training learns."""
    return sum(not annotation.get("iscrowd", 0) for annotation in image.get("annotations", ()))


def why_no_boxes(name: str) -> str:
    """What the annotations of a set that was read are; "" where it has no such section."""
    return MetadataCatalog.get(name).get("why_no_boxes", "there are no annotations")
