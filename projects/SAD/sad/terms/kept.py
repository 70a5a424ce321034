"""The teacher's outputs of one image, rounded to what is worth keeping on disk.

Shapes: N images, S of a batch; L levels of h x w cells, A anchors in a cell, K classes; E logits of
all levels together, M of them kept; D anchors that have at least one of these; C channels.
"""

import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from torch import Tensor

from ..losses.distillation import NEVER, at_least_float32
from .term import Outputs


def kept_kinds(need: Collection[str]) -> frozenset[str]:
    """What is kept where these fields of Outputs are needed. What a box head says of regions
    changes with the student, and is computed from the maps.
    """
    return frozenset("features" if kind.startswith("roi_") else kind for kind in need)


@dataclass
class KeptOutputs:
    """Scores from a floor on, each by itself, or all of them; the others of a level by their mean.
    Feature maps are kept whole. Where scores were not asked for L is 0.

    Numbers are rounded before their first use, so that it makes no difference whether they come
    from the network or from a file.
    """

    levels: np.ndarray  # (L, 4) int32: h, w, A and K
    rest: np.ndarray  # (L,) float32: the logit of the mean probability of what is not kept, or 0
    index: np.ndarray | None  # (M,) int32: rising positions among the E logits; None: all are kept
    logits: np.ndarray  # (M,) float16
    deltas: np.ndarray  # (D, 4) float16; D is 0 where boxes were not asked for
    maps: list[np.ndarray] = field(default_factory=list)  # (h, w, C) float16 of each level, or none

    def pieces(self) -> list:
        """Of a file: a checksum, four lengths, the arrays, an index as one bit a logit."""
        parts = (self.levels, self.logits, self.deltas, self.maps)
        lengths = np.array([len(part) for part in parts], np.int32)
        shapes = np.array([level.shape for level in self.maps], np.int32)
        bits = b""
        if self.index is not None:
            mask = np.zeros(self.levels.prod(axis=1).sum(), bool)
            mask[self.index] = True
            bits = zlib.compress(np.packbits(mask), level=1)
        pieces = [lengths, self.levels, self.rest, self.logits, self.deltas]
        pieces += [shapes, *self.maps, bits]
        checksum = 0
        for piece in pieces:
            checksum = zlib.crc32(piece, checksum)
        return [checksum.to_bytes(4, "little"), *pieces]

    @classmethod
    def from_bytes(cls, data: bytes) -> "KeptOutputs":
        """
        Raises:
            ValueError: these are not all the bytes of a file's `pieces`.
        """
        if zlib.crc32(memoryview(data)[4:]).to_bytes(4, "little") != data[:4]:
            raise ValueError("its checksum is another")
        number, kept, anchors, maps = np.frombuffer(data, np.int32, 4, offset=4).tolist()
        levels, rest, logits, deltas, shapes, bits = _cut(
            data,
            20,
            (np.int32, (number, 4)),
            (np.float32, (number,)),
            (np.float16, (kept,)),
            (np.float16, (anchors, 4)),
            (np.int32, (maps, 3)),
        )
        *maps, bits = _cut(bits, 0, *((np.float16, shape) for shape in shapes.tolist()))
        count = int(levels.prod(axis=1).sum())
        if not len(bits) and kept == count:
            return cls(levels, rest, None, logits, deltas, maps)
        length = -(-count // 8)
        try:  # a byte more than there should be, and not all that can be packed into some
            packed = zlib.decompressobj().decompress(bits, length + 1)
        except zlib.error as error:
            raise ValueError(f"its index cannot be unpacked: {error}") from error
        if len(packed) != length:
            raise ValueError(f"its index has not the {length} bytes of {count} scores")
        mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=count).view(bool)
        index = mask.nonzero()[0].astype(np.int32)
        return cls(levels, rest, index, logits, deltas, maps)


def _cut(data, offset: int, *kinds: tuple) -> list:
    """Arrays of these (dtype, shape) in a row, and the bytes that are left."""
    found = []
    for dtype, shape in kinds:
        array = np.frombuffer(data, dtype, int(np.prod(shape)), offset).reshape(shape)
        offset += array.nbytes
        found.append(array)
    return [*found, memoryview(data)[offset:]]


