"""Whether a student's teacher is asked once for each view of an image, and its answers are kept."""

from operator import mul
from typing import NamedTuple

from ..config.defaults import detector_name, distills
from ..config.load import get_sad_cfg
from ..modeling.adapters import adapter_of
from ..modeling.build import build_detector
from ..terms import needed
from ..terms.kept import kept_kinds
from .detectors import RETINANET, kind_of
from .yaml_text import Setting

VIEW_EPOCHS = 4  # for which an image keeps its view, where augmentations draw any number of them
# Of the images shown, or too little is won; less where each view is shown again and again for it,
# which may cost AP (docs/performance.md).
MOST_ASKED, MOST_ASKED_AGAIN = 0.75, 0.4
MOST_BYTES = 20e9  # of the disk
BYTES = 2  # of a class score, and of each of a box's four numbers


class KeptAnswers(NamedTuple):
    """Of a training of a student on labelled and unlabelled images in turn (MIX alternate)."""

    labeled: int
    unlabeled: int
    batch: int
    views: int  # that there are of an image; 0 is any number
    size: int  # bytes of an image's answer; 0 where none can be kept

    @classmethod
    def of(cls, config: str, labeled: int, unlabeled: int, gpus: int) -> "KeptAnswers":
        """Feature maps are not kept, which are a megabyte or more. Nor is anything with a GPU:
        whether reading is faster there than asking is not measured.

        Args:
            config: of the distilled student, or of the student alone.
            labeled, unlabeled: images.
        """
        cfg = get_sad_cfg(config, ["MODEL.DEVICE", "meta", "MODEL.WEIGHTS", ""])
        size = 0
        kinds = kept_kinds(needed(cfg.SAD.DISTILL.TERMS)) if distills(cfg) else {"logits"}
        if not gpus and "features" not in kinds and kind_of(detector_name(cfg)) is RETINANET:
            model = build_detector(cfg)
            student = getattr(model, "student", model)
            values = adapter_of(student).num_classes(student)
            if "deltas" in kinds:
                values += 4
            size = BYTES * values * num_anchors(student, cfg.INPUT.MAX_SIZE_TRAIN)
        return cls(labeled, unlabeled, cfg.SOLVER.IMS_PER_BATCH, num_views(cfg.INPUT), size)

    def share_asked(self, iterations: int) -> float:
        """Of the images that training shows, the share for which the teacher is asked."""
        share = self._different(iterations) / (iterations * self.batch)
        most = MOST_ASKED if self.views else MOST_ASKED_AGAIN
        keeps = self.size and share <= most and self._bytes(iterations) <= MOST_BYTES
        return share if keeps else 1.0

    def settings(self, iterations: int, folder: str) -> list[Setting]:
        """What the yaml of the distilled student says of it.

        Args:
            folder: to keep the answers in.
        """
        share = self.share_asked(iterations)
        if share == 1:
            return []
        why = f"it is asked for {share:.0%} of the images; {self._bytes(iterations) / 1e9:.1f} GB"
        found = [Setting("SAD.TEACHER.CACHE.DIR", folder, why)]
        if not self.views:
            why = "of random parts of an image, to ask the teacher once for each"
            found.append(Setting("SAD.LOADER.VIEW_EPOCHS", VIEW_EPOCHS, why))
        return found

    def _bytes(self, iterations: int) -> float:
        return self._different(iterations) * self.size

    def _different(self, iterations: int) -> float:
        """Views that training shows."""
        shown, every = iterations * self.batch, self.labeled + self.unlabeled
        if self.views:
            return min(shown, every * self.views)
        streams = [(shown, every)]
        if self.unlabeled:
            streams = [(shown / 2, self.labeled), (shown / 2, every)]
        return sum(min(count, max(size, count / VIEW_EPOCHS)) for count, size in streams)


def num_views(given) -> int:
    """That augmentations make of an image; 0 where there is no end of them.

    Args:
        given: the section INPUT of a config.
    """
    sizes = len(set(given.MIN_SIZE_TRAIN))
    if given.CROP.ENABLED or (sizes > 1 and given.MIN_SIZE_TRAIN_SAMPLING == "range"):
        return 0
    return sizes * (1 if given.RANDOM_FLIP == "none" else 2)


def num_anchors(model, side: int) -> int:
    """Of a dense detector for a square image.

    Args:
        side: in pixels.
    """
    cells = [h * w for h, w in adapter_of(model).level_sizes(model, (side, side))]
    return sum(map(mul, cells, model.anchor_generator.num_anchors))
