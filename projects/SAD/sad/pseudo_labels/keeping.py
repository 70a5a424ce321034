"""What a teacher says of images while it labels them, kept for the training that asks the same."""

import logging
import os
from collections.abc import Sequence

from ..config.defaults import device_of, keeps_answers
from ..config.identity import measures, network_settings
from ..config.load import get_sad_cfg
from ..data.teacher_cache import TeacherCache
from ..modeling.adapters import adapter_of
from ..modeling.ask_teacher import asked_together
from ..modeling.teacher import padded_alone
from ..terms import needed
from ..terms.kept import kept_kinds, to_keep
from ..terms.term import Outputs
from ..utils.errors import UserError
from ..utils.files import sha256

logger = logging.getLogger(__name__)


class AnswerKeeper:
    """Fills the folder of a training's `TeacherCache`, with the bits that it would write itself."""

    def __init__(self, model, config: Sequence[str]):
        """
        Args:
            config: see `check_keeping`.
        """
        name, *opts = config
        cfg = get_sad_cfg(name, opts)
        self.model = model
        self.cache = TeacherCache.of(cfg)
        self.need = needed(cfg.SAD.DISTILL.TERMS)

    @staticmethod
    def batch_size(padded_shape: tuple[int, int]) -> int:
        """In which the training asks for images of this shape."""
        return asked_together(padded_shape)

    def filled(self, batch: list[dict]) -> list[dict]:
        """The batch with its last image repeated to that size."""
        count = self.batch_size(self._shape(batch))
        return batch + batch[-1:] * (count - len(batch))

    def keep(self, batch: list[dict], outputs: Outputs) -> None:
        """
        Args:
            batch: N images, all of one padded shape.
            outputs: of N images or more.
        """
        paths = [self.cache.path(item["image"]) for item in batch]
        missing = [n for n, path in enumerate(paths) if not os.path.exists(path)]
        if not missing:
            return
        sizes = adapter_of(self.model).level_sizes(self.model, self._shape(batch))
        answers = to_keep(outputs.select(missing, self.need), sizes, self.cache.floor)
        for number, answer in zip(missing, answers, strict=True):
            self.cache.write(paths[number], answer)

    def _shape(self, batch: list[dict]) -> tuple[int, int]:
        return padded_alone(self.model, *batch[0]["image"].shape[-2:])


def check_keeping(config: Sequence[str], teacher_cfg, weights_sha256: str) -> bool:
    """Whether a training sees images as this teacher does while it labels; a warning says why not.

    Args:
        config: the yaml of the training, a right one, and KEY VALUE pairs on top of it.
        teacher_cfg, weights_sha256: of the labelling.
    Raises:
        UserError: the training keeps no answers, or has another teacher.
    """
    name, *opts = config
    cfg = get_sad_cfg(name, opts)
    if not keeps_answers(cfg):
        raise UserError(
            f"--keep-for {name} keeps no answers of a teacher: set its SAD.TEACHER.CACHE.DIR"
        )
    weights = cfg.SAD.TEACHER.WEIGHTS
    if not os.path.isfile(weights) or sha256(weights) != weights_sha256:
        raise UserError(
            f"--keep-for {name} is taught by SAD.TEACHER.WEIGHTS {weights}, which are not those of "
            "--weights: give its teacher, or leave --keep-for out"
        )
    if reason := _difference(cfg, teacher_cfg):
        logger.warning(f"no answers are kept for {name}: {reason}")
    return not reason


def _difference(cfg, teacher_cfg) -> str | None:
    """What keeps the images of a training from being those of the labelling."""
    if "features" in kept_kinds(needed(cfg.SAD.DISTILL.TERMS)):
        return "it needs feature maps, which labelling does not give"
    ours, theirs = cfg.INPUT, teacher_cfg.INPUT
    sizes = [[*ours.MIN_SIZE_TRAIN], ours.MAX_SIZE_TRAIN]
    if ours.CROP.ENABLED:
        return "it trains on random parts of images"
    if sizes != [[theirs.MIN_SIZE_TEST], theirs.MAX_SIZE_TEST]:
        return (
            f"it trains on images of INPUT.MIN_SIZE_TRAIN {sizes[0]} and MAX_SIZE_TRAIN "
            f"{sizes[1]}, and labelling is at MIN_SIZE_TEST {theirs.MIN_SIZE_TEST} and "
            f"MAX_SIZE_TEST {theirs.MAX_SIZE_TEST}"
        )
    for key, one, other in (
        ("INPUT.FORMAT", ours.FORMAT, theirs.FORMAT),
        ("SAD.TEACHER.PRECISION", cfg.SAD.TEACHER.PRECISION, teacher_cfg.SAD.TEACHER.PRECISION),
        ("SAD.TEACHER.INPUT_SCALE", cfg.SAD.TEACHER.INPUT_SCALE, 1.0),
        ("MODEL.DEVICE", device_of(cfg), device_of(teacher_cfg)),
    ):
        if one != other:
            return f"its {key} is {one}, and that of the labelling {other}"
    one, other = map(network_settings, (get_sad_cfg(cfg.SAD.TEACHER.CONFIG_FILE), teacher_cfg))
    for key in one.keys() | other.keys():
        if one.get(key) != other.get(key) and not measures(key):
            return (
                f"{key} of its SAD.TEACHER.CONFIG_FILE is {one.get(key)}, and that of the "
                f"labelling {other.get(key)}"
            )
    return None
