"""From inputs to results: read, find, write."""

import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from multiprocessing.pool import ThreadPool

import numpy as np
from tqdm import tqdm

from ..data.images import ImageError, TooLarge, check_resizable, read_picture
from ..utils.errors import UserError
from .detections import Detections
from .inputs import Inputs, Source
from .results import Results, Shown
from .tiles import find_in_tiles
from .video import Video, video_writer

logger = logging.getLogger(__name__)

READERS = 8  # threads that decode images


@dataclass
class Done:
    """How many of each; `boxes` are those of all detectors."""

    images: int = 0
    videos: int = 0
    frames: int = 0
    boxes: int = 0
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
        max_pixels: int | None = None,
        yolo: bool = False,
    ):
        """
        Args:
            shown: one detector, or two whose pictures stand side by side.
            output: the folder to write to; made when there is something to write.
            batch: images, or tiles of one, that are looked at at once.
            tile: side of the tiles that larger images are looked at in, see `sad.predict.tiles`.
            max_pixels: of an image or a frame, more are skipped; by default as the detectors' own.
            yolo: whether to write YOLO's txts, too; of the first detector.
        """
        self.shown = shown
        self.batch = batch
        self.tile = tile
        self.max_pixels = max_pixels or min(one.predictor.detector.max_pixels for one in shown)
        self.results = Results(shown, output, yolo)
        self.done = Done()

    def run(self, inputs: Inputs) -> Done:
        """SIGTERM and the end of the terminal are taken as Ctrl-C: what is half done goes.

        Raises:
            UserError: there is nothing that can be read, or the output cannot be written.
        """
        total = inputs.count()
        try:
            with ExitStack() as stack:
                for number in (signal.SIGTERM, signal.SIGHUP):
                    if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does
                        before = signal.signal(number, signal.default_int_handler)
                        stack.callback(signal.signal, number, before)
                pool = stack.enter_context(ThreadPool(READERS))
                progress = stack.enter_context(
                    tqdm(desc="predicting", total=total, unit="file", mininterval=1)
                )
                stack.callback(self.results.close)
                for some in _chunks(inputs, self.batch):
                    if some[0].is_video:
                        self._video(some[0])
                    else:
                        self._images(some, pool)
                    progress.update(len(some))
                if self.done.images + self.done.videos == 0:
                    raise UserError(
                        f"none of {total} images and videos could be read: the log names each, and "
                        "says why"
                    )
                self.results.finish(inputs.root)
        except OSError as error:
            raise UserError(
                f"{error.filename or self.results.output} cannot be written to "
                f"({error.strerror or error}): mend that, or let --output name another folder"
            ) from error
        self.done.boxes = self.results.boxes
        return self.done

    def _images(self, sources: list[Source], pool: ThreadPool) -> None:
        readable, images = [], []
        for source, read in zip(sources, pool.map(self._read, sources), strict=True):
            if isinstance(read, str):
                self._skip(source, read)
            else:
                readable.append(source)
                images.append(read)
        for source, image, found in zip(readable, images, self._find(images), strict=True):
            self.results.save(source, self.results.add(source, image, found))
            self.done.images += 1

    def _video(self, source: Source) -> None:
        try:
            video = Video(source.path, self.max_pixels)
            self._frames(source, video)
        except ImageError as error:
            self._skip(source, _reason(error))
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
        frames = iter(video)
        some = list(
            islice(frames, self.batch)
        )  # of a broken video none, before anything is written
        self._check_shape(some[0])
        name = source.name if source.name.lower().endswith(".mp4") else f"{source.name}.mp4"
        with (
            video_writer(self.results.picture_path(name), video.rate) as write,
            tqdm(
                desc=source.name, total=video.said or None, unit="frame", leave=False, mininterval=1
            ) as progress,
        ):
            number = 0
            while some:
                for image, found in zip(some, self._find(some), strict=True):
                    write(np.asarray(self.results.add(source, image, found, number)))
                    number += 1
                progress.update(len(some))
                some = list(islice(frames, self.batch))

    def _read(self, source: Source) -> np.ndarray | str:
        """(H, W, 3) RGB, or why it cannot be read."""
        try:
            pixels, truncated = read_picture(source.path, "RGB", self.max_pixels)
            self._check_shape(pixels)
        except ImageError as error:
            return _reason(error)
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


def _reason(error: ImageError) -> str:
    return error.said("--max-pixels") if isinstance(error, TooLarge) else str(error)


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
