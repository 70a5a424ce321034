"""The one reader of COCO jsons: training, evaluation and labelling take the same of a file.

A file is checked section by section. Of its annotations a box detector needs image, category, box
and crowd flag; ids of annotations and polygons decide nothing. What cannot be used is counted by
reason, and values that cannot be boxes in pixels stop the command.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import ijson

from ..utils.errors import UserError, reason
from .coco_boxes import Limits, Shapes
from .coco_items import check_ids, check_item, flag, is_area, kind, short

logger = logging.getLogger(__name__)


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

    @classmethod
    def content_of(cls, path: str) -> dict:
        """What a json with images holds, its masks included and nothing else of it checked.

        Raises:
            UserError: see above.
        """
        file = cls(path, whole=False)
        with file._sentences():
            with open(path, "rb") as opened:
                file._content = json.loads(opened.read())
        file._check_sections()
        return file._content

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
                crowd = flag(item, "iscrowd") or flag(item, "ignore")
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
                    "area": area if is_area(area, width, height) else width * height,
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
                f"; image_id {short(self._foreign)} is {kind(self._foreign)}, the ids of images "
                f"are {kind(self._listed)[2:]}s, such as {short(self._listed)}"
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
            return f"{text}, {kind(category)}, the ids of categories are {kind(ids[0])[2:]}s"
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
