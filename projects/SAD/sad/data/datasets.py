"""Data sets by name: registration from the config, and COCO jsons as Detectron2's dicts."""

import logging
import os
from contextlib import contextmanager
from typing import NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

from ..config.defaults import MAX_PIXELS
from ..utils.errors import UserError, did_you_mean, reason
from ..utils.files import check_inside
from .categories import order_of
from .coco_boxes import Limits
from .coco_json import CocoJson
from .image_files import check_images

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


class ClassOrder(NamedTuple):
    """The names of a model's classes in the order of its logits, and whose they are."""

    names: list[str]
    source: str  # such as "MODEL.WEIGHTS model_final.pth", for sentences


def register_coco_set(
    name: str,
    json_file: str,
    image_root: str,
    order: ClassOrder | None = None,
    *,
    first: str | None = None,
    limits: Limits | None = None,
) -> None:
    """Register a COCO json under `name`; a second registration replaces the first.

    As detectron2's register_coco_instances, by our own reader.

    Args:
        order, limits: see `load_coco_set`.
        first: where no order is given, the set whose classes are followed once they are known.
    """
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)

    def load():
        return load_coco_set(name, json_file, image_root, order or known_order(first), limits)

    DatasetCatalog.register(name, load)
    metadata = MetadataCatalog.get(name)
    metadata.set(json_file=json_file, image_root=image_root, evaluator_type="coco")
    if order:
        metadata.set(thing_classes=list(order.names))


def known_order(name: str | None) -> ClassOrder | None:
    """The classes of a set that has been read or says them without; else None."""
    names = name and MetadataCatalog.get(name).get("thing_classes")
    return ClassOrder(list(names), f"data set {name}") if names else None


def load_coco_set(
    name: str,
    json_file: str,
    image_root: str,
    order: ClassOrder | None = None,
    limits: Limits | None = None,
) -> list[dict]:
    """Read a COCO json (with or without annotations) into Detectron2's dicts, by rising image id.

    Boxes are clipped to their image. What is left out is counted and logged; an image of which
    annotations were left out has their number under "unusable".

    Args:
        order: categories are numbered by their names in it. None numbers them by rising id.
        limits: see `sad.data.coco_boxes.Limits`.
    Raises:
        UserError: the json or the image folder is missing, or the json is broken or empty, holds
            no boxes in pixels, has other classes, or lists a file outside the folder.
    """
    check_paths(name, json_file, image_root)
    file = CocoJson(json_file, name)
    entries = sorted(file.images(), key=lambda image: image["id"])
    class_of = _number_classes(name, file, order)
    dicts = {image["id"]: _to_dict(name, file, image, image_root) for image in entries}
    sizes = {key: (image["width"], image["height"]) for key, image in dicts.items()}
    clipped = 0
    for label in file.labels(sizes, limits):
        annotation = {
            "iscrowd": label["iscrowd"],
            "bbox": label["bbox"],
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": class_of[label["category_id"]],
        }
        if "score" in label:
            annotation["score"] = label["score"]
        if corners := _clip(label["bbox"], *sizes[label["image_id"]]):
            clipped += 1
            annotation["bbox"], annotation["bbox_mode"] = corners, BoxMode.XYXY_ABS
        dicts[label["image_id"]]["annotations"].append(annotation)
    if not file.found["boxes"]:
        why = file.why_no_boxes() if file.has_annotations else ""
        MetadataCatalog.get(name).set(why_no_boxes=why)
    for image_id, count in file.unusable.items():
        dicts[image_id]["unusable"] = count
    if clipped or file.left_out():
        counts = [f"{clipped} boxes clipped to their image"] if clipped else []
        counts += [f"annotations left out: {', '.join(file.left_out())}"] if file.left_out() else []
        logger.warning(f"data set {name}: {'; '.join(counts)}")
    return list(dicts.values())


def _number_classes(name: str, file: CocoJson, order: ClassOrder | None) -> dict:
    """{category id: class}; the names go to the set's metadata."""
    ids = [category["id"] for category in file.categories]
    if not ids:  # a list of images
        return {}
    names = [category["name"] for category in file.categories]
    numbers = list(range(len(ids)))
    if order:
        numbers = order_of(names, list(order.names), file.where, order.source)
        names = list(order.names)
    class_of = dict(zip(ids, numbers, strict=True))
    MetadataCatalog.get(name).set(thing_classes=names, thing_dataset_id_to_contiguous_id=class_of)
    return class_of


def _to_dict(name: str, file: CocoJson, image: dict, image_root: str) -> dict:
    path = os.path.join(image_root, image["file_name"])
    check_inside(image_root, path, file.where)
    return {
        "file_name": path,
        "height": int(image["height"]),
        "width": int(image["width"]),
        "image_id": image["id"],
        "annotations": [],
    }


