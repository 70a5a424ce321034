"""The one reader of COCO jsons: training, evaluation and labelling take the same of a file.

A file is checked section by section. Of its annotations a box detector needs image, category, box
and crowd flag; ids of annotations and polygons decide nothing. What cannot be used is counted by
reason, and values that cannot be boxes in pixels stop the command.
"""

import json
import logging
import re
import reprlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

import ijson

from ..utils.errors import UserError, reason

logger = logging.getLogger(__name__)

MAX_SIDE = 2**31 - 1  # pixels; what no image format exceeds
ENOUGH = 20  # boxes from which on it is odd that all of them are near one corner
TOLERANCE = 2  # pixels by which boxes of good files leave their image
# Control characters and halves of surrogate pairs can neither be printed nor be in a file's name.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class Limits(NamedTuple):
    """Shares of a file's boxes; above them it holds no boxes in pixels."""

    outside: float = 0.1  # see DATASETS.MAX_BOXES_OUTSIDE
    tiny: float = 0.5  # see DATASETS.MAX_BOXES_UNDER_A_PIXEL


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


class CocoJson:
    """A COCO json, with or without annotations.

    Attributes:
        found: after `labels`, how many annotations are what: see there.
        unusable: after `labels`, {image id: how many of its annotations were left out}.
    """

    def __init__(self, path: str, name: str = "", *, whole: bool = True):
        """
        Args:
            name: of the data set, for the sentences.
            whole: read it at once, fast, or item by item, in little memory.
        Raises:
            UserError: the file is absent, cut short, or another tool's.
        """
        self.path = path
        self.where = f"data set {name}: {path}" if name else path
        self.found, self.unusable = Counter(), Counter()
        self._foreign = self._listed = None  # an image's id that is not listed, and one that is
        self._content = None
        if whole:
            with self._sentences():
                self._read_at_once()

    @cached_property
    def categories(self) -> list[dict]:
        """Sorted by id, the order in which Detectron2 numbers the classes. Empty where the file
        names none, as lists of images may.
        """
        with self._sentences():
            categories = list(self._items("categories"))
            check_ids("categories", [category["id"] for category in categories])
        return sorted(categories, key=lambda category: category["id"])

    @property
    def is_written_by_labelling(self) -> bool:
        """Whether its annotations are a teacher's, not people's."""
        info = None
        if self._content is None:
            with self._sentences():
                info = next(self._parsed("info"), None)
        if self._content is not None:
            info = self._content.get("info")
        return type(info) is dict and "teacher_weights_sha256" in info

    @cached_property
    def has_annotations(self) -> bool:
        """Whether there is such a section; an empty one counts where the file was read at once."""
        if self._content is not None:
            return "annotations" in self._content
        with self._sentences():
            return next(self._items("annotations"), None) is not None

    def images(self) -> Iterator[dict]:
        """The entries of the images, in the file's order.

        Raises:
            UserError: one is not in COCO's format, there are none, or two have one id.
        """
        ids = []
        with self._sentences():
            for image in self._items("images"):
                ids.append(image["id"])
                yield image
            check_ids("images", ids)
        if not ids:
            self._check_sections()
            raise UserError(f"{self.where} lists no images")

    def labels(self, sizes: dict, limits: Limits | None = None) -> Iterator[dict]:
        """The annotations that a box detector can use, crowds included, in the file's order.

        They are numbered anew from 1: ids may be missing or begin anew in each image. Boxes are as
        they are in the file, also where they leave their image a little. An area that is missing or
        larger than the box is that of the box. What cannot be used is counted in `found`, by
        reason.

        Args:
            sizes: {image id: (width, height)}
            limits: None for a file that has been checked.
        Raises:
            UserError: an annotation is not in COCO's format, or too many are no boxes in pixels.
        """
        listed = {category["id"] for category in self.categories}
        if not self.has_annotations:
            return
        shapes = Shapes()
        found, self.unusable = Counter(), Counter()
        self.found = found
        seen, doubled = set(), 0
        with self._sentences():
            for item in self._items("annotations"):
                found["annotations"] += 1
                category, image_id = item["category_id"], item["image_id"]
                if category not in listed:
                    raise ValueError(self._unlisted(item))
                crowd = _flag(item, "iscrowd") or _flag(item, "ignore")
                if image_id not in sizes:
                    found["of images that are not listed"] += 1
                    self._foreign = image_id
                    continue
                box = item.get("bbox")
                what = shapes.add(box, *sizes[image_id]) if box else "without a box"
                if what:
                    found[what] += 1
                    self.unusable[image_id] += 1
                    continue
                found["crowds" if crowd else "boxes"] += 1
                doubled += (label_hash := hash((image_id, category, *box))) in seen
                seen.add(label_hash)
                x, y, width, height = box
                area = item.get("area")
                label = {
                    "id": found["boxes"] + found["crowds"],
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": [x, y, width, height],
                    "area": area if _is_area(area, width, height) else width * height,
                    "iscrowd": crowd,
                }
                if "score" in item:
                    label["score"] = item["score"]
                yield label
        self._listed = next(iter(sizes), None)
        if doubled:  # COCO has a few; each counts, as a box that nothing finds in an evaluation
            logger.warning(
                f"{self.where}: {doubled} of {found['annotations']} annotations repeat the image, "
                "class and box of another"
            )
        if limits:
            shapes.check(self.where, limits)

    def why_no_boxes(self) -> str:
        """Of a file whose `labels` have been read: what its annotations are instead of boxes."""
        total = self.found["annotations"]
        if not total:
            return "there are no annotations"
        parts = self.left_out()
        if crowds := self.found["crowds"]:
            parts.append(f"{crowds} crowds (iscrowd 1)")
        text = f"of {total} annotations there are {', '.join(parts)}"
        if self._foreign is not None and type(self._foreign) is not type(self._listed):
            text += (
                f"; image_id {short(self._foreign)} is {_kind(self._foreign)}, the ids of images "
                f"are {_kind(self._listed)[2:]}s, such as {short(self._listed)}"
            )
        return text

    def left_out(self) -> list[str]:
        """`3 without area` and so on: what `labels` has left out."""
        used = ("annotations", "boxes", "crowds")
        return [f"{n} {what}" for what, n in self.found.items() if n and what not in used]

    def _unlisted(self, item: dict) -> str:
        category = item["category_id"]
        text = f"annotations, id {short(item.get('id'))}: category_id is {short(category)}"
        ids = [c["id"] for c in self.categories]
        if ids and type(ids[0]) is not type(category):
            return f"{text}, {_kind(category)}, the ids of categories are {_kind(ids[0])[2:]}s"
        return f"{text}, which is not among the categories"

    def _check_sections(self) -> None:
        content = self._content
        if content is None:
            with self._sentences():
                content = _outermost(self.path)
        if type(content) is not dict or "images" not in content:
            raise UserError(f"{self.where} is not in COCO's format: {_what_else(content)}")

    def _items(self, section: str) -> Iterator[dict]:
        done = 0
        if self._content is None:
            for item in self._parsed(f"{section}.item"):
                check_item(section, item)
                done += 1
                yield item
        if self._content is None:
            return
        items = self._content.get(section, [])
        if type(items) is not list:
            raise ValueError(f"{section} are {short(items)}, not a list")
        for item in items[done:]:
            check_item(section, item)
            yield item

    def _parsed(self, prefix: str) -> Iterator:
        """What ijson finds. Where it cannot go on, it ends and the file is read at once: Python's
        json takes a byte order mark, UTF-16, NaN and integers beyond 64 bits, and says in which
        line a file is broken.
        """
        try:
            with open(self.path, "rb") as file:
                yield from ijson.items(file, prefix, use_float=True)
        except ijson.JSONError:
            self._read_at_once()

    def _read_at_once(self) -> None:
        self._content = _load(self.path)
        self._check_sections()

    @contextmanager
    def _sentences(self):
        """What parsers and checks complain of."""
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.where} cannot be opened: {error.strerror}") from error
        except json.JSONDecodeError as error:
            raise UserError(
                f"{self.where} is no whole json ({error}); write or copy it again"
            ) from error
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.where} is no json of UTF-8 or UTF-16 ({reason(error)})"
            ) from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.where} is not in COCO's format ({error})") from error


