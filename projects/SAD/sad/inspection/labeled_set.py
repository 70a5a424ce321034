"""A labelled data set as arrays: what counts, findings and pictures are made of."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, pairwise_iou

from ..data.coco_boxes import Limits
from ..data.coco_json import CocoJson
from ..data.datasets import check_paths
from ..utils.files import check_inside

SAME_OBJECT = 0.9  # IoU from which on two boxes are around one object
WHOLE_IMAGE = 0.95  # share of an image's area


class DataSet(NamedTuple):
    """A COCO json, the folder of its images, and what reading the user's labels has changed."""

    json_file: str
    image_root: str
    labels: str = ""  # what the user gave, where the json was made of it
    mended: Mapping[str, Sequence[str]] = {}  # what was mended -> where
    left_out: Mapping[str, Sequence[str]] = {}  # what could not be used -> where


@dataclass(frozen=True, eq=False)
class LabeledSet:
    """B boxes of I images. Boxes are within their image, crowds are not among them."""

    name: str
    source: DataSet
    images: list[dict]  # file_name (its path), listed (its name in the json), height, width
    class_names: list[str]
    boxes: np.ndarray  # (B, 4) x0 y0 x1 y1 in pixels
    image_of: np.ndarray  # (B,) positions in images
    class_of: np.ndarray  # (B,) positions in class_names
    crowds: int = 0
    negatives: list[int] = field(default_factory=list)  # images without any annotation
    unusable: list[str] = field(default_factory=list)  # annotations: "3 without area"

    @property
    def sizes(self) -> np.ndarray:
        """(I, 2) height and width of each image."""
        return np.array([(x["height"], x["width"]) for x in self.images]).reshape(-1, 2)

    @property
    def sides(self) -> np.ndarray:
        """(B,) square roots of the areas, in pixels."""
        return np.sqrt(np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1))

    def place(self, image: int) -> str:
        """Where to look: the set and the name of an image."""
        return f"{self.name}: {self.images[image]['listed']}"

    def boxes_on(self, image: int) -> np.ndarray:
        """Positions of the boxes of an image."""
        return np.flatnonzero(self.image_of == image)

    def count_of(self, class_name: str) -> int:
        """How many boxes are of a class, which the set may not know."""
        if class_name not in self.class_names:
            return 0
        return int((self.class_of == self.class_names.index(class_name)).sum())

    def filling(self) -> np.ndarray:
        """Positions of the boxes that are nearly as large as their image."""
        shares = self.sides**2 / self.sizes.prod(axis=1)[self.image_of]
        return np.flatnonzero(shares >= WHOLE_IMAGE)

    def repeated(self) -> np.ndarray:
        """(P, 2) positions of the boxes of one image that are around the same object."""
        order = np.argsort(self.image_of, kind="stable")
        ends = np.flatnonzero(np.diff(self.image_of[order])) + 1
        pairs = [np.empty((0, 2), int)]
        for own in np.split(order, ends):
            boxes = Boxes(torch.from_numpy(self.boxes[own]))
            alike = torch.triu(pairwise_iou(boxes, boxes) >= SAME_OBJECT, diagonal=1)
            pairs.append(own[alike.nonzero().numpy()])
        return np.concatenate(pairs)


def read_set(name: str, source: DataSet) -> LabeledSet:
    """
    Raises:
        UserError: the json is no COCO json, holds no boxes in pixels, or lists images elsewhere.
    """
    check_paths(name, source.json_file, source.image_root)
    file = CocoJson(source.json_file, name)
    images, places = [], {}
    for entry in file.images():
        path = os.path.join(source.image_root, entry["file_name"])
        check_inside(source.image_root, path, file.where)
        places[entry["id"]] = len(images)
        height, width = int(entry["height"]), int(entry["width"])
        images.append(
            {"file_name": path, "listed": entry["file_name"], "height": height, "width": width}
        )
    sizes = {key: (images[at]["width"], images[at]["height"]) for key, at in places.items()}
    class_names = list(dict.fromkeys(category["name"] for category in file.categories))
    class_at = {x["id"]: class_names.index(x["name"]) for x in file.categories}
    labels = list(file.labels(sizes, Limits()))
    boxes = [label for label in labels if not label["iscrowd"]]
    image_of = np.array([places[label["image_id"]] for label in boxes], int)
    corners = np.array([label["bbox"] for label in boxes], float).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    limits = np.array([sizes[label["image_id"]] for label in boxes], float).reshape(-1, 2)
    annotated = {label["image_id"] for label in labels} | set(file.unusable)
    return LabeledSet(
        name=name,
        source=source,
        images=images,
        class_names=class_names,
        boxes=corners.clip(0, np.tile(limits, 2)),
        image_of=image_of,
        class_of=np.array([class_at[label["category_id"]] for label in boxes], int),
        crowds=len(labels) - len(boxes),
        negatives=[at for key, at in places.items() if key not in annotated],
        unusable=file.left_out(),
    )
