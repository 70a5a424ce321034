"""Labelled and unlabelled images mixed; a sample depends on its seed and place in the mix alone."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from detectron2.data import DatasetFromList, MetadataCatalog
from detectron2.data.build import (
    filter_images_with_only_crowd_annotations,
    trivial_batch_collator,
)
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm
from PIL.Image import DecompressionBombError

from .dataset_mapper import SADDatasetMapper
from .datasets import check_files, read_sets
from .errors import UserError
from .label_share import choose_share
from .read_once import collector_paused, once_per_machine
from .readers import reader_arguments

MIXES = ("alternate", "union", "ratio")


class SampleKey(NamedTuple):
    index: int
    # seed, stream, position in the stream: the same whichever of however many workers draws it
    augmentation_seed: tuple[int, int, int]


class UndealtSampler(TrainingSampler):
    """Detectron2's endless shuffled indices, before each worker takes its part of them."""

    def __iter__(self) -> Iterator[int]:
        return self._infinite_indices()


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
        for turn, stream in itertools.cycle(enumerate(self._streams())):
            for key in stream:
                group = waiting[turn, self.groups[key.index] if self.groups else 0]
                group.append(key)
                if len(group) == self.batch_size:
                    yield group.copy()
                    group.clear()
                    break

    def _streams(self) -> list[Iterator[SampleKey]]:
        """Endless streams that the batches are drawn from in turn; this worker's part of them."""
        return [self._dealt(turn, stream) for turn, stream in enumerate(self._undealt())]

    def _dealt(self, turn: int, stream: Iterator[SampleKey]) -> Iterator[SampleKey]:
        """Each round of a batch for every worker is dealt anew: a worker that always had the same
        place in it would, of a mix that repeats itself, see one kind of images alone.
        """
        rank, workers = comm.get_rank(), comm.get_world_size()
        deal = np.random.default_rng((self.seed, turn))
        while True:
            batches = [list(itertools.islice(stream, self.batch_size)) for _ in range(workers)]
            yield from batches[deal.permutation(workers)[rank]]

    def _undealt(self) -> list[Iterator[SampleKey]]:
        labeled = self._shuffled(0, self.num_labeled)
        if self.num_unlabeled == 0:
            return [labeled]
        everything = self._shuffled(1, self.num_labeled + self.num_unlabeled)
        if self.mix == "union":
            return [everything]
        if self.mix == "alternate":
            return [labeled, everything]
        unlabeled = self._shuffled(1, self.num_unlabeled, first=self.num_labeled)
        turns = [labeled] * self.ratio[0] + [unlabeled] * self.ratio[1]
        return [(next(stream) for stream in itertools.cycle(turns))]

    def _shuffled(self, stream: int, size: int, first: int = 0) -> Iterator[SampleKey]:
        for position, index in enumerate(UndealtSampler(size, seed=self.seed + stream)):
            yield SampleKey(first + index, (self.seed, stream, position))


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
            # What Pillow (of AVIF and DDS, RuntimeErrors too) and Detectron2 raise for broken,
            # mis-sized and oversized files.
            except (
                OSError,
                RuntimeError,
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

    A batch is this worker's whole share of a step, so that the samples are the same however many
    micro-batches it is cut into.

    Raises:
        UserError: a set is empty, lacks the annotations it is used for, or has other classes, or a
            step's images cannot be shared out equally.
    """
    check_before_reading(cfg)
    dataset, groups, metadata = once_per_machine(lambda: _read(cfg))
    for name, values in metadata.items():  # the classes, which reading brings to light
        MetadataCatalog.get(name).set(**values)
    num_labeled = dataset.ranges["labeled"][1]
    sampler = MixedBatchSampler(
        num_labeled,
        len(dataset) - num_labeled,
        cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size(),
        mix=cfg.SAD.LOADER.MIX,
        ratio=cfg.SAD.LOADER.RATIO,
        seed=cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed(),
        groups=groups,
    )
    return torch.utils.data.DataLoader(
        dataset,
        generator=torch.Generator(),  # else each start draws from the one that a resume restores
        batch_sampler=sampler,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=trivial_batch_collator,
        persistent_workers=cfg.DATALOADER.NUM_WORKERS > 0,
        **reader_arguments(cfg.DATALOADER.NUM_WORKERS),
    )


@collector_paused()
def _read(cfg) -> tuple[MixedDataset, list[bool] | None, dict[str, dict]]:
    """The images, which of them are wide where that counts, and the sets' metadata."""
    # Read with every image and whatever classes there are, so that the checks can name them.
    labeled, unlabeled = map(read_sets, (cfg.DATASETS.TRAIN, cfg.DATASETS.UNLABELED))
    _check_annotations(cfg, unlabeled)
    labeled = choose_share(labeled, cfg.DATASETS.LABELED_SHARE, cfg.DATASETS.LABELED_SHARE_SEED)
    with_boxes = filter_images_with_only_crowd_annotations(labeled)
    if not with_boxes:
        raise UserError(f"DATASETS.TRAIN {', '.join(cfg.DATASETS.TRAIN)} holds no boxes")
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        labeled = with_boxes
    if not cfg.MODEL.MASK_ON:
        labeled = [_without_masks(image) for image in labeled]
    groups = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        groups = [item["width"] > item["height"] for item in labeled + unlabeled]
    dataset = MixedDataset(labeled, unlabeled, SADDatasetMapper(cfg, is_train=True))
    names = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED)
    return dataset, groups, {name: MetadataCatalog.get(name).as_dict() for name in names}


