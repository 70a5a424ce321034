"""Arrays of what was found."""

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from sad.predict.detections import Detections


def test_of_instances():
    boxes = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]], dtype=torch.float64)
    instances = Instances(
        (9, 9),
        pred_boxes=Boxes(boxes),
        scores=torch.tensor([0.5, 0.25], dtype=torch.float16),
        pred_classes=torch.tensor([1, 0], dtype=torch.int32),
    )
    found = Detections.of_instances(instances, ["a", "b"])
    assert found.boxes.tolist() == boxes.tolist() and found.boxes.dtype == np.float32
    assert found.scores.tolist() == [0.5, 0.25] and found.scores.dtype == np.float32
    assert found.labels.tolist() == [1, 0] and found.labels.dtype == np.int64
    assert found.names == ["b", "a"] and len(found) == 2
    assert found[1:].names == ["a"] and found[np.array([1, 0])].scores.tolist() == [0.25, 0.5]
    none = found[found.scores > 0.9]
    assert len(none) == 0 and none.boxes.shape == (0, 4) and none.class_names == ["a", "b"]
    assert len(Detections.of_instances(instances[:0], ["a", "b"])) == 0
