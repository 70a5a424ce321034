"""sad.Predictor finds what an evaluation finds, and the pages' lines on it run as they stand."""

import json
import os
import re

import numpy as np
import pytest
import torch
from detectron2.data.detection_utils import read_image
from detectron2.engine import DefaultPredictor
from PIL import Image

from sad import Predictor
from sad.checkpoint import safe_load as weights_file
from sad.checkpoint.safe_load import write_safetensors
from sad.config.load import get_sad_cfg
from sad.utils.errors import UserError
from toy import REPOSITORY, run_train_net, save_random_teacher

IMAGES = [f"{number:06d}.png" for number in range(1, 7)]


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    """The folder of a SAD run of four iterations, with the detections of its last evaluation."""
    output = tmp_path_factory.mktemp("runs") / "SAD"
    with pytest.MonkeyPatch.context() as patch:
        run_train_net(patch, "--config-file", toy.path("SAD.yaml"),
                      "OUTPUT_DIR", output, "SOLVER.MAX_ITER", 4)  # fmt: skip
    return output


def assert_same(found, expected, tolerance=0.0):
    assert found.image_size == expected.image_size
    assert torch.equal(found.pred_classes, expected.pred_classes)
    close = {"rtol": 0, "atol": tolerance}
    torch.testing.assert_close(found.scores, expected.scores, **close)
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor, **close)


@pytest.mark.parametrize("image_format", ["BGR", "RGB", "L"])
def test_detections_are_those_of_an_evaluation(run, toy, tmp_path, monkeypatch, image_format):
    opts = ["INPUT.FORMAT", image_format]
    config, weights = run / "config.yaml", run / "model_final.pth"
    if image_format == "L":  # other weights, as the first layer has one channel
        opts += ["MODEL.PIXEL_MEAN", [110.0], "MODEL.PIXEL_STD", [1.0]]
        config, weights = toy.path("teacher.yaml"), tmp_path / "grey.pth"
        save_random_teacher(toy.cfg("teacher.yaml", *opts), weights)
    run_train_net(monkeypatch, "--config-file", config, "--eval-only", *opts,
                  "OUTPUT_DIR", tmp_path, "MODEL.WEIGHTS", weights)  # fmt: skip
    file = tmp_path / "inference" / "toy_labeled" / "coco_instances_results.json"
    evaluated = json.loads(file.read_text())
    assert evaluated

    predict = Predictor(config, weights, opts)
    for number, name in enumerate(IMAGES, start=1):
        path = os.path.join(toy.path("labeled"), name)
        found = predict(path)
        expected = [one for one in evaluated if one["image_id"] == 10 * number]
        x0, y0, x1, y1 = found.pred_boxes.tensor.double().unbind(dim=1)
        boxes = torch.stack([x0, y0, x1 - x0, y1 - y0], dim=1)
        np.testing.assert_allclose(boxes, [one["bbox"] for one in expected], atol=1e-4)
        assert found.scores.tolist() == [one["score"] for one in expected]
        assert found.pred_classes.tolist() == [(2, 5).index(x["category_id"]) for x in expected]
        assert found.image_size == read_image(path).shape[:2]
        assert_same(predict(read_image(path, "BGR")), found)


def test_a_run_and_a_yaml_with_weights(run, toy, tmp_path):
    image = os.path.join(toy.path("labeled"), IMAGES[0])
    found = Predictor(str(run))(image)
    assert len(found)
    write_safetensors(str(run / "model_final.pth"), str(tmp_path / "student.safetensors"))
    for arguments in (
        (run, run / "model_final.pth"),
        (run / "config.yaml", run / "model_final.pth"),
        (toy.path("student.yaml"), tmp_path / "student.safetensors"),
    ):
        assert_same(Predictor(*arguments)(image), found)
    strict = Predictor(run, opts=["MODEL.RETINANET.SCORE_THRESH_TEST", found.scores[1].item()])
    assert len(strict(image)) == 1


def test_detectron2s_predictor_takes_the_config_by_get_sad_cfg(run, toy):
    image = os.path.join(toy.path("labeled"), IMAGES[1])
    cfg = get_sad_cfg(str(run / "config.yaml"))
    cfg.MODEL.WEIGHTS = str(run / "model_final.pth")
    found = DefaultPredictor(cfg)(read_image(image, "BGR"))["instances"]
    assert_same(Predictor(run)(image), found, 1e-4)  # its weights lie in memory in another order


def test_what_it_leaves_alone(run, toy):
    predict = Predictor(run)
    before = torch.get_rng_state()
    pixels = read_image(os.path.join(toy.path("labeled"), IMAGES[0]), "BGR")
    copy = pixels.copy()
    first, second = predict(pixels), predict(pixels)
    assert_same(first, second)
    assert np.array_equal(pixels, copy) and torch.equal(torch.get_rng_state(), before)
    assert not first.scores.requires_grad and not predict.model.training


def test_class_names_are_those_of_the_weights(run, tmp_path):
    content = weights_file.read_weights(str(run / "model_final.pth"))
    for names in (["light", "dark"], None):
        content.pop("class_names", None)
        torch.save({**content, **({"class_names": names} if names else {})}, tmp_path / "w.pth")
        assert Predictor(run, tmp_path / "w.pth").class_names == names


def test_the_pages_lines_run(run, toy, tmp_path, monkeypatch):
    (tmp_path / "my_detector" / "runs").mkdir(parents=True)
    (tmp_path / "my_detector" / "runs" / "SAD").symlink_to(run)
    Image.open(os.path.join(toy.path("labeled"), IMAGES[0])).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names = {}
    for page in ("README.md", "docs/own_data.md"):
        for code in re.findall(r"```python\n(.*?)```", (REPOSITORY / page).read_text(), re.DOTALL):
            exec(code.replace("> 0.5", "> 0.01"), names)
    assert len(names["found"]) and names["found"].scores.min() > 0.01
    assert Image.open("found.png").size == Image.open("photo.jpg").size
    assert len(names["predictor"](read_image("photo.jpg", "BGR"))["instances"])


@pytest.mark.parametrize(
    ("name", "weights", "parts"),
    [
        ("absent", "", ("absent does not exist",)),
        ("empty", "", ("empty holds no model_final.pth",)),
        ("empty", "w.pth", ("empty holds no config.yaml",)),
        ("student.yaml", "", ("no weights", "student.yaml")),
        ("student.yaml", "w.pth", ("w.pth do not exist",)),
        ("student.yaml", "teacher.pth", ("student.yaml", "teacher.pth", "another shape")),
    ],
)
def test_wrong_files(toy, tmp_path, name, weights, parts):
    (tmp_path / "empty").mkdir()
    path = toy.path(name) if name.endswith("yaml") else tmp_path / name
    with pytest.raises(UserError) as error:
        Predictor(path, weights and toy.path(weights))
    assert all(part in str(error.value) for part in parts), error.value


def test_wrong_images(run, tmp_path):
    predict = Predictor(run)
    (tmp_path / "broken.png").write_bytes(b"no image")
    for path in (tmp_path / "absent.png", str(tmp_path / "broken.png")):
        with pytest.raises(UserError, match=rf"image {path} cannot be read"):
            predict(path)
    image = np.zeros((20, 30, 3), np.uint8)
    for wrong in (None, image / 255, image[..., 0], image[:0], np.zeros((9, 9, 4), np.uint8)):
        with pytest.raises(UserError, match="an image must be"):
            predict(wrong)
    with pytest.raises(UserError, match="nothing is left of 1 x 4000 pixels"):
        predict(np.zeros((1, 4000, 3), np.uint8))
    assert predict(image).image_size == (20, 30)
