"""The teacher's outputs of one image, rounded to what is worth keeping on disk.

Shapes: L levels of h x w cells, A anchors in a cell, K classes; M class scores that are kept, of
E logits in all levels together; D anchors with at least one of them.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..losses.distillation import at_least_float32
from .term import Outputs

CHECKSUM = 4  # bytes before the tensors


@dataclass
class KeptOutputs:
    """Scores from a floor on, each by itself; the others of a level by their mean.

    Numbers are rounded before the first use, so that it makes no difference whether they come from
    the network or from a file.
    """

    levels: Tensor  # (L, 4) int32: h, w, A and K
    rest: Tensor  # (L,) float32: the logit of the mean probability of what is not kept
    index: Tensor  # (M,) int32: rising positions among the E logits, level by level
    logits: Tensor  # (M,) float16
    deltas: Tensor | None = None  # (D, 4) float16, of the anchors that the index touches

    @classmethod
    def of(cls, outputs: Outputs, sizes: list[tuple[int, int]], floor: float) -> "KeptOutputs":
        """
        Args:
            outputs: logits, and perhaps deltas, of one image.
            sizes: (h, w) of each level.
            floor: the least probability that is kept.
        """
        levels = [
            (h, w, logits.shape[1] // (h * w), logits.shape[2])
            for (h, w), logits in zip(sizes, outputs.logits, strict=True)
        ]
        flat = [at_least_float32(level).flatten() for level in outputs.logits]
        scores = [level.sigmoid() for level in flat]
        kept = [score >= floor for score in scores]
        index = torch.cat(kept).nonzero()[:, 0]
        deltas = outputs.deltas
        if deltas is not None:
            anchors = torch.unique_consecutive(index // levels[0][3])
            deltas = _half(torch.cat(deltas, dim=1)[0, anchors])
        return cls(
            torch.tensor(levels, dtype=torch.int32),
            torch.stack(list(map(_rest, scores, kept))).cpu(),
            index.int().cpu(),
            _half(torch.cat(flat)[index]),
            deltas,
        )

    def to_bytes(self) -> bytes:
        """A checksum, and the tensors in safetensors' format; the index as one bit a logit."""
        mask = np.zeros(int(self.levels.prod(1).sum()), bool)
        mask[self.index.numpy()] = True
        bits = zlib.compress(np.packbits(mask), level=1)
        tensors = {
            "levels": self.levels,
            "rest": self.rest,
            "mask": torch.frombuffer(bytearray(bits), dtype=torch.uint8),
            "logits": self.logits,
        }
        if self.deltas is not None:
            tensors["deltas"] = self.deltas
        content = safetensors.torch.save(tensors)
        return zlib.crc32(content).to_bytes(CHECKSUM, "little") + content

    @classmethod
    def from_bytes(cls, data: bytes) -> "KeptOutputs":
        """
        Raises:
            ValueError: these are not all the bytes that `to_bytes` made.
        """
        content = data[CHECKSUM:]
        if zlib.crc32(content).to_bytes(CHECKSUM, "little") != data[:CHECKSUM]:
            raise ValueError("its checksum is another")
        try:
            found = safetensors.torch.load(content)
            bits = np.frombuffer(zlib.decompress(found.pop("mask").numpy()), np.uint8)
            mask = np.unpackbits(bits, count=int(found["levels"].prod(1).sum()))
            return cls(index=torch.from_numpy(mask.nonzero()[0].astype(np.int32)), **found)
        except (SafetensorError, zlib.error, KeyError, TypeError) as error:
            raise ValueError(str(error)) from error


def _half(values: Tensor) -> Tensor:
    limit = torch.finfo(torch.float16).max
    return values.clamp(-limit, limit).half().cpu()


def _rest(scores: Tensor, kept: Tensor) -> Tensor:
    """The logit of the mean of the scores that are not kept."""
    others = scores.masked_fill(kept, 0).sum(dtype=torch.float64)
    mean = (others / (~kept).sum().clamp_min(1)).float()
    return mean.logit(eps=torch.finfo(torch.float32).tiny)


def expanded(
    kept: list[KeptOutputs], sizes: list[tuple[int, int]], device: torch.device
) -> Outputs:
    """The outputs of a batch, in float32.

    An image that is smaller than the batch has the mean of a level's other scores in the cells
    beyond it. Where no score of an anchor is kept, its deltas are 0.

    Args:
        kept: of the S images.
        sizes: (H, W) of each level in the batch.
    """
    levels = [image.levels.tolist() for image in kept]
    anchors, classes = levels[0][0][2:]
    rest = torch.stack([image.rest for image in kept]).to(device)
    scores = [(image.index, image.logits) for image in kept]
    logits = _spread(scores, levels, anchors * classes, sizes, rest)
    outputs = Outputs(logits=[level.unflatten(1, (-1, classes)) for level in logits])
    if kept[0].deltas is not None:
        boxes = [(torch.unique_consecutive(x.index // classes), x.deltas) for x in kept]
        outputs.deltas = _spread(boxes, levels, anchors, sizes, rest.new_zeros(*rest.shape, 4))
    return outputs


def _spread(
    found: list[tuple[Tensor, Tensor]],
    levels: list[list[list[int]]],
    per_cell: int,
    sizes: list[tuple[int, int]],
    rest: Tensor,
) -> list[Tensor]:
    """
    Args:
        found: of each image positions among all values of all its cells, and these values.
        levels: of each image and level what begins with h and w.
        per_cell: values.
        sizes: (H, W) of each level in the batch.
        rest: (S, L, ...), what stands everywhere else.
    Returns:
        (S, H x W x per_cell, ...) of each level.
    """
    placed = [
        _placed(index, values, own, per_cell, sizes)
        for (index, values), own in zip(found, levels, strict=True)
    ]
    spread = []
    for level, (height, width) in enumerate(sizes):
        of_images = [parts[level] for parts in placed]
        length = height * width * per_cell
        full = rest[:, level, None].repeat_interleave(length, dim=1)
        places = torch.cat([image * length + x for image, (x, _) in enumerate(of_images)])
        values = torch.cat([x for _, x in of_images])
        full.flatten(0, 1)[places.to(full.device)] = values.to(full.device, full.dtype)
        spread.append(full)
    return spread


def _placed(
    index: Tensor,
    values: Tensor,
    own: list[list[int]],
    per_cell: int,
    sizes: list[tuple[int, int]],
) -> list[tuple[Tensor, Tensor]]:
    """Of an image, for each level: positions in the batch's level, and their values."""
    lengths = [h * w * per_cell for h, w, *_ in own]
    ends = torch.tensor(lengths).cumsum(0)
    parts = index.long().tensor_split(torch.searchsorted(index.long(), ends[:-1]))
    values = values.split(list(map(len, parts)))
    placed, start = [], 0
    for part, (h, w, *_), (height, width), length in zip(parts, own, sizes, lengths, strict=True):
        if h > height or w > width:
            raise ValueError(f"kept outputs of {h} x {w} cells in a batch of {height} x {width}")
        part = part - start
        if w < width:  # each row of cells begins further on
            part += part // (w * per_cell) * ((width - w) * per_cell)
        placed.append(part)
        start += length
    return list(zip(placed, values, strict=True))