class Shapes:
    """Whether four numbers are a box in an image, and what the boxes of a file look like."""

    def __init__(self):
        self.boxes = self.outside = self.tiny = 0
        self.corners = self.centres = self.turned = 0  # of those outside: what would fit
        self.farthest, self.least_side = 0, MAX_SIDE  # of the boxes, of their images

    def add(self, box: list, width: int, height: int) -> str | None:
        """Why x, y, width, height is no box in an image of this size; None where it is one."""
        x, y, w, h = box
        if not all(-MAX_SIDE < value < MAX_SIDE for value in box):  # also when a value is NaN
            return "with values that are not finite"
        self.boxes += 1
        self.farthest = max(self.farthest, x + w, y + h)
        self.least_side = min(self.least_side, width, height)
        if not _fits(x, y, x + w, y + h, width, height):
            self.outside += 1
            self.corners += x < w and y < h and _fits(x, y, w, h, width, height)
            self.turned += _fits(x, y, x + w, y + h, height, width) or (
                _fits(x, y, x + h, y + w, width, height)
            )
            self.centres += _fits(x - w / 2, y - h / 2, x + w / 2, y + h / 2, width, height)
        if w < 0 or h < 0:
            return "of a negative width or height"
        self.tiny += w * h < 1
        if not (x + w > x and y + h > y):
            return "without area"
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            return "outside of their image"
        return None

    def check(self, where: str, limits: Limits) -> None:
        """Warns where the boxes may be in percent, which no value can tell for sure.

        Raises:
            UserError: too many boxes leave their image, or are under a pixel.
        """
        wanted = "COCO's bbox is x, y, width, height in pixels"
        if self.tiny > limits.tiny * self.boxes:
            raise UserError(
                f"{where}: {self.tiny} of {self.boxes} boxes are under a pixel, they look like "
                f"shares of the image's size: {wanted}; mend the file, or raise "
                f"DATASETS.MAX_BOXES_UNDER_A_PIXEL {limits.tiny:g} if they are right"
            )
        if self.outside > limits.outside * self.boxes:
            raise UserError(
                f"{where}: {self.outside} of {self.boxes} boxes leave their image by more than "
                f"{TOLERANCE} pixels, {self._guess()}: {wanted}; mend the file, or raise "
                f"DATASETS.MAX_BOXES_OUTSIDE {limits.outside:g} if they are right"
            )

        if self.boxes >= ENOUGH and self.farthest <= 100 < 0.9 * self.least_side:
            logger.warning(
                f"{where}: none of {self.boxes} boxes goes beyond 100, in images of at least "
                f"{self.least_side} pixels a side: if they are in percent, mend the file, {wanted}"
            )

    def _guess(self) -> str:
        most = 0.9 * self.outside
        if self.corners >= most:
            return "they look like corners x0, y0, x1, y1"
        if self.turned >= most:
            return "widths and heights look exchanged, the images' or the boxes'"
        if self.centres >= most:
            return "they look like centre x, centre y, width, height"
        return "perhaps they belong to images of another size"


