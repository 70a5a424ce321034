"""Images and boxes as a reader finds them, made into labels."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

from ..data.categories import order_of
from ..data.coco_boxes import Limits, Shapes, fits
from ..data.coco_items import UNPRINTABLE, is_area, short
from ..utils.errors import UserError
from . import frames
from .image_index import THREADS
from .labels import Labels, counted

CLIPPING = 0.01  # pixels up to which a box that leaves its image is not worth a word
DIGITS = 6  # of a pixel's fraction


class Box(NamedTuple):
    corners: frames.Corners
    category: int  # from 1
    crowd: int
    where: str
    area: object  # of a mask, as the labels give it


class Collector:
    """Takes images and boxes; `finish` looks at them as a whole."""

    def __init__(self, layout: str, source: str, image_root: str, classes: Sequence[str]):
        """
        Raises:
            UserError: a class's name is empty, no text, or there twice.
        """
        for name in classes:
            if not name or UNPRINTABLE.search(name):
                raise UserError(f"{source} names a class {short(name)}: give it a name to print")
            if list(classes).count(name) > 1:
                raise UserError(f"{source} names the class {name!r} twice: rename one of them")
        self.labels = Labels(layout, source, image_root, list(classes), [], [])
        self._images = {}  # file_name -> (declared size, size, boxes)
        self._lost = False

    def mend(self, what: str, where: str) -> None:
        self.labels.mended.setdefault(what, []).append(where)

    def join_classes(self, names: Sequence[str]) -> None:
        """Say which names are there several times, see `number_of`."""
        for name, count in Counter(names).items():
            if count > 1:
                self.mend("classes that are there several times, taken as one", name)

    def leave_out(self, what: str, where: str) -> None:
        self.labels.left_out.setdefault(what, []).append(where)

    def leave_out_box(self, what: str, where: str) -> None:
        self._lost = True
        self.leave_out(what, where)

    def add_image(
        self,
        file_name: str,
        size: tuple[int, int] | str,
        declared: tuple[float, float] | None = None,
    ) -> bool:
        """Whether it is taken: it can be read, and is new.

        Args:
            size: width and height as shown, or why it cannot be read; see `ImageIndex.sizes`.
            declared: those that the labels give, to which the boxes refer.
        """
        if isinstance(size, str):
            self.leave_out("images that cannot be read", f"{file_name}: {size}")
            return False
        if file_name in self._images:
            self.leave_out("further labels of one image", file_name)
            return False
        self._images[file_name] = declared or size, size, []
        return True

    def size_of(self, file_name: str) -> tuple[int, int]:
        return self._images[file_name][1]

    def add_box(
        self,
        file_name: str,
        category: int,
        corners: Sequence[float],
        where: str,
        crowd: int = 0,
        area: object = None,
    ) -> None:
        """
        Args:
            category: from 1.
            corners: x0, y0, x1, y1 in pixels of the declared size.
            where: the file, and the line or object in it.
            area: of its mask in pixels, where that is smaller.
        """
        box = Box(tuple(map(float, corners)), category, crowd, where, area)
        self._images[file_name][2].append(box)

    def finish(self, limits: Limits | None = None, form: str = "") -> Labels:
        """
        Args:
            limits: the shares of boxes that may leave their image, or be under a pixel.
            form: what the layout's numbers are, for the sentence.
        Raises:
            UserError: no image or none of the labels can be used, or a limit is exceeded.
        """
        labels, shapes = self.labels, Shapes()
        if not self._images:
            why = counted(labels.left_out)
            raise UserError(
                f"{labels.source} has no image that can be used{f', but {why}' if why else ''}: "
                "name the folder of its images with --images, or mend them"
            )
        self._place_boxes()
        for image_id, (name, (_, size, boxes)) in enumerate(sorted(self._images.items()), start=1):
            width, height = size
            image = {"id": image_id, "file_name": name, "width": width, "height": height}
            labels.images.append(image)
            self._add_annotations(image, boxes, shapes)
        if limits and (odd := shapes.oddity(limits)):
            what, guess, _ = odd
            raise UserError(f"{labels.source}: {what}, {guess}: {form}; mend them")
        if self._lost and not labels.annotations:
            raise UserError(
                f"{labels.source}: none of its labels can be used, there are "
                f"{counted(labels.left_out)}: mend them"
            )
        return labels

    def _place_boxes(self) -> None:
        """Bring boxes from the declared frame to that of the image as it is shown."""
        boxes = {
            name: (declared, size, [box.corners for box in boxes])
            for name, (declared, size, boxes) in self._images.items()
        }
        turns = {}
        if frames.were_drawn_unturned(boxes, self.labels.image_root):
            paths = [os.path.join(self.labels.image_root, name) for name in boxes]
            with ThreadPool(THREADS) as pool:
                turns = dict(zip(boxes, pool.map(frames.orientation, paths, 64), strict=True))
        are_scaled = not frames.were_drawn_resized(boxes)
        for name, (declared, size, corners) in boxes.items():
            turned, place = turns.get(name, 1), None
            if turned > 1 and declared == (size[::-1] if turned >= 5 else size):
                self.mend("boxes of images that EXIF turns, turned with them", name)
                place = [frames.turn(box, turned, size) for box in corners]
            elif declared == size:
                continue
            elif (
                are_scaled
                and frames.is_resized(declared, size)
                and all(fits(*box, *declared) for box in corners)
            ):
                self.mend("boxes of images that were resized, resized with them", name)
                place = [frames.scale(box, declared, size) for box in corners]
            else:
                self.mend("sizes that are wrong, the image's file decides", name)
                continue
            found = self._images[name][2]
            found[:] = [
                box._replace(corners=x, area=None) for box, x in zip(found, place, strict=True)
            ]

    def _add_annotations(self, image: dict, boxes: list[Box], shapes: Shapes) -> None:
        annotations, width, height = self.labels.annotations, image["width"], image["height"]
        seen = set()
        for box in boxes:
            x0, y0, x1, y1 = box.corners
            if why := shapes.add([x0, y0, x1 - x0, y1 - y0], width, height):
                self.leave_out_box(f"boxes {why}", box.where)
                continue
            inside = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
            key = box.category, box.crowd, *(round(value, 2) for value in inside)
            if key in seen:
                self.leave_out("repeated boxes", box.where)
                continue
            seen.add(key)
            x0, y0, x1, y1 = (round(value, DIGITS) for value in inside)
            sides = _side(x0, x1), _side(y0, y1)
            if min(sides) <= 0:  # the little that was in the image
                self.leave_out_box("boxes without area", box.where)
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": box.category,
                    "bbox": [x0, y0, *sides],
                    "area": box.area if is_area(box.area, *sides) else sides[0] * sides[1],
                    "iscrowd": box.crowd,
                }
            )
            if max(abs(a - b) for a, b in zip(inside, box.corners, strict=True)) > CLIPPING:
                self.mend("boxes clipped to their image", box.where)


def _side(start: float, end: float) -> float:
    """So that start and side together do not leave the image by a rounding error."""
    side = round(end - start, DIGITS)
    while start + side > end:
        side = math.nextafter(side, 0)
    return side


def number_of(names: Sequence[str], classes: Sequence[str] | None, where: str) -> dict[str, int]:
    """{name: its number from 1}, by the wanted order, or else as they come.

    Names that are there twice are one class.

    Raises:
        UserError: the wanted names are others.
    """
    names = list(dict.fromkeys(names))
    wanted = list(classes or names)
    numbers = order_of(names, wanted, where, "the other labels")
    return {name: number + 1 for name, number in zip(names, numbers, strict=True)}
