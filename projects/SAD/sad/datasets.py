"""Registration of data sets and the checks that COCO json files need before training."""

import json
import logging
import os
from contextlib import contextmanager

from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.datasets import load_coco_json
from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

from .coco_json import check_content
from .errors import UserError, did_you_mean, reason
from .files import inside
from .image_files import check_images
from .images import MAX_PIXELS

logger = logging.getLogger(__name__)

# Below $DETECTRON2_DATASETS, name -> (json, image folder): COCO's un-120, which Detectron2 does not
# register, and the digit scenes of scripts/make_digits.py.
BUILTIN = {
    "coco_2017_unlabeled": ("coco/annotations/image_info_unlabeled2017.json", "coco/unlabeled2017"),
    "digits_labeled": ("digits/annotations/labeled.json", "digits/labeled"),
    "digits_unlabeled": ("digits/annotations/image_info_unlabeled.json", "digits/unlabeled"),
    "digits_tune": ("digits/annotations/tune.json", "digits/tune"),
    "digits_minival": ("digits/annotations/minival.json", "digits/minival"),
}


def data_path(path: str) -> str:
    """An absolute path as it is, a relative one below $DETECTRON2_DATASETS (default ./datasets)."""
    root = os.path.expanduser(os.environ.get("DETECTRON2_DATASETS", "datasets"))
    return os.path.join(root, os.path.expanduser(path))


def register_coco_set(name: str, json_file: str, image_root: str) -> None:
    """Register a COCO json under `name`; a second registration replaces the first.

    As detectron2's register_coco_instances, with `score` kept and boxes cleaned on loading.
    """
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: load_coco_set(name, json_file, image_root))
    MetadataCatalog.get(name).set(json_file=json_file, image_root=image_root, evaluator_type="coco")


def load_coco_set(name: str, json_file: str, image_root: str) -> list[dict]:
    """Read a COCO json (with or without annotations) into Detectron2's dicts.

    Boxes are clipped to their image and left out when nothing remains; both are counted and logged.

    Raises:
        UserError: the json or the image folder is missing, or the json is broken or empty, or lists
            a file outside the folder.
    """
    _check_paths(name, json_file, image_root)
    try:
        with PathManager.open(json_file) as file:
            check_content(json.load(file, object_hook=_without_polygons))
        dicts = load_coco_json(json_file, image_root, name, extra_annotation_keys=["score"])
        clipped, dropped = _clean_boxes(dicts)
    except json.JSONDecodeError as error:
        raise UserError(
            f"data set {name}: {json_file} is no whole json ({error}); write or copy it again"
        ) from error
    except Exception as error:  # Detectron2 and pycocotools raise anything
        raise UserError(
            f"data set {name}: {json_file} is not in COCO's format ({reason(error)})"
        ) from error
    if not dicts:
        raise UserError(f"data set {name}: {json_file} lists no images")
    for image in dicts:
        if not inside(image_root, image["file_name"]):
            raise UserError(
                f"data set {name}: {json_file} lists {_short(image['file_name'])}, which lies "
                f"outside {image_root}; move the image there, or link to it, and mend its file_name"
            )
    if clipped or dropped:
        logger.warning(
            f"data set {name}: {clipped} boxes clipped to their image, "
            f"{dropped} boxes without area left out"
        )
    return dicts


def _without_polygons(item: dict) -> dict:
    """Three quarters of COCO's annotations, which `check_content` would only keep in memory."""
    item.pop("segmentation", None)
    return item


def _short(path: str) -> str:
    """A name may be as long as whoever wrote the json liked."""
    return path if len(path) <= 200 else f"{path[:100]}...{path[-97:]}"


def _clean_boxes(dicts: list[dict]) -> tuple[int, int]:
    """Clip boxes to their image, leave out those without area; how many of each."""
    clipped = dropped = 0
    for image in dicts:
        kept = []
        for annotation in image["annotations"]:
            # Plain arithmetic: BoxMode.convert takes 20 us a box, and train2017 has 860,000.
            x0, y0, width, height = annotation["bbox"]
            x1, y1 = x0 + width, y0 + height
            inside = (
                min(max(x0, 0), image["width"]),
                min(max(y0, 0), image["height"]),
                min(max(x1, 0), image["width"]),
                min(max(y1, 0), image["height"]),
            )
            if not (inside[2] > inside[0] and inside[3] > inside[1]):  # also when a value is NaN
                dropped += 1
                continue
            if inside != (x0, y0, x1, y1):
                clipped += 1
                annotation["bbox"], annotation["bbox_mode"] = list(inside), BoxMode.XYXY_ABS
            kept.append(annotation)
        image["annotations"] = kept
    return clipped, dropped


