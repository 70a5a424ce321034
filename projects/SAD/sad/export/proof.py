"""The proof that an exported file is its detector: both on the same images, number by number.

Before the suppression every box and every score is compared. After it, detections are compared as
sets, see `sad.export.comparison`.

Shapes: N images.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .comparison import Comparison
from .dense_proof import compare_dense
from .region_proof import compare_regions


def check_batches(images: list[Tensor], divisibility: int) -> list[Tensor]:
    """Batches that a proof is made of: two sizes times two numbers of images, images without
    objects, and two of extreme shape.

    Args:
        images: some of the validation set, (3, H, W) uint8, resized as for the detector.
    Returns:
        (N, 3, H, W) uint8 each.
    """

    def resized(number: int, height: int, width: int) -> Tensor:
        chosen = [images[i % len(images)].float()[None] for i in range(number)]
        sized = [F.interpolate(x, (height, width), mode="bilinear") for x in chosen]
        return torch.cat(sized).round().clamp(0, 255).to(torch.uint8)

    draw = torch.Generator().manual_seed(0)
    height, width = images[0].shape[1:]
    step = max(divisibility, 1)
    smaller = max(height * 3 // 4, 1), width + step // 2 + 1
    return [
        *(resized(number, *size) for size in ((height, width), smaller) for number in (1, 3)),
        # Not of one grey: a group norm of what does not vary is rounding error alone.
        torch.randint(118, 139, (2, 3, height, width), generator=draw, dtype=torch.uint8),
        resized(1, max(height // 8, 1), 4 * width),
        resized(1, 4 * height, max(width // 8, 1)),
    ]


def prove(
    model,
    detect: Callable | None,
    inner: Callable[[Tensor], tuple[Tensor, ...]],
    batches: list[Tensor],
) -> Comparison:
    """Compare a file with the detector that it was made of.

    Args:
        model: Detectron2's.
        detect: the file, called as Detectron2 calls a model; None where it ends before the
            suppression.
        inner: the file, (N, 3, H, W) -> what the INNER of the model's graph names.
    Raises:
        UserError: they differ, and where; or nearly all of what is found is a matter of rounding.
    """
    proof = Comparison()
    compare = compare_regions if type(model).__name__ == "GeneralizedRCNN" else compare_dense
    for images in batches:
        proof.batches.append(f"{len(images)} x {images.shape[-2]} x {images.shape[-1]}")
        wanted = compare(model, images, inner(images), proof)
        if detect is None:
            continue
        found = detect([{"image": image} for image in images])
        for one, (other, candidates) in zip(found, wanted, strict=True):
            proof.add_set(one["instances"], other, candidates, "detections")
    proof.check_excepted()
    return proof
