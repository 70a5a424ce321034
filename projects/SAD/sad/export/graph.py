"""A detector as a function of tensors: what export turns into a graph of another program.

Shapes: N images of height H and width W, L levels, R anchors of all levels (R_l of one), K classes,
k candidates of a level, M = L x k, D detections at most.
"""

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from ..modeling.adapters import adapter_of
from ..utils.errors import UserError

NOTHING = -1.0  # score of a place that holds no candidate


class DetectionGraph(nn.Module):
    """RetinaNet and FCOS without lists, dicts, and steps whose sizes depend on what is found.

    Detectron2 takes what is above the score threshold and of it the best k of a level. Here the
    best k of a level come first, and those of them that are not above the threshold count as
    nothing, which is the same set.
    """

    def __init__(self, model, nms: bool = True):
        """
        Args:
            model: a detector of Detectron2's, in eval mode.
            nms: whether `forward` ends in detections.
        Raises:
            UserError: it is of another kind.
        """
        super().__init__()
        name = type(model).__name__
        if name not in ("RetinaNet", "FCOS"):
            raise UserError(
                f"a {name} cannot be exported as a graph, only a RetinaNet or FCOS: --format "
                "safetensors takes it"
            )
        if model.backbone.padding_constraints.get("square_size"):
            raise UserError("a backbone that pads images to squares cannot be exported")
        self.model = model
        self.nms = nms
        self.adapter = adapter_of(model)
        self.stride = max(1, model.backbone.size_divisibility)
        self.k = model.test_topk_candidates
        self.detections = min(
            model.max_detections_per_image, self.k * len(model.anchor_generator.strides)
        )
        self.eval()  # else exporters would put the model into training mode when they are done

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            images: (N, 3, H, W), values from 0 to 255 in the model's channel order.
        Returns:
            all decoded boxes (N, R, 4), x0 y0 x1 y1 in pixels of the images, and scores (N, R, K);
            with `nms` before them boxes (N, D, 4), clipped to the image, scores (N, D), labels
            (N, D), and num (N,) of detections. They stand first, by falling score; what follows
            them is 0, its label -1.
        """
        levels = self.levels(images)
        dense = tuple(torch.cat(of_levels, dim=1) for of_levels in zip(*levels, strict=True))
        if not self.nms:
            return dense
        return *self.select(levels, images.shape[-2], images.shape[-1]), *dense

    def levels(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of each level all decoded boxes (N, R_l, 4) and scores (N, R_l, K)."""
        pixels = (images.float() - self.model.pixel_mean) / self.model.pixel_std
        bottom, right = (-side % self.stride for side in images.shape[-2:])
        pixels = F.pad(pixels, (0, right, 0, bottom))
        outputs = self.adapter.outputs(self.model, pixels)
        centerness = outputs.centerness or [None] * len(outputs.logits)
        generator = self.model.anchor_generator
        return [
            (
                self._decode(deltas, self._anchors(cell, stride, features)),
                self.adapter.scores(logits, of_anchor),
            )
            for logits, deltas, of_anchor, cell, stride, features in zip(
                outputs.logits,
                outputs.deltas,
                centerness,
                generator.cell_anchors,
                generator.strides,
                outputs.features,
                strict=True,
            )
        ]

    def split(self, boxes: Tensor, scores: Tensor, height: int, width: int) -> list:
        """By level, what `forward` returns without `nms` of images of this size; see `levels`."""
        padded = tuple(side + -side % self.stride for side in (height, width))
        sizes = self.adapter.level_sizes(self.model, padded)
        cells = self.model.anchor_generator.cell_anchors
        counts = [
            rows * columns * len(cell) for (rows, columns), cell in zip(sizes, cells, strict=True)
        ]
        return list(zip(boxes.split(counts, dim=1), scores.split(counts, dim=1), strict=True))

    def _anchors(self, cell_anchors: Tensor, stride: int, features: Tensor) -> Tensor:
        """(R_l, 4) as Detectron2's generator has them, without making numbers of sizes."""
        offset = self.model.anchor_generator.offset
        rows, columns = (
            (torch.arange(side, dtype=torch.float32, device=features.device) + offset) * stride
            for side in features.shape[-2:]
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        shifts = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
        return (shifts + cell_anchors).reshape(-1, 4)

    def _decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        of_all = anchors.expand(deltas.shape[0], -1, -1).reshape(-1, 4)
        boxes = self.model.box2box_transform.apply_deltas(deltas.reshape(-1, 4), of_all)
        return boxes.reshape(deltas.shape)

    def select(
        self, levels: list[tuple[Tensor, Tensor]], height: int, width: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The detections, see `forward`.

        Args:
            levels: see `levels`.
        """
        boxes, scores, labels = (
            torch.cat(x, dim=1) for x in zip(*(self._best(*level) for level in levels), strict=True)
        )
        threshold = self.model.test_score_thresh
        scores = torch.where(scores > threshold, scores, NOTHING)
        keep = suppress(boxes, scores, labels, self.model.num_classes, self.model.test_nms_thresh)
        scores, order = torch.where(keep, scores, NOTHING).topk(self.detections, dim=1)
        boxes, labels = _take(boxes, order), labels.gather(1, order)
        x0, x1 = boxes[..., 0].clamp(min=0), boxes[..., 2].clamp(min=0)
        y0, y1 = boxes[..., 1].clamp(min=0), boxes[..., 3].clamp(min=0)
        x0, x1 = (torch.clamp(x, max=width) for x in (x0, x1))
        y0, y1 = (torch.clamp(y, max=height) for y in (y0, y1))
        boxes = torch.stack((x0, y0, x1, y1), dim=-1)
        # Detectron2 leaves out what lies beside the image, after it has counted to D.
        scores = torch.where((x1 > x0) & (y1 > y0), scores, NOTHING)
        scores, order = scores.topk(self.detections, dim=1)
        boxes, labels = _take(boxes, order), labels.gather(1, order)
        found = scores > threshold
        return (
            torch.where(found[..., None], boxes, 0.0),
            torch.where(found, scores, 0.0),
            torch.where(found, labels, -1),
            found.sum(dim=1),
        )

    def _best(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The k best of a level: boxes (N, k, 4), scores (N, k) and labels (N, k)."""
        num_classes = self.model.num_classes
        flat = F.pad(scores.flatten(1), (0, self.k), value=NOTHING)  # a small level has fewer
        best, order = flat.topk(self.k, dim=1)
        anchor = torch.minimum(order // num_classes, (order * 0 + boxes.shape[1] - 1))
        return _take(boxes, anchor), best, order % num_classes


def _take(boxes: Tensor, order: Tensor) -> Tensor:
    """(N, R, 4) by (N, k) -> (N, k, 4)."""
    return boxes.gather(1, order[..., None].expand(-1, -1, 4))


def suppress(
    boxes: Tensor, scores: Tensor, labels: Tensor, num_classes: int, threshold: float
) -> Tensor:
    """(N, M) bool: which candidates no better one of their image and class overlaps too much.

    Args:
        boxes, scores, labels: (N, M, 4), (N, M) and (N, M); scores of nothing are NOTHING.
    """
    if not torch.onnx.is_in_onnx_export():
        return _offset_nms(boxes, scores, labels, num_classes, threshold)
    kept = _OnnxSuppression.apply(boxes, scores, labels, num_classes, threshold)
    kept = kept[:, 0] * scores.shape[1] + kept[:, 2]
    flat = torch.zeros_like(scores).flatten().scatter(0, kept, torch.ones_like(kept).float())
    return flat.reshape(scores.shape) > 0


def _offset_nms(boxes, scores, labels, num_classes: int, threshold: float) -> Tensor:
    """(N, M) bool, by one suppression of all: images and classes lie far from each other.

    In float64, as float32 would round boxes the more, the farther they are moved. What is nothing
    is one box, so that it takes no time. Two boxes more are always kept: torch.export takes it for
    granted that a number which depends on what is found is not 0 or 1.
    """
    real = scores > NOTHING
    boxes = torch.where(real[..., None], boxes, 0.0).double()
    low, high = boxes.amin(), boxes.amax()
    image = torch.arange(scores.shape[0], device=scores.device)[:, None]
    group = torch.where(real, image * num_classes + labels, 0)
    moved = boxes + (group * (high - low + 1))[..., None]
    beside = boxes.new_tensor([[-2, -2, -1, -1], [-4, -4, -3, -3], [-6, -6, -5, -5]]) + low
    moved = torch.where(real[..., None], moved, beside[0])
    kept = torchvision.ops.nms(
        torch.cat((moved.reshape(-1, 4), beside[1:])),
        F.pad(scores.flatten().double(), (0, 2), value=NOTHING),
        threshold,
    )
    flat = scores.new_zeros(scores.numel() + 2)
    flat = flat.scatter(0, kept, torch.ones_like(kept).float())
    return (flat[:-2].reshape(scores.shape) > 0) & real


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
