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
from sad.checkpoint.safe_load import write_safetensors
from sad.config.load import get_sad_cfg
from sad.utils.errors import UserError
from toy import REPOSITORY, SIZES, run_train_net, save_random_teacher

IMAGES = [f"{number:06d}.png" for number in range(1, 7)]


def assert_same(found, expected, tolerance=0.0):
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=tolerance)


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

    predict = Predictor(weights, config, opts)
    for number, name in enumerate(IMAGES, start=1):
        path = os.path.join(toy.path("labeled"), name)
        found = predict(path)
        expected = [one for one in evaluated if one["image_id"] == 10 * number]
        x0, y0, x1, y1 = found.boxes.astype(float).T
        boxes = np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)
        np.testing.assert_allclose(boxes, [one["bbox"] for one in expected], atol=1e-4)
        assert found.scores.tolist() == [one["score"] for one in expected]
        assert found.labels.tolist() == [(2, 5).index(x["category_id"]) for x in expected]
        assert found.names == [predict.class_names[label] for label in found.labels]
        assert_same(predict(read_image(path, "BGR")), found)


def test_kinds_and_shapes_of_the_arrays(predict, toy):
    found = predict(toy.path(f"labeled/{IMAGES[0]}"))
    count = len(found)
    assert count and found.boxes.shape == (count, 4) and found.boxes.dtype == np.float32
    assert found.scores.shape == (count,) and found.scores.dtype == np.float32
    assert found.labels.shape == (count,) and found.labels.dtype == np.int64
    nothing = found[found.scores > 1]
    assert nothing.boxes.shape == (0, 4) and nothing.names == []
    some = found[found.scores >= found.scores[1]]
    np.testing.assert_array_equal(some.boxes, found.boxes[:2])


def test_a_list_is_each_of_its_images(predict, toy):
    """Of four shapes, and those of one shape in one batch."""
    paths = [toy.path(f"labeled/{name}") for name in (*IMAGES, *IMAGES[:2], *reversed(IMAGES))]
    for found, path in zip(predict(paths), paths, strict=True):
        assert_same(found, predict(path), 1e-4)
    mixed = predict([paths[0], read_image(paths[1], "BGR")])
    assert_same(mixed[1], predict(paths[1]))
    assert predict([]) == []


def test_images_of_one_shape_are_computed_at_once_and_no_others(run, toy):
    predict = Predictor(run)
    sizes, model = [], predict.detector.model
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    predict([toy.path(f"labeled/{name}") for name in (*IMAGES, *IMAGES)])
    assert sum(sizes) == 12 and set(sizes) == {2, 4}  # two of the six are resized to 64 x 64
    assert len(set(SIZES)) == 6


@pytest.mark.slow
def test_a_run_its_files_and_weights_with_a_yaml(run, toy, tmp_path):
    image = os.path.join(toy.path("labeled"), IMAGES[0])
    found = Predictor(str(run))(image)
    assert len(found)
    write_safetensors(str(run / "model_final.pth"), str(tmp_path / "student.safetensors"))
    for arguments in (
        (run / "model_final.pth",),
        (run, toy.path("student.yaml")),
        (tmp_path / "student.safetensors", toy.path("student.yaml")),
    ):
        assert_same(Predictor(*arguments)(image), found)
    opts = ["MODEL.RETINANET.SCORE_THRESH_TEST", found.scores[1].item()]
    assert len(Predictor(run, opts=opts)(image)) == 1


def test_detectron2s_predictor_takes_the_config_by_get_sad_cfg(run, predict, toy):
    image = os.path.join(toy.path("labeled"), IMAGES[1])
    cfg = get_sad_cfg(str(run / "config.yaml"))
    cfg.MODEL.WEIGHTS = str(run / "model_final.pth")
    theirs, found = DefaultPredictor(cfg)(read_image(image, "BGR"))["instances"], predict(image)
    # Its weights lie in memory in another order.
    np.testing.assert_allclose(found.boxes, theirs.pred_boxes.tensor, atol=1e-4)
    np.testing.assert_allclose(found.scores, theirs.scores, atol=1e-4)
    np.testing.assert_array_equal(found.labels, theirs.pred_classes)


def test_what_it_leaves_alone(predict, toy):
    before = torch.get_rng_state()
    pixels = read_image(os.path.join(toy.path("labeled"), IMAGES[0]), "BGR")
    copy = pixels.copy()
    assert_same(predict(pixels), predict(pixels))
    assert np.array_equal(pixels, copy) and torch.equal(torch.get_rng_state(), before)
    assert not predict.detector.model.training


def test_the_pages_lines_run(run, toy, tmp_path, monkeypatch):
    (tmp_path / "my_detector" / "runs").mkdir(parents=True)
    (tmp_path / "my_detector" / "runs" / "SAD").symlink_to(run)
    image = os.path.join(toy.path("labeled"), IMAGES[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, as a phone says of most of its photographs
    Image.open(image).save(tmp_path / "photo.jpg", exif=exif)
    (tmp_path / "found").mkdir()
    coco = {**toy.json("pseudo_labels.json"), "info": {}}
    (tmp_path / "found" / "predictions.json").write_text(json.dumps(coco))
    monkeypatch.chdir(tmp_path)
    names = {}
    for page in ("docs/own_data.md", "docs/predict.md", "README.md"):
        for code in re.findall(r"```python\n(.*?)```", (REPOSITORY / page).read_text(), re.DOTALL):
            exec(code.replace("> 0.5", "> 0.01"), names)
    assert len(names["found"]) and names["found"].scores.min() > 0.01
    assert Image.open("found.png").size == (480, 640)
    assert len(names["several"]) == 2
    assert len(names["predictions"].anns) == len(names["results"])
    assert len(names["predictor"](read_image("photo.jpg", "BGR"))["instances"])


def test_wrong_images(predict, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    for path in (tmp_path / "absent.png", str(tmp_path / "broken.png")):
        with pytest.raises(UserError, match=rf"image {path} cannot be read"):
            predict(path)
    image = np.zeros((20, 30, 3), np.uint8)
    for wrong in (None, image / 255, image[..., 0], image[:0], np.zeros((9, 9, 4), np.uint8)):
        with pytest.raises(UserError, match="an image must be"):
            predict([image, wrong])
    with pytest.raises(UserError, match="nothing is left of 1 x 4000 pixels"):
        predict(np.zeros((1, 4000, 3), np.uint8))
    assert len(predict(image)) >= 0
