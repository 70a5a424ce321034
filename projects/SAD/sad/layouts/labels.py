"""Labels of any layout in one form, and what had to be mended or left out to get there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..data.coco_boxes import Limits, Shapes
from ..utils.files import write_json

ROUNDING = 0.01  # pixels


@dataclass
class Labels:
    """
    Attributes:
        layout: "COCO json", "YOLO" or "Pascal VOC".
        source: the path that was given.
        image_root: absolute; file_names start there.
        images: {"id": 1, 2, .., "file_name", "width", "height"}, by file_name; sizes are those of
            the files, turned as EXIF says.
        annotations: {"id", "image_id", "category_id": 1 to K, "bbox": [x, y, width, height] within
            the image, "area", "iscrowd"}.
        mended, left_out: {what: where}.
        unlabeled: file_names of images that are there, but that nobody has labelled.
    """

    layout: str
    source: str
    image_root: str
    classes: list[str]
    images: list[dict]
    annotations: list[dict]
    mended: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    unlabeled: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """What was recognised, in one line."""
        text = (
            f"{self.source} is read as {self.layout}: {len(self.images)} images with "
            f"{len(self.annotations)} boxes of {len(self.classes)} classes"
        )
        for verb, found in (("mended", self.mended), ("left out", self.left_out)):
            if found:
                counts = [f"{len(where)} {what} ({where[0]})" for what, where in found.items()]
                text += f"; {verb}: {', '.join(counts)}"
        if self.unlabeled:
            text += f"; {len(self.unlabeled)} images there have no labels"
        return text

    def write(self, path: str) -> None:
        """Write a COCO json, whole or not at all."""
        categories = [{"id": n, "name": name} for n, name in enumerate(self.classes, start=1)]
        write_json(
            path,
            {"images": self.images, "categories": categories, "annotations": self.annotations},
        )


class Collector:
    """Takes images and boxes as a reader finds them, clips boxes, and looks at them as a whole."""

    def __init__(self, layout: str, source: str, image_root: str, classes: Sequence[str]):
        self.labels = Labels(layout, source, image_root, list(classes), [], [])
        self.sizes = {}  # file_name -> (width, height)
        self.boxes = {}  # file_name -> annotations
        self.shapes = Shapes()
        self.seen = set()

    def mend(self, what: str, where: str) -> None:
        self.labels.mended.setdefault(what, []).append(where)

    def leave_out(self, what: str, where: str) -> None:
        self.labels.left_out.setdefault(what, []).append(where)

    def add_image(self, file_name: str, size: tuple[int, int]) -> bool:
        """Whether it is new; of one file the first entry counts."""
        if file_name in self.sizes:
            return False
        self.sizes[file_name], self.boxes[file_name] = size, []
        return True

    def add_box(
        self, file_name: str, category: int, corners: Sequence[float], where: str, crowd: int = 0
    ) -> None:
        """
        Args:
            category: from 1.
            corners: x0, y0, x1, y1 in pixels.
            where: the file, and the line or object in it.
        """
        width, height = self.sizes[file_name]
        x0, y0, x1, y1 = map(float, corners)
        if why := self.shapes.add([x0, y0, x1 - x0, y1 - y0], width, height):
            return self.leave_out(f"boxes {why}", where)
        inside = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
        if max(abs(a - b) for a, b in zip(inside, (x0, y0, x1, y1), strict=True)) > ROUNDING:
            self.mend("boxes clipped to their image", where)
        x0, y0, x1, y1 = inside
        key = file_name, category, *(round(value, 2) for value in inside)
        if key in self.seen:
            return self.leave_out("repeated boxes", where)
        self.seen.add(key)
        box = [round(value, 4) for value in (x0, y0, x1 - x0, y1 - y0)]
        self.boxes[file_name].append(
            {
                "category_id": category,
                "bbox": box,
                "area": round(box[2] * box[3], 4),
                "iscrowd": crowd,
            }
        )

    def finish(self) -> Labels:
        """
        Raises:
            UserError: too many of the boxes are no boxes in pixels of their images.
        """
        labels = self.labels
        self.shapes.check(labels.source, Limits())
        for image_id, name in enumerate(sorted(self.sizes), start=1):
            width, height = self.sizes[name]
            labels.images.append(
                {"id": image_id, "file_name": name, "width": width, "height": height}
            )
            for annotation in self.boxes[name]:
                ids = {"id": len(labels.annotations) + 1, "image_id": image_id}
                labels.annotations.append(ids | annotation)
        return labels


def count_boxes(labels: Labels) -> Counter:
    """{class: how many boxes}."""
    return Counter(labels.classes[x["category_id"] - 1] for x in labels.annotations)
