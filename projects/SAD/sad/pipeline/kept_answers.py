"""Whether a student's teacher is asked once for each view of an image, and its answers are kept."""

from operator import mul
from typing import NamedTuple

from ..config.load import get_sad_cfg
from ..modeling.adapters import adapter_of
from ..modeling.build import build_detector
from .detectors import RETINANET, kind_of
from .yaml_text import Setting

LEAST_SEEN = 2  # times that training shows a view, or nothing is won
MOST_BYTES = 20e9  # of the disk
BYTES = 2  # of a class score


class KeptAnswers(NamedTuple):
    """Of a training of a student; an image is seen as it is, and mirrored where it may be."""

    possible: bool
    views: int  # of all images
    size: float  # bytes of all answers
    batch: int

    @classmethod
    def of(cls, config: str, num_images: int, gpus: int) -> "KeptAnswers":
        """With a GPU none are kept: whether reading is faster there than asking is not measured.

        Args:
            config: of the student alone.
            num_images: labelled and unlabelled ones.
        """
        cfg = get_sad_cfg(config, ["MODEL.DEVICE", "meta", "MODEL.WEIGHTS", ""])
        views = num_images * (1 if cfg.INPUT.RANDOM_FLIP == "none" else 2)
        if gpus or kind_of(cfg.MODEL.META_ARCHITECTURE) is not RETINANET:
            return cls(False, views, 0, cfg.SOLVER.IMS_PER_BATCH)
        scores = num_scores(build_detector(cfg), cfg.INPUT.MAX_SIZE_TRAIN)
        size = views * BYTES * scores
        return cls(size <= MOST_BYTES, views, size, cfg.SOLVER.IMS_PER_BATCH)

    def seen(self, iterations: int) -> float:
        """How often a view is, on average; 0 if too seldom to keep what the teacher says of it."""
        seen = iterations * self.batch / self.views
        return seen if self.possible and seen >= LEAST_SEEN else 0.0

    def share_asked(self, iterations: int) -> float:
        """Of the images that training shows, the share for which the teacher is asked."""
        return 1 / self.seen(iterations) if self.seen(iterations) else 1.0

    def settings(self, iterations: int, folder: str) -> list[Setting]:
        """What the yaml of the distilled student says of it.

        Args:
            folder: to keep the answers in.
        """
        if not self.seen(iterations):
            return []
        seen = f"training shows a view of an image {self.seen(iterations):.1f} times"
        return [
            Setting("SAD.TEACHER.CACHE.DIR", folder, f"{seen}; at most {self.size / 1e9:.1f} GB"),
            Setting("INPUT.CROP.ENABLED", False, "a random part of an image never comes again"),
        ]


def num_scores(model, side: int) -> int:
    """Class scores of a dense detector for a square image.

    Args:
        side: in pixels.
    """
    adapter = adapter_of(model)
    cells = [h * w for h, w in adapter.level_sizes(model, (side, side))]
    return adapter.num_classes(model) * sum(map(mul, cells, model.anchor_generator.num_anchors))
