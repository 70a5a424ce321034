"""Pictures of predictions, as TensorBoard shows them."""

import io
from pathlib import Path

import numpy as np
import pytest
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from interrupted import assert_same, result, train
from sad.engine.pictures import draw
from toy import SIZES


def shown(folder: Path) -> dict[str, list]:
    """{tag: its events} of a run."""
    (file,) = folder.glob("events.out.tfevents*")
    events = EventAccumulator(str(file), size_guidance={"images": 0}).Reload()
    return {tag: events.Images(tag) for tag in events.Tags()["images"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "ids", "period", "steps"),
    [(0, [], 2, []), (2, [10, 60], 2, [1, 3]), (9, range(10, 70, 10), 0, [3])],
)
def test_the_same_images_after_each_evaluation(toy, tmp_path, number, ids, period, steps):
    opts = ("OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", 3, "TEST.EVAL_PERIOD", period)
    train(toy.cfg("student.yaml", *opts, "SAD.WATCH.PICTURES", number), resume=False)
    found = shown(tmp_path)
    assert sorted(found) == [f"predictions/{image_id}" for image_id in ids]
    for events in found.values():
        assert [event.step for event in events] == steps
        image = Image.open(io.BytesIO(events[0].encoded_image_string))
        assert image.size == (720, 360) and image.mode == "RGB"


@pytest.mark.slow
def test_they_change_nothing_of_the_training(toy, tmp_path):
    found = []
    for number in (0, 1):
        opts = ("OUTPUT_DIR", str(tmp_path / str(number)), "SAD.WATCH.PICTURES", number)
        opts += ("SOLVER.MAX_ITER", 4, "TEST.EVAL_PERIOD", 2)
        train(toy.cfg("student.yaml", *opts), resume=False)
        found.append(result(tmp_path / str(number)))
    assert_same(*found)


def test_labels_on_the_left_and_what_is_found_on_the_right(toy):
    """A box changes its side's pixels alone, and one of a low score none."""
    record = {"file_name": str(toy.root / "labeled" / "000003.png"), "image_id": 3}
    label = {"bbox": [4, 4, 30, 40], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 1}
    box = Boxes(np.array([[4.0, 4.0, 34.0, 44.0]], np.float32))
    pictures = {}
    for name, labels, score in (("none", [], 0.1), ("label", [label], 0.1), ("found", [], 0.9)):
        found = Instances(SIZES[2], pred_boxes=box, scores=np.array([score]),
                          pred_classes=np.array([1]))  # fmt: skip
        pictures[name] = draw({**record, "annotations": labels}, found, ["light", "dark"])
    for name, side, other in (("label", slice(0, 360), slice(360, 720)),
                              ("found", slice(360, 720), slice(0, 360))):  # fmt: skip
        changed = (pictures[name] != pictures["none"]).any(axis=2)
        assert changed[:, side].any() and not changed[:, other].any()
