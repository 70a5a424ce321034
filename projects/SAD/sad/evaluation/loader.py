"""The loader of a test set, which needs every image."""

import logging

import torch
from detectron2.data import build_detection_test_loader

from ..data.checks import check_boxes, check_classes
from ..data.datasets import read_sets
from ..data.loader_workers import worker_arguments
from ..data.mapper import ReadingMapper
from ..utils.errors import UserError

logger = logging.getLogger(__name__)


class StrictTestLoader:
    """The batches of a test set, each image of which must be there: AP is one of all of them."""

    def __init__(self, loader, name: str):
        self.loader = loader
        self.name = name

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        """
        Raises:
            UserError: naming the image that cannot be read.
        """
        for batch in self.loader:
            for sample in batch:
                if "unreadable" in sample:
                    raise UserError(
                        f"data set {self.name}: {sample['file_name']} cannot be read "
                        f"({sample['unreadable']}), and an evaluation needs every image: mend it, "
                        "or take it out of the annotations"
                    )
                if "truncated" in sample:
                    logger.warning(f"Image lacks its last bytes: {sample['file_name']}")
            yield batch


def build_test_loader(cfg, name: str) -> StrictTestLoader:
    """Detectron2's loader of a registered test set, which names what it cannot read.

    Raises:
        UserError: the set cannot be read, has another number of classes than the model, or no box.
    """
    images = read_sets([name], cfg.DATALOADER.MAX_IMAGE_PIXELS)
    check_classes(cfg, (name,))  # which reading brought to light
    check_boxes(name, images)
    loader = build_detection_test_loader(
        images,
        mapper=ReadingMapper(cfg, is_train=False),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    # A generator of its own: each pass draws a number, which training must not miss.
    own = {"generator": torch.Generator(), **worker_arguments(loader.num_workers)}
    for attribute, value in own.items():
        setattr(loader, attribute, value)  # Detectron2's function takes no such arguments
    return StrictTestLoader(loader, name)
