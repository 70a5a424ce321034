"""Reading COCO jsons of any length: item by item, never the whole file in memory."""

from collections import Counter
from collections.abc import Iterator

import ijson

from .errors import UserError

KEYS = {  # of each section, what must be in an item
    "images": ("id", "file_name", "width", "height"),
    "categories": ("id", "name"),
    "annotations": ("image_id", "category_id", "bbox"),
}


def read_coco(path: str, sections: tuple[str, ...] = tuple(KEYS)) -> Iterator[tuple[str, dict]]:
    """The items of a COCO json, with or without annotations, as (section, item).

    The file is read once for each section.

    Raises:
        UserError: the file is absent, cut short, not in COCO's format, lists no image or one twice.
    """
    ids, num_images = set(), 0
    try:
        with open(path, "rb") as file:
            for section in sections:
                file.seek(0)
                for item in ijson.items(file, f"{section}.item", use_float=True):
                    _check(section, item)
                    if section == "images":
                        ids.add(item["id"])
                        num_images += 1
                    yield section, item
    except OSError as error:
        raise UserError(f"annotation file {path} cannot be opened: {error.strerror}") from error
    except ijson.JSONError as error:
        what = str(error).splitlines()[0].strip()
        raise UserError(f"{path} is no whole json ({what}); write or copy it again") from error
    except TypeError as error:
        raise UserError(f"{path} is not in COCO's format ({error})") from error
    if "images" in sections and not num_images:
        raise UserError(f"{path} lists no images")
    if len(ids) < num_images:
        raise UserError(f"{path} gives the same id to several images")


def _check(section: str, item: dict) -> None:
    if missing := [key for key in KEYS[section] if key not in item]:
        raise TypeError(f"{section} without {', '.join(missing)}")
    if section == "images" and not (item["width"] > 0 and item["height"] > 0):
        raise TypeError(f"image {item['id']} has no size")
    if section == "annotations" and len(item["bbox"]) != 4:
        raise TypeError(f"a bbox is {item['bbox']}")


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
        raise UserError(f"{path} has annotations of category {unlisted.pop()}, not listed")
    categories.sort(key=lambda category: category["id"])
    return categories, {image_id: instances[image_id] for image_id in image_ids}


def has_area(annotation: dict) -> bool:
    """Boxes of no area occur in published labels; the training's loader leaves them out too."""
    return annotation["bbox"][2] > 0 and annotation["bbox"][3] > 0
