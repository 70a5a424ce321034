"""Non-maximum suppression of many images and classes at once, also as one operator of ONNX.

Shapes: N images, M candidates of each.
"""

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

NOTHING = -1e6  # score of a place that holds no candidate, below every logit
FAR = 1e12  # pixels, that no box is away


def suppress(
    boxes: Tensor, scores: Tensor, labels: Tensor, num_classes: int, threshold: float
) -> Tensor:
    """(N, M) bool: which candidates no better one of their image and class overlaps too much.

    Args:
        boxes, scores, labels: (N, M, 4), (N, M) and (N, M); scores of nothing are NOTHING, and so
            is a box that is not finite.
    """
    scores = torch.where(boxes.abs().amax(dim=-1) < FAR, scores, NOTHING)
    if not torch.onnx.is_in_onnx_export():
        return _offset_nms(boxes, scores, labels, num_classes, threshold)
    kept = _OnnxSuppression.apply(boxes, scores, labels, num_classes, threshold)
    kept = kept[:, 0] * scores.shape[1] + kept[:, 2]
    flat = torch.zeros_like(scores).flatten().scatter(0, kept, torch.ones_like(kept).float())
    return flat.reshape(scores.shape) > 0


def _offset_nms(boxes, scores, labels, num_classes: int, threshold: float) -> Tensor:
    """(N, M) bool, by one suppression of all: images and classes lie far from each other.

    In float64, as float32 would round boxes the more, the farther they are moved. What is nothing
    is left out, as each box that is kept takes the time of all others. Two boxes more are always
    kept: torch.export takes it for granted that a number which depends on what is found is not 0
    or 1.
    """
    real = scores > NOTHING
    boxes = torch.where(real[..., None], boxes, 0.0).double()
    low, high = boxes.amin(), boxes.amax()
    image = torch.arange(scores.shape[0], device=scores.device)[:, None]
    group = image * num_classes + labels
    moved = boxes + (group * (high - low + 1))[..., None]
    beside = boxes.new_tensor([[-2, -2, -1, -1], [-4, -4, -3, -3]]) + low
    place = real.flatten().nonzero()[:, 0]
    kept = torchvision.ops.nms(
        torch.cat((moved.reshape(-1, 4)[place], beside)),
        F.pad(scores.flatten()[place].double(), (0, 2), value=NOTHING),
        threshold,
    )
    place = torch.cat((place, torch.arange(2, device=scores.device) + scores.numel()))
    flat = scores.new_zeros(scores.numel() + 2)
    flat = flat.scatter(0, place[kept], torch.ones_like(kept).float())
    return flat[:-2].reshape(scores.shape) > 0


class _OnnxSuppression(torch.autograd.Function):
    """ONNX's NonMaxSuppression, which knows images and classes: exact without moving boxes.

    Returns (S, 3): image, class and place of what is kept.
    """

    @staticmethod
    def forward(ctx, boxes, scores, labels, num_classes, threshold):
        keep = _offset_nms(boxes, scores, labels, num_classes, threshold)
        image, place = keep.nonzero(as_tuple=True)
        return torch.stack((image, labels[image, place], place), dim=1)

    @staticmethod
    def symbolic(g, boxes, scores, labels, num_classes, threshold):
        def constant(value):
            return g.op("Constant", value_t=torch.as_tensor(value))

        classes = constant(torch.arange(num_classes).reshape(1, -1, 1))
        first = constant([1])
        is_class = g.op("Equal", g.op("Unsqueeze", labels, first), classes)
        of_class = g.op(
            "Where", is_class, g.op("Unsqueeze", scores, first), constant(torch.tensor(NOTHING))
        )
        most = constant(torch.tensor([2**31 - 1]))
        return g.op(
            "NonMaxSuppression",
            boxes,
            of_class,
            most,
            constant(torch.tensor([threshold], dtype=torch.float32)),
            constant(torch.tensor([NOTHING / 2])),
        )