def _fits(x0, y0, x1, y1, width: int, height: int) -> bool:
    least, right, bottom = -TOLERANCE, width + TOLERANCE, height + TOLERANCE
    return x0 >= least and y0 >= least and x1 <= right and y1 <= bottom


def count_instances(path: str, limits: Limits | None = None) -> tuple[CocoJson, dict]:
    """What a COCO json says of its labels, item by item: (the file, {image id: boxes}).

    Images without annotations are there with 0; crowds do not count.

    Raises:
        UserError: see `CocoJson`.
    """
    file = CocoJson(path, whole=False)
    sizes = {image["id"]: (image["width"], image["height"]) for image in file.images()}
    instances = dict.fromkeys(sizes, 0)
    for label in file.labels(sizes, limits):
        instances[label["image_id"]] += not label["iscrowd"]
    return file, instances


def order_of(names: list[str], wanted: list[str], where: str, source: str) -> list[int]:
    """For each of the names its number in the wanted order.

    Args:
        where, source: whose names these are, for the sentence.
    Raises:
        UserError: they are other names; the first pair that differs is named.
    """
    if names == wanted:
        return list(range(len(names)))
    numbers = {name: number for number, name in enumerate(wanted)}
    if sorted(names) != sorted(wanted):
        missing = next((name for name in wanted if name not in names), None)
        foreign = next((name for name in names if name not in numbers), None)
        if missing is not None and foreign is not None:
            differ = f"the first of them {short(missing)} and {short(foreign)}"
        else:
            alone = next((name for name in (missing, foreign) if name is not None), names[0])
            differ = f"{len(wanted)} and {len(names)}, {short(alone)} is not in both as often"
        raise UserError(f"{source} and {where} have other classes, {differ}")
    if len(numbers) < len(names):
        raise UserError(
            f"{where} gives one name to several categories, and in another order than {source}: "
            "classes are matched by name"
        )
    return [numbers[name] for name in names]


