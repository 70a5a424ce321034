"""Labelled and unlabelled images mixed into batches that depend on (seed, rank, position) alone."""

import itertools
import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from detectron2.data import DatasetFromList, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.build import (
    filter_images_with_only_crowd_annotations,
    trivial_batch_collator,
)
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm
from PIL.Image import DecompressionBombError

from .dataset_mapper import SADDatasetMapper
from .datasets import check_files
from .errors import UserError
from .label_share import choose_share

logger = logging.getLogger(__name__)

MIXES = ("alternate", "union", "ratio")


class SampleKey(NamedTuple):
    index: int
    augmentation_seed: tuple[int, int, int]  # seed, rank, how many samples the rank drew before


class MixedBatchSampler(torch.utils.data.Sampler):
    """Endless batches of SampleKeys; indices below `num_labeled` are labelled images.

    Nothing is decoded to draw a batch, so a resumed run sets `start` to its iteration and replays
    the indices in seconds.
    """

    def __init__(
        self,
        num_labeled: int,
        num_unlabeled: int,
        batch_size: int,
        *,
        mix: str = "alternate",
        ratio: tuple[int, int] = (1, 1),
        seed: int = 0,
        groups: list | None = None,
    ):
        """
        Args:
            batch_size: images of one rank's batch.
            mix, ratio: see SAD.LOADER.
            groups: one value per image; the images of a batch have the same one (wide or tall).
        """
        self.num_labeled = num_labeled
        self.num_unlabeled = num_unlabeled
        self.batch_size = batch_size
        self.mix = mix
        self.ratio = ratio
        self.seed = seed
        self.groups = groups
        self.start = 0

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return itertools.islice(self._batches(), self.start, None)

    def _batches(self) -> Iterator[list[SampleKey]]:
        waiting = defaultdict(list)
        seeds = ((self.seed, comm.get_rank(), k) for k in itertools.count())
        for turn, stream in itertools.cycle(enumerate(self._streams())):
            for index in stream:
                group = waiting[turn, self.groups[index] if self.groups else 0]
                group.append(SampleKey(index, next(seeds)))
                if len(group) == self.batch_size:
                    yield group.copy()
                    group.clear()
                    break

    def _streams(self) -> list[Iterator[int]]:
        """Endless streams of indices that the batches are drawn from in turn."""

        labeled = self._shuffled(self.num_labeled, self.seed)
        if self.num_unlabeled == 0:
            return [labeled]
        everything = self._shuffled(self.num_labeled + self.num_unlabeled, self.seed + 1)
        if self.mix == "union":
            return [everything]
        if self.mix == "alternate":
            return [labeled, everything]
        unlabeled = self._shuffled(self.num_unlabeled, self.seed + 1, first=self.num_labeled)
        turns = [labeled] * self.ratio[0] + [unlabeled] * self.ratio[1]
        return [(next(stream) for stream in itertools.cycle(turns))]

    @staticmethod
    def _shuffled(size: int, seed: int, first: int = 0) -> Iterator[int]:
        # Detectron2's sampler: a sequence that depends on the seed, dealt out to the ranks.
        return (first + index for index in TrainingSampler(size, seed=seed))


class MixedDataset(torch.utils.data.Dataset):
    """Labelled dicts followed by unlabelled ones; a SampleKey becomes the mapper's sample.

    A file that cannot be read is replaced by another of its origin, chosen by the sample's seed,
    and named under "unreadable". After MAX_TRIES of them the sample is that list alone.
    """

    MAX_TRIES = 10

    def __init__(self, labeled: list[dict], unlabeled: list[dict], mapper):
        origins = [("labeled", item) for item in labeled]
        origins += [("unlabeled", item) for item in unlabeled]
        self.items = DatasetFromList([{**item, "origin": name} for name, item in origins])
        self.ranges = {"labeled": (0, len(labeled)), "unlabeled": (len(labeled), len(origins))}
        self.mapper = mapper

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: SampleKey) -> dict:
        item = self.items[key.index]
        choices = np.random.default_rng(key.augmentation_seed)
        unreadable = []
        for _ in range(self.MAX_TRIES):
            try:
                sample = self.mapper({**item, "augmentation_seed": key.augmentation_seed})
                return {**sample, "unreadable": unreadable}
            # What Pillow and Detectron2 raise for broken, mis-sized and oversized files.
            except (
                OSError,
                ValueError,
                SyntaxError,
                SizeMismatchError,
                DecompressionBombError,
            ) as e:
                unreadable.append(f"{item['file_name']} ({type(e).__name__}: {e})")
                item = self.items[choices.integers(*self.ranges[item["origin"]])]
        return {"unreadable": unreadable}


