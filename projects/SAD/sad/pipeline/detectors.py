"""The two kinds of detectors that settings are chosen for, and what differs between them."""

import re
from abc import ABC, abstractmethod

from ..config.detector_keys import DENSE, TWO_STAGES, DetectorKeys
from ..utils.errors import UserError, did_you_mean
from .facts import Facts
from .yaml_text import Setting

BACKBONE_LEVELS = range(2, 6)  # of a ResNet: res2, of stride 4, to res5
PROPOSALS, SAMPLED = (128, 1024), (64, 512)  # of an image, at least and at most


class Detector(ABC):
    """A kind of detector; nothing is held but constants."""

    architecture: str  # MODEL.META_ARCHITECTURE of one that is trained here
    method: str  # by which its student is taught; yaml and run are named so
    title: str  # of the report
    networks: str  # the folder of their yamls
    keys: DetectorKeys
    level_keys: tuple[str, ...]  # what is done on which feature maps
    followed: tuple[str, ...]  # what else a student must have as its teacher has it
    times_stride: list[float]  # of the smallest anchor of a map, in question
    per_octave: int  # anchor sizes on a map

    @abstractmethod
    def levels(self, size: int, all_levels: bool) -> tuple[int, int]:
        """The finest and the coarsest map of images of this longer side.

        Args:
            all_levels: whether a network's FPN always goes to the coarsest map that there is.
        """

    @abstractmethod
    def of_levels(self, names: list[str]) -> list[Setting]:
        """Which part works on which of these maps."""

    @abstractmethod
    def head(self, facts: Facts) -> list[Setting]:
        """Of the heads, but for what a network says."""

    @abstractmethod
    def terms(self) -> list[Setting]:
        """What a student learns from its teacher."""

    def level_settings(self, first: int, last: int) -> list[Setting]:
        """An FPN of these maps, and who works on them."""
        inputs = [f"res{level}" for level in BACKBONE_LEVELS if level >= first]
        return [
            Setting("MODEL.RESNETS.OUT_FEATURES", inputs),
            Setting("MODEL.FPN.IN_FEATURES", inputs),
            Setting("MODEL.FPN.LAST_LEVEL", last),
            *self.of_levels([f"p{level}" for level in range(first, last + 1)]),
        ]

    def levels_as(self, values: dict) -> list[Setting]:
        """
        Args:
            values: of a teacher that is there already, by their keys.
        Raises:
            UserError: it has no FPN.
        """
        names = [name for key in self.level_keys for name in values[key]]
        if strange := [name for name in names if not re.fullmatch(r"p\d", name)]:
            raise UserError(
                f"--teacher works on {', '.join(dict.fromkeys(strange))}, and the students that "
                "are chosen here on the maps of an FPN, p2 to p7: name a teacher with an FPN, or "
                "write the configs yourself (--configs)"
            )
        levels = [int(name.removeprefix("p")) for name in names]
        why = "as the teacher"
        own = [Setting(key, values[key], why) for key in self.level_keys]
        return [*self.level_settings(min(levels), max(levels)), *own]


class Dense(Detector):
    """RetinaNet, and FCOS where a teacher is one; taught by SAD."""

    architecture = "RetinaNet"
    method = "SAD"
    title = "Semi-supervised adaptive distillation"
    networks = "configs/networks"
    keys = DENSE
    level_keys = (DENSE.anchor_levels,)
    followed = (DENSE.num_classes, "MODEL.RETINANET.IOU_THRESHOLDS")
    times_stride = [2, 2.8, 4]  # RetinaNet's own are 4, for boxes of 32 pixels and more
    per_octave = 3

    def levels(self, size: int, all_levels: bool) -> tuple[int, int]:
        """From P3 on; boxes as large as half the image still span two cells of the coarsest."""
        return 3, 7 if all_levels or size > 512 else 6 if size > 192 else 5

    def of_levels(self, names: list[str]) -> list[Setting]:
        return [Setting(DENSE.anchor_levels, names)]

    def head(self, facts: Facts) -> list[Setting]:
        return [
            Setting("MODEL.RETINANET.NUM_CONVS", 2),
            Setting("MODEL.RETINANET.NORM", "BN"),
            Setting("MODEL.RETINANET.SMOOTH_L1_LOSS_BETA", 0.0),
        ]

    def terms(self) -> list[Setting]:
        why = "better than the paper's adl where both were measured"
        return [
            Setting("SAD.DISTILL.CLASS.LOSS", "kl", why),
            Setting("SAD.DISTILL.CLASS.WEIGHT", 1.0),
        ]


