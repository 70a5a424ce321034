"""What was found, as a COCO json that pycocotools, labelling tools and this project read."""

import json
import shutil
import tempfile

import numpy as np

from ..utils.files import atomic_write
from .detections import Detections

DECIMALS, SCORE_DECIMALS = 2, 6


class PredictionsFile:
    """Takes images one by one. Their entries wait on disk, so that there may be any number.

    Annotations hold a `score` beside what COCO's labels have. Images have ids from 1 in the order
    in which they come; a frame of a video has its number, from 0, as `frame`.
    """

    def __init__(self, folder: str, class_names: list[str]):
        """
        Args:
            folder: on a disk with enough room.
        """
        self.categories = [
            {"id": number, "name": name} for number, name in enumerate(class_names, start=1)
        ]
        self.images = tempfile.TemporaryFile("w+", dir=folder)
        self.annotations = tempfile.TemporaryFile("w+", dir=folder)
        self.num_images = self.num_boxes = 0

    def add(self, name: str, size: tuple[int, int], found: Detections, **more) -> None:
        """
        Args:
            name: of the image's file.
            size: its (width, height).
            more: what else is to be said of the image.
        """
        self.num_images += 1
        width, height = size
        entry = {"id": self.num_images, "file_name": name, "width": width, "height": height, **more}
        self._write(self.images, entry, self.num_images)
        # Corners are rounded before they are subtracted, so that no box leaves its image by it.
        corners = found.boxes.astype(np.float64).round(DECIMALS)
        sizes = (corners[:, 2:] - corners[:, :2]).round(DECIMALS)
        scores = found.scores.astype(np.float64).round(SCORE_DECIMALS)
        rows = zip(corners.tolist(), sizes.tolist(), found.labels, scores.tolist(), strict=True)
        for (x, y, _, _), (wide, high), label, score in rows:
            if wide <= 0 or high <= 0:  # what clipping leaves at the image's border
                continue
            self.num_boxes += 1
            annotation = {
                "id": self.num_boxes,
                "image_id": self.num_images,
                "category_id": self.categories[label]["id"],
                "bbox": [x, y, wide, high],
                "area": round(wide * high, 2 * DECIMALS),
                "iscrowd": 0,
                "score": score,
            }
            self._write(self.annotations, annotation, self.num_boxes)

    def write(self, path: str, info: dict) -> None:
        """Write the json of all that was added.

        Args:
            info: goes to it as it is.
        """
        with atomic_write(path) as file:
            file.write(f'{{"info": {json.dumps(info)},\n"images": [')
            self._copy(self.images, file)
            file.write(f'],\n"categories": {json.dumps(self.categories)},\n"annotations": [')
            self._copy(self.annotations, file)
            file.write("]}\n")

    def close(self) -> None:
        self.images.close()
        self.annotations.close()

    @staticmethod
    def _write(file, item: dict, number: int) -> None:
        file.write((",\n" if number > 1 else "\n") + json.dumps(item, allow_nan=False))

    @staticmethod
    def _copy(part, file) -> None:
        part.seek(0)
        shutil.copyfileobj(part, file)
