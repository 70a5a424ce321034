"""Each image in several sizes, mirrored and not; what a teacher finds in all of them is fused.

Where several views show a box, it is placed better and is more surely one. Detectron2 has this for
Faster R-CNN alone (`GeneralizedRCNNWithTTA`), and keeps of each object the best box of one view.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from detectron2.layers import batched_nms
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor

from ..data.mapper import ReadingMapper, WithScaledViews
from ..modeling.adapters import adapter_of
from ..modeling.teacher import padded_alone
from ..terms.term import Outputs
from ..utils.arguments import between
from ..utils.errors import UserError

SAME = 0.6  # IoU from which on two boxes of a class are one object


class Views(NamedTuple):
    """Besides each image as the detector's yaml has it."""

    scales: tuple[float, ...] = ()  # its size times these
    flip: bool = False  # all sizes mirrored, too

    @classmethod
    def of(cls, scales: Sequence[float], flip: bool) -> "Views":
        """
        Raises:
            UserError: 1 is none of the scales.
        """
        if 1 not in scales:
            raise UserError(
                f"--scales are {', '.join(f'{scale:g}' for scale in scales)}: 1 must be among them"
            )
        return cls(tuple(sorted({*scales} - {1})), flip)


NO_OTHERS = Views()


def add_view_arguments(parser) -> None:
    """--scales and --flip, of which `Views.of` makes views."""
    parser.add_argument(
        "--scales",
        nargs="+",
        type=between(float, 0.25, 4),
        default=[1.0],
        help="the teacher sees each image in its size times each of these, one of which is 1",
    )
    parser.add_argument(
        "--flip", action="store_true", help="the teacher sees each image mirrored, too"
    )


def check_views(views: Views, cfg) -> None:
    """
    Raises:
        UserError: naming what the teacher's config has against them.
    """
    if views.flip and cfg.INPUT.RANDOM_FLIP != "horizontal":
        raise UserError(
            f"--flip is given, but the teacher was trained with INPUT.RANDOM_FLIP "
            f"{cfg.INPUT.RANDOM_FLIP}: leave it out"
        )
    if views.scales and not cfg.INPUT.MIN_SIZE_TEST:
        raise UserError(
            "--scales is given, but INPUT.MIN_SIZE_TEST is 0, which leaves images as they are: "
            "set it, or leave --scales out"
        )


class ViewMapper(ReadingMapper):
    """ReadingMapper; an image leaves with `scaled_images`, those of the other sizes."""

    def __init__(self, cfg, views: Views):
        super().__init__(cfg, is_train=False)
        self.augmentations = WithScaledViews(self.augmentations, views.scales)

    def __call__(self, item: dict) -> dict:
        sample = super().__call__(item)
        if "unreadable" not in sample:
            sample["scaled_images"] = self.augmentations.as_tensors()
        return sample


@torch.inference_mode()
def detect_in_views(
    model,
    batch: list[dict],
    precision: str,
    views: Views,
    most: int,
    heed: Callable[[Outputs], None] | None = None,
) -> list[Instances]:
    """`adapter.detect` in all views. The network is first given the batch as it is.

    Args:
        batch: of `ViewMapper`, all of one padded shape.
        most: detections of an image, the best ones.
        heed: is given the outputs for the batch as it is, of a dense detector.
    """
    plain = adapter_of(model).detect(model, batch, precision, **({"heed": heed} if heed else {}))
    found = [[instances] for instances in plain]
    others = [("image", None, True)] if views.flip else []
    others += [
        ("scaled_images", number, mirrored)
        for number in range(len(views.scales))
        for mirrored in (False, True)[: 1 + views.flip]
    ]
    for key, number, mirrored in others:
        images = [item[key] if number is None else item[key][number] for item in batch]
        if mirrored:
            images = [image.flip(-1) for image in images]
        for position, instances in _detect(model, batch, images, precision):
            if mirrored:
                instances = _mirrored(instances)
            found[position].append(instances)
    return [fuse(of_image)[:most] for of_image in found] if others else plain


def _detect(model, batch: list[dict], images: list[Tensor], precision: str):
    """(position, what is found in the image); images that are padded alike are asked together."""
    of_shape = defaultdict(list)
    for position, image in enumerate(images):
        of_shape[padded_alone(model, *image.shape[-2:])].append(position)
    for positions in of_shape.values():
        some = [{**batch[position], "image": images[position]} for position in positions]
        yield from zip(positions, adapter_of(model).detect(model, some, precision), strict=True)


def _mirrored(instances: Instances) -> Instances:
    x0, y0, x1, y1 = instances.pred_boxes.tensor.unbind(dim=1)
    width = instances.image_size[1]
    instances.pred_boxes = Boxes(torch.stack([width - x1, y0, width - x0, y1], dim=1))
    return instances


def fuse(found: list[Instances]) -> Instances:
    """One image's detections in V views as one list, by falling score.

    Boxes of one class that overlap with a better one by SAME become the mean of them all, weighted
    by their scores. Its score is the mean over the views of the best in each, 0 where there is
    none.

    Args:
        found: V Instances of one image in the same pixels, with pred_boxes, scores, pred_classes.
    """
    view = torch.cat([x.scores.new_full((len(x),), k).long() for k, x in enumerate(found)])
    every = Instances.cat(found)
    boxes, scores, classes = every.pred_boxes.tensor, every.scores, every.pred_classes
    keep = batched_nms(boxes, scores, classes, SAME)
    if not len(keep):
        return every
    overlap = pairwise_iou(Boxes(boxes), Boxes(boxes[keep]))
    overlap[classes[:, None] != classes[keep]] = 0
    overlap, group = overlap.max(dim=1)
    one = overlap >= SAME  # a box that NMS drops for one that is dropped itself may be in no group
    weights = torch.zeros(len(keep), len(boxes)).to(boxes)
    weights[group[one], one.nonzero()[:, 0]] = scores[one]
    fused = weights @ boxes / weights.sum(dim=1, keepdim=True)
    best = boxes.new_zeros(len(keep), len(found))
    index = group[one] * len(found) + view[one]
    best.view(-1).scatter_reduce_(0, index, scores[one], "amax")
    means = best.mean(dim=1)
    order = means.argsort(descending=True, stable=True)
    return Instances(
        every.image_size,
        pred_boxes=Boxes(fused[order]),
        scores=means[order],
        pred_classes=classes[keep][order],
    )
