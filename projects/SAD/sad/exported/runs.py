"""A graph on batches in Detectron2's form: what ONNX files and torch programs have in common."""

from collections.abc import Callable

import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor

from ..utils.errors import UserError
from .card import Card

DTYPES = {"uint8": torch.uint8, "float32": torch.float32}  # of images
# Shapes: N images of one size, D = detections that an image has at most.
OUTPUTS = ("boxes", "scores", "labels", "num")


def as_input(images: Tensor, dtype: torch.dtype, device: str = "cpu") -> Tensor:
    """Images as a graph takes them, which itself may not look.

    Args:
        images: (N, 3, H, W) with values from 0 to 255.
    Raises:
        UserError: they have another shape.
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise UserError(f"images have the shape {tuple(images.shape)} in place of (N, 3, H, W)")
    if dtype == torch.uint8 != images.dtype:
        images = images.round().clamp(0, 255)
    return images.to(device, dtype).contiguous()


class GraphDetector:
    """Called as Detectron2 calls a model; images of one size go through the graph together."""

    def __init__(self, card: Card, run: Callable[[Tensor], tuple[Tensor, ...]], device="cpu"):
        """
        Args:
            run: (N, 3, H, W) images -> (N, D, 4) boxes, (N, D) scores, (N, D) labels and (N,)
                numbers of detections.
        """
        self.card = card
        self.class_names = card.class_names
        self.device = torch.device(device)
        self._run = run

    def __call__(self, batch: list[dict]) -> list[dict]:
        """
        Args:
            batch: of each image `image`, (3, H, W) in the card's channel order and already
                resized, and the `height` and `width` to give boxes for, else its own.
        Returns:
            of each image {"instances": Instances on the CPU, the best first}.
        Raises:
            UserError: the graph gives out what its card does not know.
        """
        by_size = {}
        for position, item in enumerate(batch):
            by_size.setdefault(item["image"].shape, []).append(position)
        found = [None] * len(batch)
        for positions in by_size.values():
            outputs = self._run(torch.stack([batch[i]["image"] for i in positions]))
            _check(outputs, len(positions), len(self.class_names))
            for position, *columns in zip(positions, *outputs, strict=True):
                found[position] = {"instances": _instances(batch[position], *columns)}
        return found


def _check(outputs: tuple[Tensor, ...], n: int, num_classes: int) -> None:
    """A graph can be another than its card says, which only its outputs show."""
    shapes = [tuple(x.shape) for x in outputs]
    most = shapes[1][-1] if len(shapes) == len(OUTPUTS) and shapes[1] else 0
    if shapes != [(n, most, 4), (n, most), (n, most), (n,)]:
        raise UserError(f"the file's outputs {', '.join(OUTPUTS)} have the shapes {shapes}")
    _, _, labels, num = outputs
    if not ((num >= 0) & (num <= most)).all():
        raise UserError(f"the file gives out {num.tolist()} detections, with room for {most}")
    is_found = torch.arange(most) < num[:, None]
    if not ((labels >= 0) & (labels < num_classes))[is_found].all():
        wrong = labels[is_found & ((labels < 0) | (labels >= num_classes))][0].item()
        raise UserError(
            f"the file gives out the label {wrong}, and its card has {num_classes} class names"
        )


def _instances(item: dict, boxes: Tensor, scores: Tensor, labels: Tensor, num: Tensor):
    height, width = item["image"].shape[1:]
    num = int(num)
    instances = Instances(
        (height, width),
        pred_boxes=Boxes(boxes[:num].clone()),
        scores=scores[:num],
        pred_classes=labels[:num],
    )
    return detector_postprocess(instances, item.get("height", height), item.get("width", width))