def register_from_config(cfg) -> None:
    """Register the sets under DATASETS.REGISTER and check that every set the config names is known.

    Raises:
        UserError: an entry lacks JSON or IMAGES, or a name is not registered.
    """
    for name, entry in cfg.DATASETS.REGISTER.items():
        given = entry if isinstance(entry, dict) else {}
        missing = [key for key in ("JSON", "IMAGES") if not given.get(key)]
        if missing:
            raise UserError(f"DATASETS.REGISTER.{name} lacks {' and '.join(missing)}")
        register_coco_set(name, data_path(entry["JSON"]), data_path(entry["IMAGES"]))
    for key in ("TRAIN", "UNLABELED", "TEST"):
        for name in cfg.DATASETS[key]:
            if name not in DatasetCatalog:
                raise UserError(
                    f"DATASETS.{key} names {name!r}, which is no registered data set: "
                    f"{nearest_set(name)}"
                )


def nearest_set(name: str) -> str:
    """What to do about a name that is not registered."""
    nearest = did_you_mean(name, DatasetCatalog.list())
    return f"add DATASETS.REGISTER.{name} with JSON and IMAGES{nearest}"


def check_files(names) -> None:
    """Also sets that Detectron2 itself registers, COCO's say, must be there.

    Raises:
        UserError: naming the data set and the file or folder that is missing.
    """
    for name in names:
        metadata = MetadataCatalog.get(name)
        _check_paths(name, metadata.get("json_file"), metadata.get("image_root"))


def _check_paths(name: str, json_file: str | None, image_root: str | None) -> None:
    for what, path in (("annotation file", json_file), ("image folder", image_root)):
        if path and not PathManager.exists(path):
            raise UserError(
                f"data set {name}: {what} {path} does not exist; "
                "relative paths start at $DETECTRON2_DATASETS (default ./datasets)"
            )


def read_sets(names, max_pixels: float = MAX_PIXELS) -> list[dict]:
    """The images of registered data sets, with and without boxes.

    Args:
        max_pixels: see DATALOADER.MAX_IMAGE_PIXELS.
    Raises:
        UserError: naming the set that cannot be read, or lacks images, and why.
    """
    images = []
    for name in names:
        with _named(name):
            of_set = get_detection_dataset_dicts(
                [name], filter_empty=False, check_consistency=False
            )
        check_images(name, MetadataCatalog.get(name).get("json_file"), of_set, max_pixels)
        images += of_set
    return images


@contextmanager
def _named(name: str):
    """Sets that Detectron2 registers are read by its own code, and that raises anything."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"data set {name} cannot be read ({reason(error)})") from error


def check_test_sets(cfg) -> None:
    """Catch before training what would only stop the evaluation after it.

    Raises:
        UserError: a set of DATASETS.TEST is broken, has other classes than DATASETS.TRAIN, or its
            annotations lack a number that COCO's evaluation reads.
    """
    train = cfg.DATASETS.TRAIN[0]
    check_files(cfg.DATASETS.TEST)
    for name in cfg.DATASETS.TEST:
        check_test_set(name, cfg.DATALOADER.MAX_IMAGE_PIXELS)
        of_test, of_train = (MetadataCatalog.get(n).thing_classes for n in (name, train))
        if list(of_test) != list(of_train):
            raise UserError(f"data sets {train} and {name} have other classes")


def check_test_set(name: str, max_pixels: float) -> None:
    """
    Raises:
        UserError: see `read_sets`; also for a lack of a number that COCO's evaluation reads.
    """
    read_sets([name], max_pixels)
    json_file = MetadataCatalog.get(name).get("json_file")
    if not json_file:
        return
    with open(json_file) as file:
        annotations = json.load(file).get("annotations", ())
    lacking = [
        key
        for key in ("area", "iscrowd")
        if any(not isinstance(a.get(key), (int, float)) for a in annotations)
    ]
    if lacking:
        raise UserError(
            f"data set {name}: annotations of {json_file} lack {' and '.join(lacking)} as "
            "numbers, which COCO's evaluation reads"
        )


for _name, (_json, _images) in BUILTIN.items():
    register_coco_set(_name, data_path(_json), data_path(_images))
