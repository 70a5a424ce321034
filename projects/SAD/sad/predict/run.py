"""From inputs to pictures with boxes, jsons and txts."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool

import numpy as np
from tqdm import tqdm

from ..data.image_files import SUFFIXES
from ..data.images import ImageError, check_resizable, read_picture
from ..utils.errors import UserError
from ..utils.files import atomic_write
from .detections import Detections
from .drawing import colors_of, draw, draw_side_by_side
from .inputs import Inputs, Source
from .predictions_file import PredictionsFile
from .predictor import Predictor
from .tiles import find_in_tiles
from .video import Video, video_writer
from .yolo_files import write_names, write_txt

logger = logging.getLogger(__name__)

PICTURES, YOLO = "pictures", "yolo"  # folders of the output
READERS = 8  # threads that decode images


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


@dataclass
class Done:
    images: int = 0
    videos: int = 0
    frames: int = 0
    boxes: int = 0  # of all detectors
    unreadable: int = 0
    cut_short: int = 0  # videos


class Prediction:
    """One call of the command."""

    def __init__(
        self,
        shown: list[Shown],
        output: str,
        *,
        batch: int = 8,
        tile: int | None = None,
        yolo: bool = False,
    ):
        """
        Args:
            shown: one detector, or two whose pictures stand side by side.
            output: the folder to write to; made when there is something to write.
            batch: images, or tiles of one, that are looked at at once.
            tile: side of the tiles that larger images are looked at in, see `sad.predict.tiles`.
            yolo: whether to write YOLO's txts, too; of the first detector.
        """
        self.shown = shown
        self.output = output
        self.batch = batch
        self.tile = tile
        self.yolo = yolo
        self.colors = colors_of(*(one.predictor.class_names for one in shown))
        self.max_pixels = min(one.predictor.detector.max_pixels for one in shown)
        self.done = Done()
        self.files = []

    def run(self, inputs: Inputs) -> Done:
        """
        Raises:
            UserError: there is nothing that can be read, or the output cannot be written.
        """
        total = inputs.count()
        try:
            with ExitStack() as stack:
                pool = stack.enter_context(ThreadPool(READERS))
                progress = stack.enter_context(
                    tqdm(desc="predicting", total=total, unit="file", mininterval=1)
                )
                stack.callback(self._close)
                for some in _chunks(inputs, self.batch):
                    if some[0].is_video:
                        self._video(some[0])
                    else:
                        self._images(some, pool)
                    progress.update(len(some))
                self._finish(inputs, total)
        except OSError as error:
            raise UserError(
                f"--output {self.output} cannot be written to ({error.strerror}: "
                f"{error.filename}): mend that, or name another folder"
            ) from error
        return self.done

    def _images(self, sources: list[Source], pool: ThreadPool) -> None:
        readable, pixels = [], []
        for source, read in zip(sources, pool.map(self._read, sources), strict=True):
            if isinstance(read, str):
                self._skip(source, read)
            else:
                readable.append(source)
                pixels.append(read)
        if not readable:
            return
        self._open()
        for source, image, found in zip(readable, pixels, self._find(pixels), strict=True):
            self._record(source, image, found)
            path = self._path(source.name if _is_image(source.name) else f"{source.name}.png")
            with atomic_write(path, "wb") as file:
                self._draw(image, found).save(file, format=_format(path), quality=95)
            self.done.images += 1

    def _video(self, source: Source) -> None:
        try:
            video = Video(source.path, self.max_pixels)
            self._frames(source, video)
        except ImageError as error:
            self._skip(source, str(error))
            return
        self.done.videos += 1
        self.done.frames += video.num_read
        if video.breaks_off:
            self.done.cut_short += 1
            logger.warning(
                f"{source.path} breaks off after {video.num_read} of {video.said} frames, which "
                "are kept"
            )

    def _frames(self, source: Source, video: Video) -> None:
        frames = _lists(video, self.batch)
        first = next(frames)  # before anything is written
        self._check_shape(first[0])
        self._open()
        name = source.name if source.name.lower().endswith(".mp4") else f"{source.name}.mp4"
        with (
            video_writer(self._path(name), video.rate) as add,
            tqdm(
                desc=source.name, total=video.said or None, unit="frame", leave=False, mininterval=1
            ) as progress,
        ):
            number = 0
            while first:
                for image, found in zip(first, self._find(first), strict=True):
                    self._record(source, image, found, frame=number)
                    add(np.asarray(self._draw(image, found)))
                    number += 1
                progress.update(len(first))
                first = next(frames, None)

    def _read(self, source: Source) -> np.ndarray | str:
        """(H, W, 3) RGB, or why it cannot be read."""
        try:
            pixels, truncated = read_picture(source.path, "RGB", self.max_pixels)
            self._check_shape(pixels)
        except ImageError as error:
            return str(error)
        if truncated:
            logger.warning(f"{source.path} lacks its last bytes")
        return pixels

    def _check_shape(self, pixels: np.ndarray) -> None:
        for one in self.shown:
            check_resizable(pixels, one.predictor.detector.max_size)

    def _skip(self, source: Source, reason: str) -> None:
        self.done.unreadable += 1
        logger.warning(f"skipping {source.path}: {reason}")

    def _find(self, images: list[np.ndarray]) -> list[list[Detections]]:
        """Of each image what each detector finds."""
        views = [image[:, :, ::-1] for image in images]  # as OpenCV has them
        of_each = []
        for one in self.shown:
            if self.tile:
                nms = one.predictor.detector.nms_threshold
                found = [
                    find_in_tiles(one.predictor, view, self.tile, self.batch, nms) for view in views
                ]
            else:
                found = one.predictor(views)
            of_each.append([x[x.scores >= one.threshold] for x in found])
        return [list(found) for found in zip(*of_each, strict=True)]

    def _record(self, source: Source, image: np.ndarray, found: list[Detections], **more) -> None:
        height, width = image.shape[:2]
        for file, of_one in zip(self.files, found, strict=True):
            file.add(source.name, (width, height), of_one, **more)
        if self.yolo:
            folder = os.path.join(self.output, YOLO)
            write_txt(folder, source, (width, height), found[0], more.get("frame"))

    def _draw(self, image: np.ndarray, found: list[Detections]):
        if len(self.shown) == 1:
            return draw(image, found[0], self.colors)
        names = [one.name for one in self.shown]
        return draw_side_by_side(image, dict(zip(names, found, strict=True)), self.colors)

    def _path(self, name: str) -> str:
        path = os.path.join(self.output, PICTURES, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def _open(self) -> None:
        if not self.files:
            os.makedirs(self.output, exist_ok=True)
            self.files = [
                PredictionsFile(self.output, one.predictor.class_names) for one in self.shown
            ]

    def _finish(self, inputs: Inputs, total: int) -> None:
        if not self.files:
            raise UserError(
                f"none of {total} images and videos could be read: the log names each and says why"
            )
        for one, file in zip(self.shown, self.files, strict=True):
            info = {"image_root": inputs.root, "score_threshold": one.threshold}
            file.write(os.path.join(self.output, one.file), info)
            self.done.boxes += file.num_boxes
        if self.yolo:
            write_names(os.path.join(self.output, YOLO), self.shown[0].predictor.class_names)

    def _close(self) -> None:
        for file in self.files:
            file.close()


def _chunks(inputs: Inputs, size: int) -> Iterator[list[Source]]:
    """Some images at once, or one video."""
    images = []
    for source in inputs:
        if not source.is_video:
            images.append(source)
        if images and (source.is_video or len(images) == size):
            yield images
            images = []
        if source.is_video:
            yield [source]
    if images:
        yield images


def _lists(items, size: int) -> Iterator[list]:
    some = []
    for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _format(path: str) -> str:
    """Pillow's name of a picture's format."""
    ending = os.path.splitext(path)[1][1:].lower()
    return {"jpg": "jpeg", "tif": "tiff"}.get(ending, ending)
