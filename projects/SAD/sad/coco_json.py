"""Reading COCO jsons: what must be in them, and item by item, never the whole file in memory."""

import math
import re
import reprlib
from collections import Counter
from collections.abc import Iterator

import ijson

from .errors import UserError

MAX_SIDE = 2**31 - 1  # pixels; what no image format exceeds
# Control characters and halves of surrogate pairs can neither be printed nor be in a file's name.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def _short(value) -> str:
    return reprlib.repr(value)[:80]


def _is_id(value) -> bool:
    return type(value) in (int, str)


def _is_text(value) -> bool:
    return type(value) is str and value != "" and not UNPRINTABLE.search(value)


def _is_side(value) -> bool:
    return type(value) in (int, float) and 0 < value <= MAX_SIDE and value % 1 == 0


def _is_box(value) -> bool:
    return type(value) is list and len(value) == 4 and all(type(v) in (int, float) for v in value)


ID, TEXT = (_is_id, "a whole number or a text"), (_is_text, "a text")
SIDE, BOX = (_is_side, "a number of pixels"), (_is_box, "a list of four numbers")
RULES = {  # of each section, what must be in an item
    "images": {"id": ID, "file_name": TEXT, "width": SIDE, "height": SIDE},
    "categories": {"id": ID, "name": TEXT},
    "annotations": {"image_id": ID, "category_id": ID, "bbox": BOX},
}


def check_item(section: str, item) -> None:
    """Raises: ValueError, when an item is not what COCO's format wants."""
    if type(item) is not dict:
        raise ValueError(f"{section} hold {_short(item)}")
    for key, (is_valid, what) in RULES[section].items():
        if key not in item:
            raise ValueError(f"{section}, id {_short(item.get('id'))}: {key} is missing")
        if not is_valid(item[key]):
            value = _short(item[key])
            raise ValueError(
                f"{section}, id {_short(item.get('id'))}: {key} is {value}, not {what}"
            )


def check_ids(section: str, ids: list) -> None:
    """Raises: ValueError, when an id is there twice, or some are numbers and some are texts."""
    if len(set(ids)) < len(ids):
        raise ValueError(f"the same id is given to several {section}")
    if len(set(map(type, ids))) > 1:
        raise ValueError(f"some ids of {section} are numbers and some are texts")


def check_content(content) -> None:
    """Check a COCO json that was read as a whole.

    Raises:
        ValueError: it is not in COCO's format.
    """
    if type(content) is not dict:
        raise ValueError("it is no object with images and categories")
    for section in RULES:
        items = content.get(section, [])
        if type(items) is not list:
            raise ValueError(f"{section} are {_short(items)}, not a list")
        for item in items:
            check_item(section, item)
        if section != "annotations":
            check_ids(section, [item["id"] for item in items])


def read_coco(path: str, sections: tuple[str, ...] = tuple(RULES)) -> Iterator[tuple[str, dict]]:
    """The items of a COCO json, with or without annotations, as (section, item).

    The file is read once for each section.

    Raises:
        UserError: the file is absent, cut short, not in COCO's format, lists no image or one twice.
    """
    ids = {"images": [], "categories": []}
    try:
        with open(path, "rb") as file:
            for section in sections:
                file.seek(0)
                for item in ijson.items(file, f"{section}.item", use_float=True):
                    check_item(section, item)
                    if section in ids:
                        ids[section].append(item["id"])
                    yield section, item
        for section in ids:
            check_ids(section, ids[section])
    except OSError as error:
        raise UserError(f"annotation file {path} cannot be opened: {error.strerror}") from error
    except ijson.JSONError as error:
        what = str(error).splitlines()[0].strip()
        raise UserError(f"{path} is no whole json ({what}); write or copy it again") from error
    except ValueError as error:
        raise UserError(f"{path} is not in COCO's format ({error})") from error
    if "images" in sections and not ids["images"]:
        raise UserError(f"{path} lists no images")


def count_instances(path: str) -> tuple[list[dict], dict]:
    """What a COCO json says of its labels: (categories sorted by id, {image id: instances}).

    Sorted by id is the order of the classes in Detectron2's models. Images without annotations
    are there with 0 instances; crowds and boxes of no area do not count.

    Raises:
        UserError: see `read_coco`; also for annotations of a category that is not listed.
    """
    categories, image_ids, instances, used = [], [], Counter(), set()
    for section, item in read_coco(path):
        if section == "images":
            image_ids.append(item["id"])
        elif section == "categories":
            categories.append(item)
        elif section == "annotations":
            used.add(item["category_id"])
            if not item.get("iscrowd", 0) and has_area(item):
                instances[item["image_id"]] += 1
    unlisted = used - {category["id"] for category in categories}
    if unlisted:
        some = _short(unlisted.pop())
        raise UserError(f"{path} has annotations of category {some}, not listed")
    categories.sort(key=lambda category: category["id"])
    return categories, {image_id: instances[image_id] for image_id in image_ids}


def has_area(annotation: dict) -> bool:
    """Boxes of no area occur in published labels; the training's loader leaves them out too."""
    box = annotation["bbox"]
    return box[2] > 0 and box[3] > 0 and all(map(math.isfinite, box))
