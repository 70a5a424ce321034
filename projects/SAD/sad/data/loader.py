"""Labelled and unlabelled images mixed; a sample depends on its seed and place in the mix alone."""

import hashlib
import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from detectron2.data import DatasetFromList, MetadataCatalog
from detectron2.data.build import trivial_batch_collator
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm
from tabulate import tabulate

from ..utils.errors import UserError
from .checks import check_classes, check_files, classes_of, has_boxes, why_no_boxes
from .datasets import read_sets
from .images import ImageError
from .leaks import find_leaks, left_out
from .loader_workers import reader_arguments
from .mapper import SADDatasetMapper
from .shared_read import collector_paused, once_per_machine
from .subset import choose_share

logger = logging.getLogger(__name__)

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
    and is in "unreadable" with the reason, the first before its replacements. After MAX_TRIES of
    them the sample is that list alone.
    """

    MAX_TRIES = 10

    def __init__(self, labeled: list[dict], unlabeled: list[dict], mapper):
        origins = [("labeled", item) for item in labeled]
        origins += [("unlabeled", item) for item in unlabeled]
        self.items = DatasetFromList([{**item, "origin": name} for name, item in origins])
        self.ranges = {"labeled": (0, len(labeled)), "unlabeled": (len(labeled), len(origins))}
        # What positions mean; it depends on the image files too, see `_without_leaks`.
        ids = repr([(name, item.get("image_id")) for name, item in origins])
        self.digest = hashlib.sha256(ids.encode()).hexdigest()
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
            except ImageError as error:
                unreadable.append((item["file_name"], str(error)))
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
    sets = cfg.DATASETS
    images = {
        name: read_sets([name], cfg.DATALOADER.MAX_IMAGE_PIXELS)
        for name in dict.fromkeys((*sets.TRAIN, *sets.UNLABELED, *sets.TEST))
    }
    labeled, unlabeled, tested = (
        [image for name in names for image in images[name]]
        for names in (sets.TRAIN, sets.UNLABELED, sets.TEST)
    )
    names = (*sets.TRAIN, *sets.UNLABELED)
    check_classes(cfg, names)
    labeled = choose_share(labeled, sets.LABELED_SHARE, sets.LABELED_SHARE_SEED)
    unlabeled = _without_leaks(labeled, unlabeled, tested)
    labeled = _choose_labeled(cfg, labeled)
    _check_hard_targets(cfg, unlabeled)
    groups = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        groups = [item["width"] > item["height"] for item in labeled + unlabeled]
    dataset = MixedDataset(labeled, unlabeled, SADDatasetMapper(cfg, is_train=True))
    return dataset, groups, {name: MetadataCatalog.get(name).as_dict() for name in names}


def _choose_labeled(cfg, images: list[dict]) -> list[dict]:
    """The labelled images to train on, after their numbers are logged.

    Images whose annotations are all crowds or unusable are no negatives: they are left out.
    """
    sets = ", ".join(cfg.DATASETS.TRAIN)
    with_boxes = [image for image in images if has_boxes(image)]
    if not with_boxes:
        why = {name: why_no_boxes(name) for name in cfg.DATASETS.TRAIN}
        raise UserError(
            f"DATASETS.TRAIN {sets} holds no boxes: "
            f"{'; '.join(why.values()) or 'there are no annotations'}"
        )
    empty = sum(map(_is_negative, images))
    if other := len(images) - len(with_boxes) - empty:
        logger.warning(
            f"{other} of {len(images)} labelled images ({sets}) hold only crowds or unusable "
            "annotations and are left out"
        )
    keeps_empty = not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    if empty:
        what = "trained on as negatives" if keeps_empty else "left out"
        logger.info(
            f"{empty} of {len(images)} labelled images ({sets}) have no box and are {what} "
            f"(DATALOADER.FILTER_EMPTY_ANNOTATIONS {not keeps_empty})"
        )
    _count_classes("training labels", with_boxes, classes_of(cfg.DATASETS.TRAIN[0]))
    if keeps_empty:
        return [image for image in images if has_boxes(image) or _is_negative(image)]
    return with_boxes


def _is_negative(image: dict) -> bool:
    """Whether people have looked at it and found nothing."""
    return not (image.get("annotations") or image.get("unusable"))


def _check_hard_targets(cfg, images: list[dict]) -> None:
    if not images:
        return
    sets = ", ".join(cfg.DATASETS.UNLABELED)
    if any(map(has_boxes, images)):
        _count_classes(f"pseudo-labels of {sets}", images, classes_of(cfg.DATASETS.TRAIN[0]))
    elif "hard" in cfg.SAD.TARGETS.UNLABELED:
        why = "; ".join(filter(None, map(why_no_boxes, cfg.DATASETS.UNLABELED)))
        raise UserError(
            f"SAD.TARGETS.UNLABELED asks for hard targets, but {sets} holds no boxes"
            f"{f' ({why})' if why else ''}: write them with scripts/label_unlabeled.py"
        )


def _count_classes(what: str, images: list[dict], classes: list[str]) -> None:
    """Log the instances of each class, and warn of classes without any."""
    # Not by Detectron2's function: it logs once a process, and the check before the run is silent.
    found = Counter(
        annotation["category_id"]
        for image in images
        for annotation in image.get("annotations", ())
        if not annotation.get("iscrowd", 0)
    )
    counts = [found[number] for number in range(len(classes))]
    rows = [*zip(classes, counts, strict=True), ("total", sum(counts))]
    table = tabulate(rows, ["class", "instances"])
    logger.info(f"Distribution of instances of the {what}:\n{table}")
    if without := [name for name, count in zip(classes, counts, strict=True) if not count]:
        logger.warning(
            f"{len(without)} of {len(classes)} classes are without any of the {what}: "
            f"{', '.join(without[:10])}{', ...' if without[10:] else ''}"
        )


def _without_leaks(labeled: list[dict], unlabeled: list[dict], tested: list[dict]) -> list[dict]:
    """The unlabelled images that are neither labelled nor tested on.

    Labelled images that are tested on are said.

    Raises:
        UserError: there were some, and none is left.
    """
    of_train, of_unlabeled, of_test = (
        [image["file_name"] for image in images] for images in (labeled, unlabeled, tested)
    )
    if leaks := find_leaks(of_test, {"DATASETS.TRAIN": of_train}):
        logger.warning(
            f"{len(leaks)} of {len(of_test)} images of DATASETS.TEST are trained on, the first is "
            f"{of_test[min(leaks)]}: the AP on them says nothing of other images"
        )
    known = {"DATASETS.TRAIN": of_train, "DATASETS.TEST": of_test}
    leaks = left_out(of_unlabeled, known, "DATASETS.UNLABELED") if unlabeled else ()
    return [image for position, image in enumerate(unlabeled) if position not in leaks]


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
