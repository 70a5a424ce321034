"""From a data set dict to the model's input: image, boxes, and which targets the image carries."""

import copy
import random
from collections.abc import Sequence
from contextlib import contextmanager

import numpy as np
import torch
from detectron2.config import configurable
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T

from ..config.defaults import distills
from .images import ImageError, check_resizable, read_record
from .teacher_cache import TeacherCache


@contextmanager
def seeded(seed: tuple[int, ...]):
    """Draws from `random` and `np.random` (Detectron2's augmentations) depend on `seed` alone."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(repr(seed))
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


class WithScaledViews:
    """Augmentations that also keep the same view at multiples of its size.

    Resized from the file's own pixels. Flips after the resizing and crops before it (Detectron2's
    order) mean the same at all sizes.
    """

    def __init__(self, augmentations: T.AugmentationList, scales: Sequence[float]):
        self.augmentations = augmentations
        self.scales = scales
        self.images = []  # (H, W, C) of each scale

    def __call__(self, aug_input: T.AugInput) -> T.TransformList:
        image = aug_input.image
        transforms = self.augmentations(aug_input)
        self.images = [
            T.TransformList([_scaled(t, scale) for t in transforms]).apply_image(image)
            for scale in self.scales
        ]
        return transforms

    def as_tensors(self) -> list[torch.Tensor]:
        """(C, H, W) of each scale."""
        return [_as_tensor(image) for image in self.images]


def _scaled(transform: T.Transform, scale: float) -> T.Transform:
    if not isinstance(transform, T.ResizeTransform):
        return transform
    height, width = (round(scale * side) for side in (transform.new_h, transform.new_w))
    return T.ResizeTransform(transform.h, transform.w, height, width, transform.interp)


def _as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))


class ImageMapper(DatasetMapper):
    """Detectron2's DatasetMapper of boxes and masks, whose images `sad.data.images` reads.

    What comes of a JPEG that lacks its last bytes has `truncated`.
    """

    @configurable
    def __init__(self, *, max_pixels: float, max_side: int, **mapper_arguments):
        """
        Args:
            max_pixels: see DATALOADER.MAX_IMAGE_PIXELS.
            max_side: pixels that the longer side is resized to at most.
        """
        super().__init__(**mapper_arguments)
        self.max_pixels = max_pixels
        self.max_side = max_side

    @classmethod
    def from_config(cls, cfg, is_train: bool = True):
        return {
            **super().from_config(cfg, is_train),
            "max_pixels": cfg.DATALOADER.MAX_IMAGE_PIXELS,
            "max_side": cfg.INPUT.MAX_SIZE_TRAIN if is_train else cfg.INPUT.MAX_SIZE_TEST,
        }

    def __call__(self, dataset_dict: dict) -> dict:
        """
        Raises:
            ImageError: the image cannot be read, or resizing leaves nothing of it.
        """
        sample = copy.deepcopy(dataset_dict)
        image, truncated = read_record(sample, self.image_format, self.max_pixels)
        if truncated:
            sample["truncated"] = True
        check_resizable(image, self.max_side)
        aug_input = T.AugInput(image)
        transforms = self.augmentations(aug_input)
        image = aug_input.image
        sample["image"] = _as_tensor(image)
        if not self.is_train:
            sample.pop("annotations", None)
        elif "annotations" in sample:
            self._transform_annotations(sample, transforms, image.shape[:2])
        return sample


class ReadingMapper(ImageMapper):
    """An image that it cannot read comes back as it was given, with the reason: `unreadable`."""

    def __call__(self, item: dict) -> dict:
        try:
            return super().__call__(item)
        except ImageError as error:
            return {**item, "unreadable": str(error)}


class SADDatasetMapper(ImageMapper):
    """ImageMapper for labelled and teacher-annotated images (Table 3's columns).

    A dict comes with `origin`, "labeled" or "unlabeled", and `augmentation_seed`. It leaves with
    `instances` (ground truth, or the teacher's boxes), `hard_targets`: whether they enter the
    focal and box losses, and `soft_targets`: whether the teacher's logits do. Where the teacher
    has another input scale, `teacher_image` is its view of `image`. Where its answers are kept,
    `kept` is that for this view, or None, and `kept_path` is its place.
    """

    @configurable
    def __init__(
        self,
        *,
        targets: dict[str, tuple[str, ...]],
        teacher_scale: float = 1.0,
        cache: TeacherCache | None = None,
        **mapper_arguments,
    ):
        """
        Args:
            targets: origin -> some of "hard" and "soft"
            teacher_scale: size of the teacher's image over the student's.
            cache: of the teacher's answers.
        """
        super().__init__(**mapper_arguments)
        self.targets = targets
        self.cache = cache
        self.teacher_scale = teacher_scale
        if teacher_scale != 1:
            self.augmentations = WithScaledViews(self.augmentations, [teacher_scale])

    @classmethod
    def from_config(cls, cfg, is_train: bool = True):
        # Without distillation nobody looks at the teacher's view.
        scale = cfg.SAD.TEACHER.INPUT_SCALE if distills(cfg) else 1.0
        return {
            **super().from_config(cfg, is_train),
            "targets": {
                "labeled": cfg.SAD.TARGETS.LABELED,
                "unlabeled": cfg.SAD.TARGETS.UNLABELED,
            },
            "teacher_scale": scale,
            "cache": TeacherCache.of(cfg),
        }

    def __call__(self, dataset_dict: dict) -> dict:
        with seeded(dataset_dict["augmentation_seed"]):
            sample = super().__call__(dataset_dict)
        if self.teacher_scale != 1:
            (sample["teacher_image"],) = self.augmentations.as_tensors()
        targets = self.targets[sample["origin"]]
        sample["hard_targets"] = "hard" in targets
        sample["soft_targets"] = "soft" in targets
        if self.cache and sample["soft_targets"]:
            sample["kept_path"] = self.cache.path(sample.get("teacher_image", sample["image"]))
            sample["kept"] = self.cache.read(sample["kept_path"])
        return sample
