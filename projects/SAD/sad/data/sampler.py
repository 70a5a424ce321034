"""Which images make a batch; a sample depends on its seed and place in the mix alone."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from detectron2.utils import comm


class SampleKey(NamedTuple):
    index: int
    # seed, stream, position in the stream: the same whichever of however many ranks draws it. Where
    # an image keeps its view for some epochs, the same in all of these.
    augmentation_seed: tuple[int, int, int]


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
        view_epochs: int = 1,
        seed: int = 0,
        groups: list | None = None,
    ):
        """
        Args:
            batch_size: images of one rank's batch.
            mix, ratio, view_epochs: see SAD.LOADER.
            groups: one value per image; the images of a batch have the same one (wide or tall).
        """
        self.num_labeled = num_labeled
        self.num_unlabeled = num_unlabeled
        self.batch_size = batch_size
        self.mix = mix
        self.ratio = ratio
        self.view_epochs = view_epochs
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
        """Endless streams that the batches are drawn from in turn; this rank's part of them."""
        return [self._dealt(turn, stream) for turn, stream in enumerate(self._undealt())]

    def _dealt(self, turn: int, stream: Iterator[SampleKey]) -> Iterator[SampleKey]:
        """Each round of a batch for every rank is dealt anew: a rank that always had the same place
        in it would, of a mix that repeats itself, see one kind of images alone.
        """
        rank, ranks = comm.get_rank(), comm.get_world_size()
        deal = np.random.default_rng((self.seed, turn))
        while True:
            batches = [list(itertools.islice(stream, self.batch_size)) for _ in range(ranks)]
            yield from batches[deal.permutation(ranks)[rank]]

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
        """The indices of Detectron2's TrainingSampler, before each rank takes its part of them."""
        generator = torch.Generator().manual_seed(self.seed + stream)
        for epoch in itertools.count():
            for number, index in enumerate(torch.randperm(size, generator=generator).tolist()):
                if self.view_epochs == 1:
                    position = epoch * size + number
                else:
                    position = epoch // self.view_epochs * size + index
                yield SampleKey(first + index, (self.seed, stream, position))
