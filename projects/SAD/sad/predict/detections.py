"""What a detector finds in an image, as plain arrays."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detections:
    """N boxes of an image, the best first. `found[found.scores > 0.5]` is some of them.

    Attributes:
        boxes: (N, 4) float32 corners x0, y0, x1, y1 in pixels of the image.
        scores: (N,) float32 from 0 to 1.
        labels: (N,) int64 places in `class_names`.
        class_names: of all classes that the detector knows.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    class_names: list[str]

    @classmethod
    def of_instances(cls, instances, class_names: list[str]) -> "Detections":
        """Those of Detectron2's Instances with pred_boxes, scores and pred_classes."""
        instances = instances.to("cpu")
        return cls(
            instances.pred_boxes.tensor.numpy().astype(np.float32, copy=False),
            instances.scores.numpy().astype(np.float32, copy=False),
            instances.pred_classes.numpy().astype(np.int64, copy=False),
            class_names,
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, some) -> "Detections":
        """
        Args:
            some: a slice, a mask or an array of positions.
        """
        return Detections(self.boxes[some], self.scores[some], self.labels[some], self.class_names)

    @property
    def names(self) -> list[str]:
        """The class of each box."""
        return [self.class_names[label] for label in self.labels]
