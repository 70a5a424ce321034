"""Unlabelled images, as a detector sees them, to find the range of its activations on."""

import logging
import os
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from ..data.datasets import read_sets
from ..data.image_files import find_images
from ..data.images import ImageError
from ..data.mapper import ImageMapper
from ..utils.errors import UserError

logger = logging.getLogger(__name__)

MOST = 300


def calibration_images(cfg, folder: str = "") -> Iterator[Tensor]:
    """
    Args:
        cfg: its sets registered.
        folder: of images; "" for those of DATASETS.UNLABELED.
    Returns:
        of MOST images drawn by lot (3, H, W) uint8 each, resized as for a test.
    Raises:
        UserError: there are none; said before the first is asked for.
    """
    if folder:
        records = [{"file_name": os.path.join(folder, name)} for name in find_images(folder)]
    elif cfg.DATASETS.UNLABELED:
        sets = read_sets(cfg.DATASETS.UNLABELED, cfg.DATALOADER.MAX_IMAGE_PIXELS)
        records = [{"file_name": image["file_name"]} for image in sets]
    else:
        raise UserError(
            "--int8 needs unlabelled images, and DATASETS.UNLABELED names none: give a folder of "
            "them by --calibration-images"
        )
    return _read(cfg, records)


def _read(cfg, records: list[dict]) -> Iterator[Tensor]:
    mapper, number = ImageMapper(cfg, is_train=False), 0
    for position in np.random.default_rng(0).permutation(len(records)):
        try:
            yield mapper(records[position])["image"]
        except ImageError as error:
            logger.warning(f"{records[position]['file_name']} is left out: {error}")
            continue
        number += 1
        if number == MOST:
            break
    if not number:
        raise UserError("none of the images to calibrate int8 on can be read")