def _without_masks(image: dict) -> dict:
    """The mapper would leave them out of each sample; of COCO's entries they are two thirds."""
    boxes = [
        {key: value for key, value in annotation.items() if key != "segmentation"}
        for annotation in image["annotations"]
    ]
    return {**image, "annotations": boxes}


def check_before_reading(cfg) -> None:
    """
    Raises:
        UserError: no data set is named, one lacks its files, or a step's images cannot be shared
            out equally.
    """
    batch, workers = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if batch % (workers * cfg.SOLVER.ACCUMULATION_STEPS):
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {batch}, it must be a multiple of {workers} workers x "
            f"SOLVER.ACCUMULATION_STEPS {cfg.SOLVER.ACCUMULATION_STEPS}"
        )
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty: name a labelled data set")
    check_files((*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED))


def check_classes(cfg, names) -> None:
    """Of those data sets whose classes are known, as COCO's are before any file is read.

    Raises:
        UserError: the sets have different ones, or another number than the model.
    """
    of_sets = {name: list(MetadataCatalog.get(name).get("thing_classes", ())) for name in names}
    known = [name for name in names if of_sets[name]]
    for name in known:
        first = of_sets[known[0]]
        if of_sets[name] != first:
            other = next(pair for pair in zip_longest(first, of_sets[name]) if pair[0] != pair[1])
            raise UserError(
                f"data sets {known[0]} and {name} have other classes, the first of them "
                f"{other[0]!r} and {other[1]!r}: both must list the same in the same order"
            )
        if len(first) != cfg.MODEL.RETINANET.NUM_CLASSES:
            raise UserError(
                f"MODEL.RETINANET.NUM_CLASSES is {cfg.MODEL.RETINANET.NUM_CLASSES}, it must be "
                f"{len(first)}: data set {name} has so many classes"
            )


def _check_annotations(cfg, unlabeled: list[dict]) -> None:
    check_classes(cfg, (*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED))
    hard = "hard" in cfg.SAD.TARGETS.UNLABELED
    if unlabeled and hard and not any(item["annotations"] for item in unlabeled):
        raise UserError(
            f"SAD.TARGETS.UNLABELED asks for hard targets, but {', '.join(cfg.DATASETS.UNLABELED)} "
            "holds no boxes: write them with scripts/label_unlabeled.py"
        )