class TwoStages(Detector):
    """Faster R-CNN, taught by TAR."""

    architecture = "GeneralizedRCNN"
    method = "TAR"
    title = "Task adaptive regularization"
    networks = "configs/networks/FasterRCNN"
    keys = TWO_STAGES
    level_keys = (TWO_STAGES.anchor_levels, "MODEL.ROI_HEADS.IN_FEATURES")
    followed = (TWO_STAGES.num_classes, "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE")
    times_stride = [4, 5.6, 8]  # Faster R-CNN's own are 8
    per_octave = 1

    def levels(self, size: int, all_levels: bool) -> tuple[int, int]:
        """From P2 on, as the FPN paper: the box head pools all boxes under 112 pixels from there.

        To begin with P3 would save a third of `tiny`'s step and a fifth of `lite0`'s.
        """
        return 2, 6 if size > 192 else 5

    def of_levels(self, names: list[str]) -> list[Setting]:
        pooled = [name for name in names if name != "p6"]
        return [
            Setting(TWO_STAGES.anchor_levels, names),
            Setting("MODEL.ROI_HEADS.IN_FEATURES", pooled),
        ]

    def head(self, facts: Facts) -> list[Setting]:
        proposals = _power_of_two(20 * facts.most_boxes, *PROPOSALS)
        sampled = _power_of_two(10 * facts.most_boxes, *SAMPLED)
        why = f"nineteen of twenty labelled images show at most {facts.most_boxes} objects"
        return [
            Setting("MODEL.RPN.BATCH_SIZE_PER_IMAGE", min(256, sampled)),
            *(Setting(f"MODEL.RPN.PRE_NMS_TOPK_{x}", 2 * proposals) for x in ("TRAIN", "TEST")),
            Setting("MODEL.RPN.POST_NMS_TOPK_TRAIN", proposals, f"20 for each object: {why}"),
            Setting("MODEL.RPN.POST_NMS_TOPK_TEST", proposals),
            Setting("MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
            Setting("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", sampled, "10 for each object"),
            Setting("MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead"),
            Setting("MODEL.ROI_BOX_HEAD.NUM_FC", 2),
            Setting("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 7),
        ]

    def terms(self) -> list[Setting]:
        decayed = "the student ends with the detection losses alone"
        return [
            Setting(
                "SAD.DISTILL.TERMS",
                ["feature", "roi_class", "roi_box"],
                "the feature maps where objects are, and the scores and boxes of their regions",
            ),
            Setting("SAD.DISTILL.FEATURE.MASK", "gaussian"),
            Setting("SAD.DISTILL.FEATURE.LAYER", "conv3x3"),
            Setting(
                "SAD.DISTILL.FEATURE.WEIGHT",
                1.0,
                "the best of 0.1 to 9 for a teacher lite0 on photographs; see docs/own_data.md",
            ),
            Setting("SAD.DISTILL.FEATURE.DECAY_TO", 0.0, decayed),
            Setting("SAD.DISTILL.ROI_CLASS.WEIGHT", 0.36, "the best of 0.12 to 30 on digit scenes"),
            Setting("SAD.DISTILL.ROI_CLASS.DECAY_TO", 0.0),
            Setting("SAD.DISTILL.ROI_BOX.DECAY_TO", 0.0),
        ]


RETINANET, FASTER_RCNN = Dense(), TwoStages()
DETECTORS = {"RetinaNet": RETINANET, "FasterRCNN": FASTER_RCNN}  # as --detector names them
METHODS = tuple(detector.method for detector in DETECTORS.values())


def find_detector(name: str) -> Detector:
    """
    Raises:
        UserError: it is none of DETECTORS.
    """
    if name not in DETECTORS:
        raise UserError(
            f"--detector is {name!r}, it must be one of {', '.join(DETECTORS)}"
            f"{did_you_mean(name, DETECTORS)}"
        )
    return DETECTORS[name]


def kind_of(architecture: str) -> Detector:
    """
    Args:
        architecture: as MODEL.META_ARCHITECTURE names it.
    """
    return FASTER_RCNN if architecture == FASTER_RCNN.architecture else RETINANET


def _power_of_two(wanted: int, least: int, most: int) -> int:
    return min(max(1 << (wanted - 1).bit_length(), least), most)
