"""Reading COCO jsons of any length: item by item, never the whole file in memory."""

import json
from collections import Counter
from collections.abc import Iterator
from json.decoder import WHITESPACE

from .errors import UserError

CHUNK = 1 << 20  # characters read at once
KEYS = {  # what must be in an item
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}


def read_coco(path: str) -> Iterator[tuple[str, dict]]:
    """The items of a COCO json, with or without annotations, as (section, item) in file order.

    A section is "images", "annotations", "categories" or whatever else the file has.

    Raises:
        UserError: the file is absent, cut short, not in COCO's format, lists no image or one twice.
    """
    ids, num_images = set(), 0
    try:
        for section, item in _sections(path):
            missing = [key for key in KEYS.get(section, ()) if key not in item]
            if missing:
                raise TypeError(f"{section} without {', '.join(missing)}")
            if section == "images":
                if not (item["width"] > 0 and item["height"] > 0):
                    raise TypeError(f"image {item['id']} has no size")
                ids.add(item["id"])
                num_images += 1
            elif section == "annotations" and len(item["bbox"]) != 4:
                raise TypeError(f"a bbox is {item['bbox']}")
            yield section, item
    except OSError as error:
        raise UserError(f"annotation file {path} cannot be opened: {error.strerror}") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        what = getattr(error, "msg", error)  # without the place, which is one in the chunk
        raise UserError(f"{path} is no whole json ({what}); write or copy it again") from error
    except TypeError as error:
        raise UserError(f"{path} is not in COCO's format ({error})") from error
    if not num_images:
        raise UserError(f"{path} lists no images")
    if len(ids) < num_images:
        raise UserError(f"{path} gives the same id to several images")


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


def _sections(path: str) -> Iterator[tuple[str, object]]:
    """(key, value) of the json's top level; of a list, (key, item) for each item."""
    with open(path, encoding="utf-8") as file:
        text = _Text(file)
        if text.peek() != "{":
            raise TypeError("its top level is no object")
        text.at += 1
        more = text.peek() != "}"
        while more:
            key = text.value()
            text.take(":")
            if text.peek() != "[":
                yield key, text.value()
            else:
                text.at += 1
                items = text.peek() != "]"
                text.at += not items
                while items:
                    yield key, text.value()
                    items = text.take(",]") == ","
            more = text.take(",}") == ","


class _Text:
    """A file's characters, of which a few chunks are in memory, and a place in them."""

    def __init__(self, file):
        self.file = file
        self.text = ""
        self.at = 0
        self.decode = json.JSONDecoder().raw_decode

    def grow(self) -> bool:
        """Read on; twice as much each time, so that long values cost no more than their length."""
        rest = self.text[self.at :]
        more = self.file.read(max(CHUNK, len(rest)))
        self.text, self.at = rest + more, 0
        return bool(more)

    def peek(self) -> str:
        """The next character that is no white space; it is not taken."""
        while True:
            self.at = WHITESPACE.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.grow():
                raise json.JSONDecodeError("it ends too early", self.text, self.at)

    def take(self, characters: str) -> str:
        character = self.peek()
        if character not in characters:
            raise json.JSONDecodeError(f"{' or '.join(characters)} expected", self.text, self.at)
        self.at += 1
        return character

    def value(self):
        self.peek()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except json.JSONDecodeError:
                if not self.grow():
                    raise
            else:
                # The text may end within a number: 1 of 1.5 and of 1e-5 is a value too.
                if (end < len(self.text) and self.text[end] not in ".eE") or not self.grow():
                    self.at = end
                    return value
