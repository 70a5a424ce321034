"""The teacher's outputs of one image, rounded to what is worth keeping on disk.

Shapes: N images, S of a batch; L levels of h x w cells, A anchors in a cell, K classes; E logits of
all levels together, M of them kept; D anchors that have at least one of these.
"""

import zlib
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from ..losses.distillation import NEVER, at_least_float32
from .term import Outputs


@dataclass
class KeptOutputs:
    """Scores from a floor on, each by itself, or all of them; the others of a level by their mean.

    Numbers are rounded before their first use, so that it makes no difference whether they come
    from the network or from a file.
    """

    levels: np.ndarray  # (L, 4) int32: h, w, A and K
    rest: np.ndarray  # (L,) float32: the logit of the mean probability of what is not kept, or 0
    index: np.ndarray | None  # (M,) int32: rising positions among the E logits; None: all are kept
    logits: np.ndarray  # (M,) float16
    deltas: np.ndarray  # (D, 4) float16; D is 0 where boxes were not asked for

    def pieces(self) -> list:
        """Of a file: a checksum, three lengths, the arrays, an index as one bit a logit."""
        lengths = np.array([len(self.levels), len(self.logits), len(self.deltas)], np.int32)
        bits = b""
        if self.index is not None:
            mask = np.zeros(self.levels.prod(axis=1).sum(), bool)
            mask[self.index] = True
            bits = zlib.compress(np.packbits(mask), level=1)
        pieces = [lengths, self.levels, self.rest, self.logits, self.deltas, bits]
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
        number, kept, anchors = np.frombuffer(data, np.int32, 3, offset=4).tolist()
        levels, rest, logits, deltas, bits = _cut(
            data,
            16,
            (np.int32, (number, 4)),
            (np.float32, (number,)),
            (np.float16, (kept,)),
            (np.float16, (anchors, 4)),
        )
        count = int(levels.prod(axis=1).sum())
        if not len(bits) and kept == count:
            return cls(levels, rest, None, logits, deltas)
        length = -(-count // 8)
        try:  # a byte more than there should be, and not all that can be packed into some
            packed = zlib.decompressobj().decompress(bits, length + 1)
        except zlib.error as error:
            raise ValueError(f"its index cannot be unpacked: {error}") from error
        if len(packed) != length:
            raise ValueError(f"its index has not the {length} bytes of {count} scores")
        mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=count).view(bool)
        return cls(levels, rest, mask.nonzero()[0].astype(np.int32), logits, deltas)


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
        outputs: logits, and perhaps deltas, of N images.
        sizes: (h, w) of each level.
        floor: the least probability that is kept; 0 keeps all.
    Returns:
        of each image
    """
    levels = [
        (h, w, logits.shape[1] // (h * w), logits.shape[2])
        for (h, w), logits in zip(sizes, outputs.logits, strict=True)
    ]
    if floor == 0:
        return _all(levels, outputs)
    logits = at_least_float32(torch.cat([level.flatten(1) for level in outputs.logits], dim=1))
    scores = logits.sigmoid()
    kept = scores >= floor
    lengths = [level[0].numel() for level in outputs.logits]
    others = ~kept
    total = [x.sum(1, dtype=torch.float64) for x in (scores * others).split(lengths, dim=1)]
    number = [x.sum(1).clamp_min(1) for x in others.split(lengths, dim=1)]
    mean = (torch.stack(total, dim=1) / torch.stack(number, dim=1)).float()
    rest = mean.logit(eps=torch.finfo(torch.float32).tiny).cpu().numpy()
    kept, logits = kept.cpu().numpy(), _half([logits])
    deltas = None if outputs.deltas is None else _half(outputs.deltas)
    found = []
    for image, mask in enumerate(kept):
        index = mask.nonzero()[0].astype(np.int32)
        anchors = np.unique(index // levels[0][3]) if deltas is not None else []
        boxes = np.empty((0, 4), np.float16) if deltas is None else deltas[image, anchors]
        of_image = rest[image], index, logits[image, index], boxes
        found.append(KeptOutputs(np.array(levels, np.int32), *of_image))
    return found


def _all(levels: list[tuple], outputs: Outputs) -> list[KeptOutputs]:
    """Of each image everything."""
    logits = _half([level.flatten(1) for level in outputs.logits])
    boxes = np.empty((len(logits), 0, 4), np.float16)
    if outputs.deltas is not None:
        boxes = _half(outputs.deltas)
    levels, rest = np.array(levels, np.int32), np.zeros(len(levels), np.float32)
    return [KeptOutputs(levels, rest, None, *pair) for pair in zip(logits, boxes, strict=True)]


def _half(levels: list[Tensor]) -> np.ndarray:
    """(N, ...) of all levels together, no value beyond the largest of float16."""
    limit = torch.finfo(torch.float16).max
    values = torch.cat([level.half() for level in levels], dim=1)
    return values.clamp_(-limit, limit).cpu().numpy()


def expanded(
    kept: list[KeptOutputs], sizes: list[tuple[int, int]], device: torch.device, *, deltas: bool
) -> Outputs:
    """The outputs of a batch, in float32.

    An image that is smaller than the batch has a score of 0 (NEVER) in the cells beyond it. Where
    no score of an anchor is kept, its deltas are 0.

    Args:
        kept: of the S images.
        sizes: (H, W) of each level in the batch.
        deltas: whether they are wanted.
    """
    anchors, classes = kept[0].levels[0, 2:].tolist()
    scores = [(image.index, image.logits, image.rest) for image in kept]
    beyond = torch.tensor(NEVER, device=device)
    logits = _spread(kept, scores, anchors * classes, sizes, beyond)
    outputs = Outputs(logits=[level.unflatten(1, (-1, classes)) for level in logits])
    if deltas:
        none = np.zeros(len(sizes), np.float32)
        boxes = [(_anchors(image.index, classes), image.deltas, none) for image in kept]
        outputs.deltas = _spread(kept, boxes, anchors, sizes, beyond.new_zeros(4))
    return outputs


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
            if h > size[0] or w > size[1]:
                raise ValueError(f"kept outputs of {h} x {w} cells in a batch of {size}")
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
