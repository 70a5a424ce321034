"""The output folder: pictures with boxes, jsons and txts."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..data.image_files import SUFFIXES
from ..utils.files import atomic_write
from .detections import Detections
from .drawing import colors_of, draw, draw_side_by_side
from .inputs import Source
from .output import PICTURES, YOLO
from .predictions_file import PredictionsFile
from .predictor import Predictor
from .yolo_files import write_names, write_txt

QUALITY = {"jpeg": 95, "webp": 95}


@dataclass(frozen=True)
class Shown:
    """A detector among those whose boxes are drawn.

    Attributes:
        name: on pictures, where there are several.
        file: the name of its json.
        threshold: boxes of lower scores are left out.
    """

    name: str
    file: str
    predictor: Predictor
    threshold: float


class Results:
    """What one call writes. The folder is made with the first of it.

    What is written goes again unless `finish` comes to its end: a later call finds the folder free.

    Attributes:
        boxes: how many there are, of all detectors, once it is finished.
    """

    def __init__(self, shown: list[Shown], output: str, yolo: bool):
        self.shown = shown
        self.output = output
        self.yolo = yolo
        self.colors = colors_of(*(one.predictor.class_names for one in shown))
        self.files = []
        self.made = []  # folders and files that are this call's
        self.finished = False
        self.boxes = 0

    def picture_path(self, name: str) -> str:
        """Where the picture of an image or a video of this name goes; its folder is there."""
        self._begin()
        path = os.path.join(self.output, PICTURES, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def add(
        self, source: Source, image: np.ndarray, found: list[Detections], frame: int | None = None
    ) -> Image.Image:
        """Note what each detector finds in an image.

        Args:
            image: (H, W, 3) uint8 RGB
            frame: its number in a video, from 0.
        Returns:
            the image with the boxes.
        """
        self._begin()
        size = image.shape[1::-1]
        more = {} if frame is None else {"frame": frame}
        for file, of_one in zip(self.files, found, strict=True):
            file.add(source.name, size, of_one, **more)
        if self.yolo:
            write_txt(os.path.join(self.output, YOLO), source, size, found[0], frame)
        if len(found) == 1:
            return draw(image, found[0], self.colors)
        names = [one.name for one in self.shown]
        return draw_side_by_side(image, list(zip(names, found, strict=True)), self.colors)

    def save(self, source: Source, picture: Image.Image) -> None:
        """Write the picture of an image, under its name and, where that is known, in its format."""
        is_known = source.name.lower().endswith(SUFFIXES)
        path = self.picture_path(source.name if is_known else f"{source.name}.png")
        ending = os.path.splitext(path)[1][1:].lower()
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(ending, ending)
        options = {"quality": QUALITY[kind]} if kind in QUALITY else {}
        with atomic_write(path, "wb") as file:
            picture.save(file, format=kind, **options)

    def finish(self, image_root: str) -> None:
        """Write the jsons.

        Args:
            image_root: what the names of the images are below.
        """
        for one, file in zip(self.shown, self.files, strict=True):
            info = {"image_root": image_root, "score_threshold": one.threshold}
            path = os.path.join(self.output, one.file)
            file.write(path, info)
            self.made.append(path)
            self.boxes += file.num_boxes
        if self.yolo:
            write_names(os.path.join(self.output, YOLO), self.shown[0].predictor.class_names)
        self.finished = True

    def close(self) -> None:
        for file in self.files:
            file.close()
        for path in [] if self.finished else self.made:
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(path)

    def _begin(self) -> None:
        if self.made:
            return
        os.makedirs(self.output, exist_ok=True)
        for name in (PICTURES, YOLO) if self.yolo else (PICTURES,):
            path = os.path.join(self.output, name)
            os.mkdir(path)  # fails where another call has made it meanwhile
            self.made.append(path)
        for one in self.shown:
            self.files.append(PredictionsFile(self.output, one.predictor.class_names))