def _clip(box: list, width: int, height: int) -> list | None:
    """Corners within the image, of a box (x, y, width, height) that leaves it."""
    # Plain arithmetic: BoxMode.convert takes 20 us a box, and train2017 has 860,000.
    x, y, w, h = box
    if x >= 0 and y >= 0 and x + w <= width and y + h <= height:
        return None
    return [max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)]


def register_from_config(cfg, order: ClassOrder | None = None) -> None:
    """Register all sets that the config names, to be read by our own reader.

    Those under DATASETS.REGISTER, the built-in ones, and those that Detectron2 registers from a
    COCO json itself.

    Args:
        order: of the classes, see `sad.data.classes.class_order`; None leaves it to the first set.
    Raises:
        UserError: an entry lacks JSON or IMAGES, or a name is not registered.
    """
    limits = Limits(cfg.DATASETS.MAX_BOXES_OUTSIDE, cfg.DATASETS.MAX_BOXES_UNDER_A_PIXEL)
    first = next(iter(cfg.DATASETS.TRAIN), None)
    files = {name: tuple(map(data_path, paths)) for name, paths in BUILTIN.items()}
    for name, entry in cfg.DATASETS.REGISTER.items():
        given = entry if isinstance(entry, dict) else {}
        missing = [key for key in ("JSON", "IMAGES") if not given.get(key)]
        if missing:
            raise UserError(f"DATASETS.REGISTER.{name} lacks {' and '.join(missing)}")
        files[name] = data_path(entry["JSON"]), data_path(entry["IMAGES"])
    for key in ("TRAIN", "UNLABELED", "TEST"):
        for name in cfg.DATASETS[key]:
            if name not in files and name not in DatasetCatalog:
                raise UserError(
                    f"DATASETS.{key} names {name!r}, which is no registered data set: "
                    f"{nearest_set(name, files)}"
                )
            metadata = MetadataCatalog.get(name)
            if (
                name not in files
                and metadata.get("json_file")
                and (metadata.get("evaluator_type") == "coco")
            ):  # Detectron2's own
                files[name] = metadata.get("json_file"), metadata.get("image_root")
                if name == first:
                    order = order or known_order(name)
    for name, paths in files.items():
        register_coco_set(name, *paths, order, first=first, limits=limits)


def nearest_set(name: str, others=()) -> str:
    """What to do about a name that is not registered."""
    nearest = did_you_mean(name, [*DatasetCatalog.list(), *others])
    return f"add DATASETS.REGISTER.{name} with JSON and IMAGES{nearest}"


def check_paths(name: str, json_file: str | None, image_root: str | None) -> None:
    """
    Raises:
        UserError: naming the data set and the file or folder that is missing.
    """
    for what, path in (("annotation file", json_file), ("image folder", image_root)):
        if path and not PathManager.exists(path):
            raise UserError(
                f"data set {name}: {what} {path} does not exist; "
                "relative paths start at $DETECTRON2_DATASETS (default ./datasets)"
            )


def read_sets(names, max_pixels: float = MAX_PIXELS) -> list[dict]:
    """The images of registered data sets, with and without boxes.

    The first set decides on the order of the classes where no weights did; the others follow it.

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
        if not MetadataCatalog.get(name).get("json_file"):
            _check_records(name, of_set)
        check_images(name, MetadataCatalog.get(name).get("json_file"), of_set, max_pixels)
        images += of_set
    return images


def _check_records(name: str, images: list[dict]) -> None:
    """That a set which is registered in Python is as Detectron2 wants it, where nobody else looks.

    Raises:
        UserError: naming the image and what is wrong with it.
    """
    classes = MetadataCatalog.get(name).get("thing_classes") or ()
    for image in images:
        where = f"data set {name}, image {image.get('file_name')}"
        for key in ("file_name", "image_id", "height", "width"):
            if key not in image:
                raise UserError(f"{where}: {key} is missing; give it in the function of the set")
        numbers = {item.get("category_id") for item in image.get("annotations", ())}
        wrong = [number for number in numbers if number not in range(len(classes))]
        if wrong and classes:  # sets that name no classes are refused where these are needed
            raise UserError(
                f"{where}: category_id is {wrong[0]}, it must be the place of one of the "
                f"{len(classes)} thing_classes, from 0 on"
            )


@contextmanager
def _named(name: str):
    """Sets that are registered in Python are read by the user's own code, which raises anything."""
    try:
        yield
    except Exception as error:
        if MetadataCatalog.get(name).get("json_file"):  # our own code, whose bugs are bugs
            raise
        raise UserError(f"data set {name} cannot be read ({reason(error)})") from error


for _name, (_json, _images) in BUILTIN.items():
    register_coco_set(_name, data_path(_json), data_path(_images))
