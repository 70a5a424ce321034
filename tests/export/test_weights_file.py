"""safetensors with a card: bit for bit, and read by Detectron2's side as any weights."""

import numpy as np
import torch
from safetensors import safe_open

import sad
from exported_files import tame_teacher
from sad.checkpoint.safe_load import read_weights
from sad.export.weights_file import differences, to_weights
from sad.exported.describe import describe
from sad.exported.open import open_exported
from sad.modeling.build import load_detector


def test_both_ways(toy, tmp_path):
    model, cfg = tame_teacher(toy)
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(to_weights(model, describe(model, cfg)))
    assert differences(model, open_exported(path)) == []
    assert read_weights(str(path))["class_names"] == ["light", "dark"]
    again, _ = load_detector(toy.path("teacher.yaml"), str(path), "cpu")
    assert differences(model, again) == []


def test_the_file_says_how_it_is_loaded(toy, tmp_path):
    model, cfg = tame_teacher(toy)
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(to_weights(model, describe(model, cfg)))
    with safe_open(path, "pt") as file:
        said = file.metadata()["how_to_load"].replace("this.safetensors", str(path))
    names = {"sad": sad, "image": np.zeros((64, 64, 3), np.uint8)}
    arrays, again = (eval(line, names) for line in said.splitlines() if line.startswith("sad."))
    assert arrays.boxes.shape == (len(arrays), 4)
    assert differences(model, again) == []


def test_one_bit_is_a_difference(toy):
    model, other = tame_teacher(toy)[0], tame_teacher(toy)[0]
    weight = other.head.bbox_pred.bias.data
    weight[0] = torch.nextafter(weight[0], torch.tensor(9.0))
    assert differences(model, other) == ["head.bbox_pred.bias"]
    other.extra = torch.nn.Linear(1, 1)
    assert "extra.bias" in differences(model, other)
