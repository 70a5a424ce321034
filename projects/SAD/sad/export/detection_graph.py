"""What the graphs of all detectors have in common.

Shapes: N images of height H and width W, R_l anchors of a level, M candidates, at most D
detections.
"""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..utils.errors import UserError
from .suppression import NOTHING


class DetectionGraph(nn.Module):
    """A detector without lists, dicts, and steps whose sizes depend on what is found."""

    INNER: tuple[str, ...]  # names of what `forward` returns besides detections, for the proof
    nms = True  # whether `forward` ends in detections

    def __init__(self, model, detections: int):
        """
        Args:
            model: a detector of Detectron2's, in eval mode.
            detections: D.
        Raises:
            UserError: its backbone has no graph.
        """
        super().__init__()
        if model.backbone.padding_constraints.get("square_size"):
            raise UserError("a backbone that pads images to squares cannot be exported")
        self.model = model
        self.stride = max(1, model.backbone.size_divisibility)
        self.detections = detections
        self.eval()  # else exporters would put the model into training mode when they are done

    @property
    @abstractmethod
    def strides(self) -> list[int]:
        """Pixels between the anchors of each level."""

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            images: (N, 3, H, W), values from 0 to 255 in the model's channel order.
        Returns:
            boxes (N, D, 4), x0 y0 x1 y1 in pixels of the images, clipped to them, scores (N, D),
            labels (N, D), and num (N,) of detections. They stand first, by falling score; what
            follows them is 0, its label -1. After these four, what INNER names; without `nms` that
            alone.
        """

    def normalized(self, images: Tensor) -> Tensor:
        """What the backbone reads: scaled values, padded to multiples of its stride."""
        pixels = (images.float() - self.model.pixel_mean) / self.model.pixel_std
        bottom, right = (-side % self.stride for side in images.shape[-2:])
        return F.pad(pixels, (0, right, 0, bottom))

    def best_detections(
        self,
        boxes: Tensor,
        scores: Tensor,
        labels: Tensor,
        height: int,
        width: int,
        threshold: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best D of what was not suppressed, see `forward`.

        Args:
            boxes, scores, labels: (N, M, 4), (N, M) and (N, M); scores of nothing are NOTHING.
        """
        scores, order = scores.topk(self.detections, dim=1)
        boxes, labels = clip(take(boxes, order), height, width), labels.gather(1, order)
        # Detectron2 leaves out what lies beside the image, after it has counted to D.
        sides = boxes[..., 2:] - boxes[..., :2]
        scores, order = torch.where(sides.amin(-1) > 0, scores, NOTHING).topk(self.detections, 1)
        boxes, labels = take(boxes, order), labels.gather(1, order)
        found = scores > threshold
        return (
            torch.where(found[..., None], boxes, 0.0),
            torch.where(found, scores, 0.0),
            torch.where(found, labels, -1),
            found.sum(dim=1),
        )


def anchors_of(generator, level: int, features: Tensor) -> Tensor:
    """(R_l, 4) as Detectron2's generator has them, without making numbers of sizes.

    Args:
        features: the level's map, (N, C, rows, columns).
    """
    rows, columns = (
        (torch.arange(side, dtype=torch.float32, device=features.device) + generator.offset)
        * generator.strides[level]
        for side in features.shape[-2:]
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    shifts = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
    return (shifts + list(generator.cell_anchors)[level]).reshape(-1, 4)


def decode(box2box_transform, deltas: Tensor, anchors: Tensor) -> Tensor:
    """(N, R_l, 4) deltas of (R_l, 4) anchors -> boxes (N, R_l, 4)."""
    of_all = anchors.expand(deltas.shape[0], -1, -1).reshape(-1, 4)
    return box2box_transform.apply_deltas(deltas.reshape(-1, 4), of_all).reshape(deltas.shape)


def best_of_level(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of (N, S) scores, (N, k) each, and their places. A small level has fewer: what is
    missing is NOTHING, at a place beyond its end."""
    return F.pad(scores, (0, k), value=NOTHING).topk(k, dim=1)


def take(boxes: Tensor, order: Tensor) -> Tensor:
    """(N, R, 4) by (N, k) -> (N, k, 4)."""
    return boxes.gather(1, order[..., None].expand(-1, -1, 4))


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """(..., 4) boxes to an image."""
    x0, y0, x1, y1 = boxes.clamp(min=0).unbind(-1)
    x0, x1 = (torch.clamp(x, max=width) for x in (x0, x1))
    y0, y1 = (torch.clamp(y, max=height) for y in (y0, y1))
    return torch.stack((x0, y0, x1, y1), dim=-1)
