"""Labels of any layout in one form, and what had to be mended or left out to get there."""

from dataclasses import dataclass, field

from ..utils.files import write_json


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
        unlabeled: file_names of images that are there, but that nobody has labelled; of COCO's json
            none, as images that it does not list may belong to another set.
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
                text += f"; {verb}: {counted(found)}"
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


def counted(found: dict[str, list[str]]) -> str:
    """`3 repeated boxes (a.xml: cat)` and so on, each with the first place."""
    return ", ".join(f"{len(where)} {what} ({where[0]})" for what, where in found.items())
