"""A detector's worth: what the trainer's evaluation says of it, and its best threshold."""

import pytest
import torch
from detectron2.structures import Boxes, Instances

from exported_files import tame_teacher, write_onnx
from sad.engine.trainer import SADTrainer
from sad.export.validation import evaluate
from sad.exported.open import open_exported
from sad.utils.errors import UserError


class Oracle:
    """Finds what is labelled, and one more thing of a low score in each image."""

    def __init__(self, labels: dict):
        self.labels = labels

    def __call__(self, batch):
        found = []
        for item in batch:
            of_image = self.labels.get(item["image_id"], [])
            boxes = [[x, y, x + w, y + h] for x, y, w, h in (box["bbox"] for box in of_image)]
            classes = [{2: 0, 5: 1}[box["category_id"]] for box in of_image]
            instances = Instances((item["height"], item["width"]))
            instances.pred_boxes = Boxes(torch.tensor([*boxes, [0, 0, 3, 3]], dtype=torch.float))
            instances.scores = torch.tensor([0.8] * len(boxes) + [0.4])
            instances.pred_classes = torch.tensor([*classes, 0])
            found.append({"instances": instances})
        return found


def test_an_oracle_is_perfect_above_what_it_makes_up(toy):
    labels = {}
    for label in toy.json("labeled.json")["annotations"]:
        labels.setdefault(label["image_id"], []).append(label)
    worth = evaluate(Oracle(labels), toy.cfg("teacher.yaml"), "toy_labeled")
    assert worth.ap == pytest.approx(100)
    assert worth.best.f1 == 1 and worth.best.threshold == pytest.approx(0.6)


@pytest.mark.slow
def test_a_file_and_its_model_are_worth_the_same_as_the_trainer_says(toy, tmp_path):
    model, cfg = tame_teacher(toy)
    toy.cfg("teacher.yaml")  # which registers the set
    path = write_onnx(model, cfg, tmp_path / "x.onnx")
    own = evaluate(model, cfg, "toy_labeled")
    file = evaluate(open_exported(path), cfg, "toy_labeled")
    assert file.metrics == pytest.approx(own.metrics, abs=1e-4)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(tmp_path)
    assert own.ap == pytest.approx(SADTrainer.test(cfg, model)["bbox"]["AP"])


def test_a_set_without_annotations_has_no_ap(toy):
    cfg = toy.cfg("SAD.yaml")
    with pytest.raises(UserError, match="annotations|boxes"):
        evaluate(Oracle({}), cfg, "toy_unlabeled")