def in_order(categories: list[dict], names: list[str], where: str) -> list[dict]:
    """The categories in the order of the teacher's classes, by name.

    Raises:
        UserError: they have other names.
    """
    own_names = [category["name"] for category in categories]
    numbers = order_of(own_names, names, where, "the teacher")
    return [
        category for _, category in sorted(zip(numbers, categories, strict=True), key=itemgetter(0))
    ]


def _flag(item: dict, key: str) -> int:
    value = item.get(key)
    if type(value) is str:
        value = value.strip().lower()
    if type(value) not in (list, dict) and value in FLAGS:
        return FLAGS[value]
    raise ValueError(
        f"annotations, id {short(item.get('id'))}: {key} is {short(item[key])}, not 0 or 1"
    )


def _is_area(value, width: float, height: float) -> bool:
    """A mask covers its box at most; some tools leave the last pixel of a side out."""
    return type(value) in (int, float) and 0 < value <= (width + 1) * (height + 1)


def _kind(value) -> str:
    return "a text" if type(value) is str else "a number"


def _without_polygons(item: dict) -> dict:
    """Three quarters of COCO's annotations, which nothing here reads."""
    item.pop("segmentation", None)
    return item


def _load(path: str):
    with open(path, "rb") as file:
        return json.loads(file.read(), object_hook=_without_polygons)  # UTF-8, -16, -32, any BOM


def _outermost(path: str):
    """The names of a json's sections as {name: None}; [] where it is a list, None if neither."""
    names, depth = {}, 0
    with open(path, "rb") as file:
        for event, value in ijson.basic_parse(file, use_float=True):
            if depth == 1 and event == "map_key":
                names[value] = None
            elif depth == 0 and event != "start_map":
                return [] if event == "start_array" else None
            depth += event.startswith("start_") - event.startswith("end_")
    return names


def _what_else(content) -> str:
    """What a json without images is, as far as its outermost values tell."""
    if type(content) is list:
        first = content[0] if content else None
        if type(first) is dict and {"image_id", "score"} <= first.keys():
            return "it is a list of detections, as COCO's results are"
        return "it is a list, no object with images and categories"
    if type(content) is not dict:
        return f"it is {short(content)}, no object with images and categories"
    if "shapes" in content and "imagePath" in content:
        return "it looks like LabelMe's, export COCO's"
    if any(type(value) is dict and "regions" in value for value in content.values()) or any(
        name.startswith("_via_") for name in content
    ):
        return "it looks like VIA's, export COCO's"
    return f"it has no images, but {', '.join(map(short, list(content)[:3])) or 'nothing'}"
