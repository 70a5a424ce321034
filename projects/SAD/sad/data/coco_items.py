"""What must be in the items of a COCO json's sections."""

import re
import reprlib
from collections import Counter

MAX_SIDE = 2**31 - 1  # pixels; what no image format exceeds
# Control characters and halves of surrogate pairs can neither be printed nor be in a file's name.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def short(value) -> str:
    return reprlib.repr(value)[:80]


def _is_id(value) -> bool:
    return type(value) in (int, str)


def _is_text(value) -> bool:
    return type(value) is str and value != "" and not UNPRINTABLE.search(value)


def _is_side(value) -> bool:
    return type(value) in (int, float) and 0 < value <= MAX_SIDE and value % 1 == 0


def _is_box(value) -> bool:
    """Or none, as masks alone have it."""
    if value is None or value == []:
        return True
    return type(value) is list and len(value) == 4 and all(type(v) in (int, float) for v in value)


ID, TEXT = (_is_id, "a whole number or a text"), (_is_text, "a text")
SIDE, BOX = (_is_side, "a number of pixels"), (_is_box, "a list of four numbers")
RULES = {  # of each section, what must be in an item
    "images": {"id": ID, "file_name": TEXT, "width": SIDE, "height": SIDE},
    "categories": {"id": ID, "name": TEXT},
    "annotations": {"image_id": ID, "category_id": ID, "bbox": BOX},
}
IDS, MAY_LACK = ("id", "image_id", "category_id"), ("bbox",)
FLAGS = {None: 0, 0: 0, 1: 1, "": 0, "0": 0, "1": 1, "false": 0, "true": 1}


def check_item(section: str, item) -> None:
    """Raises: ValueError, when an item is not what COCO's format wants."""
    if type(item) is not dict:
        raise ValueError(f"{section} hold {short(item)}")
    for key, (is_valid, what) in RULES[section].items():
        if type(item.get(key)) is float and key in IDS and item[key].is_integer():
            item[key] = int(item[key])  # a table's column that once had a gap
        if key not in item and key not in MAY_LACK:
            raise ValueError(f"{section}, id {short(item.get('id'))}: {key} is missing")
        if key in item and not is_valid(item[key]):
            value = short(item[key])
            raise ValueError(f"{section}, id {short(item.get('id'))}: {key} is {value}, not {what}")


def check_ids(section: str, ids: list) -> None:
    """Raises: ValueError, when an id is there twice, or some are numbers and some are texts."""
    if len(set(ids)) < len(ids):
        twice = next(key for key, count in Counter(ids).items() if count > 1)
        raise ValueError(f"the same id is given to several {section}: {short(twice)}")
    if len(set(map(type, ids))) > 1:
        raise ValueError(f"some ids of {section} are numbers and some are texts")


def flag(item: dict, key: str) -> int:
    value = item.get(key)
    if type(value) is str:
        value = value.strip().lower()
    if type(value) not in (list, dict) and value in FLAGS:
        return FLAGS[value]
    raise ValueError(
        f"annotations, id {short(item.get('id'))}: {key} is {short(item[key])}, not 0 or 1"
    )


def is_area(value, width: float, height: float) -> bool:
    """A mask covers its box at most; some tools leave the last pixel of a side out."""
    return type(value) in (int, float) and 0 < value <= (width + 1) * (height + 1)


def kind(value) -> str:
    return "a text" if type(value) is str else "a number"
