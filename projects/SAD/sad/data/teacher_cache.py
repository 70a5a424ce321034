"""The folder that keeps what a frozen teacher says of the images that a training shows to it."""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from functools import cached_property, partial

import torch
from torch import Tensor

from ..config.defaults import device_of, keeps_answers
from ..config.identity import describe_teacher, measures, timm_version
from ..terms import needed
from ..terms.kept import KeptOutputs, kept_kinds
from ..utils.files import atomic_write

logger = logging.getLogger(__name__)

FORMAT = 7  # of the files, and of the way in which a teacher is asked


class TeacherCache:
    """A file for each view of an image: in one of its sizes, mirrored or not.

    A file is found by the pixels that the teacher sees, in a folder that is found by all else that
    its answer depends on. So an image, a teacher or a view that has changed finds no file. Any
    number of processes share the folder; files appear in it whole.
    """

    def __init__(self, root: str, describe: Callable[[], dict], floor: float, leave_free: float):
        """
        Args:
            describe: all that the teacher's answer for an image depends on besides the pixels.
            floor: see SAD.TEACHER.CACHE.FLOOR.
            leave_free: bytes of the disk that are not used.
        """
        self.root = root
        self.describe = describe
        self.floor = floor
        self.leave_free = leave_free
        self.writes = True

    @classmethod
    def of(cls, cfg) -> "TeacherCache | None":
        """That of a run; None where nothing is kept."""
        cache = cfg.SAD.TEACHER.CACHE
        if not keeps_answers(cfg):
            return None
        describe = partial(describe_answers, cfg)
        return cls(cache.DIR, describe, cache.FLOOR, cache.LEAVE_FREE_GB * 1e9)

    @cached_property
    def folder(self) -> str:
        text = json.dumps(self.describe(), sort_keys=True)
        return os.path.join(self.root, hashlib.sha256(text.encode()).hexdigest()[:32])

    def path(self, image: Tensor) -> str:
        """Where the answer for an image lies.

        Args:
            image: (C, H, W), as the teacher is given it.
        """
        pixels = hashlib.sha256(repr((image.dtype, tuple(image.shape))).encode())
        pixels.update(image.numpy())
        name = pixels.hexdigest()[:32]
        return os.path.join(self.folder, name[:2], name[2:])

    def read(self, path: str) -> KeptOutputs | None:
        """What a file holds; None where there is none, or it is broken."""
        try:
            with open(path, "rb") as file:
                return KeptOutputs.from_bytes(file.read())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning(f"{path} cannot be used ({error}), the teacher is asked again")
            return None

    def write(self, path: str, kept: KeptOutputs) -> None:
        """Unless the disk is full, or cannot be written: this is said once, and the run goes on."""
        if not self.writes:
            return
        try:
            try:
                self._write(path, kept)
            except FileNotFoundError:  # the first in its folder
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self._write(path, kept)
        except OSError as error:
            logger.warning(
                f"SAD.TEACHER.CACHE.DIR {self.root} keeps no more answers of the teacher "
                f"({error.strerror}): it is asked again for images that are not there"
            )
            self.writes = False

    def _write(self, path: str, kept: KeptOutputs) -> None:
        if shutil.disk_usage(self.root).free < self.leave_free:
            raise OSError(errno.ENOSPC, "less than SAD.TEACHER.CACHE.LEAVE_FREE_GB is free")
        with atomic_write(path, "wb", durable=False) as file:
            file.writelines(kept.pieces())


def describe_answers(cfg) -> dict:
    """All that a teacher's answer for an image depends on besides its pixels."""
    teacher = cfg.SAD.TEACHER
    return {
        **{key: value for key, value in describe_teacher(cfg).items() if not measures(key)},
        "format": FORMAT,
        "channels": cfg.INPUT.FORMAT,
        "precision": teacher.PRECISION,
        "floor": teacher.CACHE.FLOOR,
        "outputs": sorted(kept_kinds(needed(cfg.SAD.DISTILL.TERMS))),
        "device": torch.device(device_of(cfg)).type,
        "torch": torch.__version__,
        "timm": timm_version(),
    }