def to_keep(outputs: Outputs, sizes: list[tuple[int, int]], floor: float) -> list[KeptOutputs]:
    """
    Args:
        outputs: of N images; logits and perhaps deltas, feature maps, or all of them.
        sizes: (h, w) of each level.
        floor: the least probability that is kept; 0 keeps all.
    Returns:
        of each image
    """
    # A number beyond float16 becomes infinite, so that a loss of it stops the training.
    levels = [x.movedim(1, -1).half().contiguous().cpu().numpy() for x in outputs.features or ()]
    if outputs.logits is None:
        numbers = np.empty((0, 4), np.int32), np.empty(0, np.float32), None
        none = *numbers, np.empty(0, np.float16), np.empty((0, 4), np.float16)
        found = [KeptOutputs(*none) for _ in levels[0]]
    else:
        found = _scores(outputs, sizes, floor)
    for image, kept in enumerate(found):
        kept.maps = [level[image] for level in levels]
    return found


def _scores(outputs: Outputs, sizes: list[tuple[int, int]], floor: float) -> list[KeptOutputs]:
    """Of each image all but its maps, see `to_keep`."""
    levels = np.array(
        [
            (h, w, logits.shape[1] // (h * w), logits.shape[2])
            for (h, w), logits in zip(sizes, outputs.logits, strict=True)
        ],
        np.int32,
    )
    half = np.concatenate([_half(level.flatten(1)) for level in outputs.logits], axis=1)
    deltas = np.empty((len(half), 0, 4), np.float16)
    if outputs.deltas is not None:
        deltas = np.concatenate([_half(level) for level in outputs.deltas], axis=1)
    if floor == 0:
        rest = np.zeros(len(levels), np.float32)
        return [KeptOutputs(levels, rest, None, *pair) for pair in zip(half, deltas, strict=True)]
    logits = at_least_float32(torch.cat([level.flatten(1) for level in outputs.logits], dim=1))
    scores = logits.sigmoid()
    kept = scores >= floor
    lengths = [level[0].numel() for level in outputs.logits]
    others = ~kept
    total = [x.sum(1, dtype=torch.float64) for x in (scores * others).split(lengths, dim=1)]
    number = [x.sum(1).clamp_min(1) for x in others.split(lengths, dim=1)]
    mean = (torch.stack(total, dim=1) / torch.stack(number, dim=1)).float()
    rest = mean.logit(eps=torch.finfo(torch.float32).tiny).cpu().numpy()
    found = []
    for image, mask in enumerate(kept.cpu().numpy()):
        index = mask.nonzero()[0].astype(np.int32)
        boxes = deltas[image]
        if outputs.deltas is not None:
            boxes = boxes[np.unique(index // levels[0, 3])]
        found.append(KeptOutputs(levels, rest[image], index, half[image, index], boxes))
    return found


def _half(values: Tensor) -> np.ndarray:
    """In float16, none beyond its largest."""
    limit = torch.finfo(torch.float16).max
    return values.half().clamp(-limit, limit).contiguous().cpu().numpy()


def expanded(
    kept: list[KeptOutputs],
    sizes: list[tuple[int, int]],
    device: torch.device,
    kinds: Collection[str],
) -> Outputs:
    """The outputs of a batch, in float32.

    An image that is smaller than the batch has a score of 0 (NEVER) in the cells beyond it, from
    which nothing is learned (`agreed_outside`). Its maps go on there as at their edge, which is how
    regions that reach it are pooled from the image alone. Where no score of an anchor is kept, its
    deltas are 0.

    Args:
        kept: of the S images.
        sizes: (H, W) of each level in the batch.
        kinds: those that are wanted of logits, deltas and features.
    """
    features = None
    if "features" in kinds:
        levels = zip(*(image.maps for image in kept), strict=True)
        features = [_maps(*level, device) for level in zip(levels, sizes, strict=True)]
    if "logits" not in kinds:
        return Outputs(features=features)
    anchors, classes = kept[0].levels[0, 2:].tolist()
    scores = [(image.index, image.logits, image.rest) for image in kept]
    beyond = torch.tensor(NEVER, device=device)
    logits = _spread(kept, scores, anchors * classes, sizes, beyond)
    logits = [level.unflatten(1, (-1, classes)) for level in logits]
    of_levels = [[(h, w) for h, w, *_ in image.levels.tolist()] for image in kept]
    inside = list(zip(sizes, map(list, zip(*of_levels, strict=True)), strict=True))
    if all(size == own for size, of_images in inside for own in of_images):
        inside = None
    outputs = Outputs(features=features, logits=logits, inside=inside)
    if "deltas" in kinds:
        none = np.zeros(len(sizes), np.float32)
        boxes = [(_anchors(image.index, classes), image.deltas, none) for image in kept]
        outputs.deltas = _spread(kept, boxes, anchors, sizes, beyond.new_zeros(4))
    return outputs


def _maps(maps: tuple[np.ndarray, ...], size: tuple[int, int], device: torch.device) -> Tensor:
    """(S, C, H, W) of one level, whose H and W are given."""
    shape = len(maps), *size, maps[0].shape[2]
    of_level = torch.empty(shape, device=device)
    for image, level in zip(of_level, maps, strict=True):
        _check_fits(level.shape, size)
        own = torch.tensor(level).to(device)
        if own.shape != image.shape:
            rows, columns = (
                torch.arange(side, device=device).clamp(max=last - 1)
                for side, last in zip(size, own.shape, strict=False)
            )
            own = own[rows][:, columns]
        image.copy_(own)
    return of_level.movedim(-1, 1)


def _check_fits(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    if shape[0] > size[0] or shape[1] > size[1]:
        raise ValueError(f"kept outputs of {shape[0]} x {shape[1]} cells in a batch of {size}")


def _anchors(index: np.ndarray | None, classes: int) -> np.ndarray | None:
    return None if index is None else np.unique(index // classes)


def _spread(
    kept: list[KeptOutputs],
    found: list[tuple[np.ndarray | None, np.ndarray, np.ndarray]],
    per_cell: int,
    sizes: list[tuple[int, int]],
    beyond: Tensor,
) -> list[Tensor]:
    """
    Args:
        found: of each image positions among all values of all its cells (None: all of them), these
            values, and (L,) what stands at its other positions.
        per_cell: values.
        sizes: (H, W) of each level in the batch.
        beyond: (...), what stands in the cells beyond an image.
    Returns:
        (S, H x W x per_cell, ...) of each level.
    """
    if all(index is None for index, *_ in found) and all(
        image.levels[:, :2].tolist() == [list(size) for size in sizes] for image in kept
    ):
        values = torch.from_numpy(np.stack([values for _, values, _ in found])).to(beyond.device)
        of_level = values.split([h * w * per_cell for h, w in sizes], dim=1)
        return [level.to(beyond.dtype) for level in of_level]
    spread = [beyond.repeat(len(kept), h * w * per_cell, *[1] * beyond.dim()) for h, w in sizes]
    for number, (image, (index, values, rest)) in enumerate(zip(kept, found, strict=True)):
        shapes = [(h, w, per_cell) for h, w in image.levels[:, :2].tolist()]
        ends = np.cumsum([0, *map(prod, shapes)])
        cuts = ends if index is None else np.searchsorted(index, ends)
        for level, ((h, w, _), size) in enumerate(zip(shapes, sizes, strict=True)):
            _check_fits((h, w), size)
            start, end = cuts[level : level + 2]
            part = torch.tensor(values[start:end]).to(spread[level])
            of_image = spread[level][number].unflatten(0, (*size, per_cell))[:h, :w]
            if index is None:
                of_image.copy_(part.unflatten(0, shapes[level]))
            else:
                of_image.fill_(rest[level])
                places = np.unravel_index(index[start:end] - ends[level], shapes[level])
                of_image[tuple(torch.from_numpy(x).to(part.device) for x in places)] = part
    return spread
