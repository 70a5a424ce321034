"""Whether the numbers of a COCO json are boxes in pixels, box by box and of the whole file."""

import logging
from typing import NamedTuple

from ..utils.errors import UserError
from .coco_items import MAX_SIDE

logger = logging.getLogger(__name__)

ENOUGH = 20  # boxes from which on it is odd that all of them are near one corner
TOLERANCE = 2  # pixels by which boxes of good files leave their image


class Limits(NamedTuple):
    """Shares of a file's boxes; above them it holds no boxes in pixels."""

    outside: float = 0.1  # see DATASETS.MAX_BOXES_OUTSIDE
    tiny: float = 0.5  # see DATASETS.MAX_BOXES_UNDER_A_PIXEL


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
        if not fits(x, y, x + w, y + h, width, height):
            self.outside += 1
            self.corners += x < w and y < h and fits(x, y, w, h, width, height)
            self.turned += fits(x, y, x + w, y + h, height, width) or (
                fits(x, y, x + h, y + w, width, height)
            )
            self.centres += fits(x - w / 2, y - h / 2, x + w / 2, y + h / 2, width, height)
        if w < 0 or h < 0:
            return "of a negative width or height"
        self.tiny += w * h < 1
        if not (x + w > x and y + h > y):
            return "without area"
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            return "outside of their image"
        return None

    def oddity(self, limits: Limits) -> tuple[str, str, str] | None:
        """(what is odd, what they look like, the key of the limit), where a limit is exceeded."""
        if self.tiny > limits.tiny * self.boxes:
            return (
                f"{self.tiny} of {self.boxes} boxes are under a pixel",
                "they look like shares of the image's size",
                f"MAX_BOXES_UNDER_A_PIXEL {limits.tiny:g}",
            )
        if self.outside > limits.outside * self.boxes:
            return (
                f"{self.outside} of {self.boxes} boxes leave their image by more than {TOLERANCE} "
                "pixels",
                self._guess(),
                f"MAX_BOXES_OUTSIDE {limits.outside:g}",
            )
        return None

    def check(self, where: str, limits: Limits) -> None:
        """Warns where the boxes may be in percent, which no value can tell for sure.

        Raises:
            UserError: too many boxes leave their image, or are under a pixel.
        """
        wanted = "COCO's bbox is x, y, width, height in pixels"
        if odd := self.oddity(limits):
            what, guess, key = odd
            raise UserError(
                f"{where}: {what}, {guess}: {wanted}; mend the file, or raise DATASETS.{key} if "
                "they are right"
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


def fits(x0, y0, x1, y1, width: float, height: float) -> bool:
    """Whether a box lies in an image, but for TOLERANCE pixels."""
    least, right, bottom = -TOLERANCE, width + TOLERANCE, height + TOLERANCE
    return x0 >= least and y0 >= least and x1 <= right and y1 <= bottom