def build_mixed_loader(cfg) -> torch.utils.data.DataLoader:
    """Batches of SOLVER.IMS_PER_BATCH / world size samples, endless; see SAD.LOADER.

    Raises:
        UserError: a set is empty, lacks the annotations it is used for, or has other classes.
    """
    if cfg.SOLVER.IMS_PER_BATCH < 1 or cfg.SOLVER.IMS_PER_BATCH % comm.get_world_size():
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {cfg.SOLVER.IMS_PER_BATCH}, it must be a multiple of the "
            f"{comm.get_world_size()} workers"
        )
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty: name a labelled data set")
    check_files((*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED))
    # Read with every image and whatever classes there are, so that the checks can name them.
    labeled, unlabeled = (
        get_detection_dataset_dicts(names, filter_empty=False, check_consistency=False)
        if names
        else []
        for names in (cfg.DATASETS.TRAIN, cfg.DATASETS.UNLABELED)
    )
    _check_annotations(cfg, unlabeled)
    labeled = choose_share(labeled, cfg.DATASETS.LABELED_SHARE, cfg.DATASETS.LABELED_SHARE_SEED)
    with_boxes = filter_images_with_only_crowd_annotations(labeled)
    if not with_boxes:
        raise UserError(f"DATASETS.TRAIN {', '.join(cfg.DATASETS.TRAIN)} holds no boxes")
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        labeled = with_boxes
    groups = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        groups = [item["width"] > item["height"] for item in labeled + unlabeled]
    sampler = MixedBatchSampler(
        len(labeled),
        len(unlabeled),
        cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size(),
        mix=cfg.SAD.LOADER.MIX,
        ratio=cfg.SAD.LOADER.RATIO,
        seed=cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed(),
        groups=groups,
    )
    logger.info(_composition(cfg, len(labeled), len(unlabeled)))
    return torch.utils.data.DataLoader(
        MixedDataset(labeled, unlabeled, SADDatasetMapper(cfg, is_train=True)),
        batch_sampler=sampler,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=trivial_batch_collator,
        persistent_workers=cfg.DATALOADER.NUM_WORKERS > 0,
    )


def _check_annotations(cfg, unlabeled: list[dict]) -> None:
    names = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED)
    classes = {name: list(MetadataCatalog.get(name).thing_classes) for name in names}
    for name in names:
        if classes[name] != classes[names[0]]:
            raise UserError(
                f"data sets {names[0]} and {name} have other classes: "
                f"{classes[names[0]]} and {classes[name]}"
            )
    if len(classes[names[0]]) != cfg.MODEL.RETINANET.NUM_CLASSES:
        raise UserError(
            f"MODEL.RETINANET.NUM_CLASSES is {cfg.MODEL.RETINANET.NUM_CLASSES}, "
            f"data set {names[0]} has {len(classes[names[0]])} classes"
        )
    hard = "hard" in cfg.SAD.TARGETS.UNLABELED
    if unlabeled and hard and not any(item["annotations"] for item in unlabeled):
        raise UserError(
            f"SAD.TARGETS.UNLABELED asks for hard targets, but {', '.join(cfg.DATASETS.UNLABELED)} "
            "holds no boxes: write them with scripts/label_unlabeled.py"
        )


def _composition(cfg, num_labeled: int, num_unlabeled: int) -> str:
    """What a batch holds, in one line."""
    batch = cfg.SOLVER.IMS_PER_BATCH
    everything = num_labeled + num_unlabeled
    share = {
        "alternate": (1 + num_labeled / everything) / 2,
        "union": num_labeled / everything,
        "ratio": cfg.SAD.LOADER.RATIO[0] / sum(cfg.SAD.LOADER.RATIO),
    }[cfg.SAD.LOADER.MIX if num_unlabeled else "union"]
    return (
        f"Batches of {batch} images ({batch // comm.get_world_size()} on each of "
        f"{comm.get_world_size()} workers), mix {cfg.SAD.LOADER.MIX} of {num_labeled} labelled and "
        f"{num_unlabeled} unlabelled images: {share:.0%} of the images seen are labelled. "
        f"Targets: {'+'.join(cfg.SAD.TARGETS.LABELED)} on labelled, "
        f"{'+'.join(cfg.SAD.TARGETS.UNLABELED)} on unlabelled images."
    )
