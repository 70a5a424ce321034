"""T(q) and KL on an image, against the formulas applied to each model's own logits."""

import copy
import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from torch.distributions import Bernoulli, kl_divergence

from sad.data.mapper import ImageMapper
from sad.modeling.build import build_detector, load_detector
from sad.report.uncertainty import Pair, look, looks
from sad.utils.errors import UserError


@pytest.fixture(scope="module")
def models(toy):
    """{"teacher", "student", "other": (model, config)}"""
    made = {"teacher": load_detector(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")}
    for seed, name in enumerate(("student", "other")):
        torch.manual_seed(seed)
        made[name] = built(toy.cfg("student.yaml"))
    return made


def built(cfg) -> tuple:
    """As `load_detector` gives it, with the weights that it is born with."""
    model = build_detector(cfg).eval().requires_grad_(False)
    model.class_names = ["light", "dark"]
    return model, cfg


def in_other_order(model):
    """The same detector, whose logits are those of its last class first."""
    other = copy.deepcopy(model)
    for values in other.head.cls_score.parameters():
        of_anchors = values.unflatten(0, (-1, len(model.class_names)))
        values.copy_(of_anchors.flip(1).flatten(0, 1))
    other.class_names = model.class_names[::-1]
    return other


def record(toy, position=0) -> dict:
    toy.cfg("student.yaml")
    return DatasetCatalog.get("toy_labeled")[position]


def answers(model, cfg, image_record):
    """(logits of each level (h, w, A K), strides) by Detectron2's own forward."""
    sample = ImageMapper(cfg, is_train=False)(image_record)
    images = model.preprocess_image([sample])
    features = [model.backbone(images.tensor)[name] for name in model.head_in_features]
    logits, _ = model.head(features)
    strides = model.anchor_generator.strides
    return [x[0].permute(1, 2, 0).double() for x in logits], strides


def expected(value_of, levels, strides, offset, shape, boxes):
    """(map, share inside boxes) cell by cell."""
    largest, inside, total = np.zeros(shape), 0.0, 0.0
    for number, stride in enumerate(strides):
        values = value_of(*(of_model[number] for of_model in levels))
        cells = values.max(axis=-1)
        for y in range(shape[0]):
            for x in range(shape[1]):
                # The cell whose anchors are the nearest; no pixel is in the middle of two.
                i = min(math.floor((y + 0.5) / stride + 0.5 - offset), len(cells) - 1)
                j = min(math.floor((x + 0.5) / stride + 0.5 - offset), len(cells[0]) - 1)
                largest[y, x] = max(largest[y, x], cells[i, j])
        for i, j in np.ndindex(*cells.shape):
            y, x = (i + offset) * stride, (j + offset) * stride
            if y < shape[0] and x < shape[1]:
                total += values[i, j].sum()
                held = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
                inside += values[i, j].sum() * held
    return largest, inside / total


def entropy(z):
    return Bernoulli(logits=z).entropy().numpy()


def divergence(z, x):
    return kl_divergence(Bernoulli(logits=z), Bernoulli(logits=x)).numpy()


@pytest.mark.parametrize("position", [0, 1])  # a wide and a tall image
def test_maps_are_those_of_the_formulas(models, toy, position):
    image = record(toy, position)
    pair = Pair(models["teacher"][0], {name: models[name] for name in ("student", "other")})
    pair.check()
    maps = look(pair, image)
    shape = maps.uncertainty.shape
    scale = shape[1] / image["width"]
    boxes = [
        [scale * x for x in (x0, y0, x0 + w, y0 + h)]
        for x0, y0, w, h in (a["bbox"] for a in image["annotations"])
    ]
    offset = models["teacher"][0].anchor_generator.offset
    theirs, strides = answers(*models["teacher"], image)
    wanted, share = expected(entropy, [theirs], strides, offset, shape, boxes)
    np.testing.assert_allclose(maps.uncertainty, wanted, atol=1e-5)
    assert maps.shares["uncertainty"] == pytest.approx(share, abs=1e-5)
    assert 0 < maps.uncertainty.max() <= math.log(2) + 1e-6
    for name in pair.students:
        ours, _ = answers(*models[name], image)
        wanted, share = expected(divergence, [theirs, ours], strides, offset, shape, boxes)
        np.testing.assert_allclose(maps.divergence[name], wanted, atol=1e-4)
        assert maps.shares["divergence"][name] == pytest.approx(share, abs=1e-4)
    assert 0 < maps.shares["objects"] < 1


def test_who_is_compared(models, toy):
    gain = {"teacher": "teacher", "distilled": "student", "baseline": "other"}
    image = record(toy)
    maps, told = looks(gain, models, [image])
    assert told["students"] == ["student", "other"] and list(maps) == [image["file_name"]]
    assert told["images"][0]["name"] == "000001.png" and told["reason"] == ""
    larger = toy.cfg("student.yaml", "INPUT.MIN_SIZE_TEST", 80)
    _, told = looks(gain, models | {"other": (models["other"][0], larger)}, [image])
    assert told["students"] == ["student"] and "another size" in told["reason"]
    assert looks(gain | {"teacher": None}, models, [image])[0] == {}
    assert looks(None, models, [image])[1]["reason"]


def test_a_teacher_answers_for_itself_without_divergence(models, toy):
    pair = Pair(models["teacher"][0], {"itself": models["teacher"]})
    maps = look(pair, record(toy))
    assert maps.divergence["itself"].max() == 0 and maps.shares["divergence"]["itself"] is None


def test_those_that_do_not_compare_say_why(models, toy):
    torch.manual_seed(0)
    cfg = toy.cfg("rcnn_student.yaml")
    two_stages = built(cfg)
    with pytest.raises(UserError, match="“it” is a detector of two stages"):
        Pair(models["teacher"][0], {"it": two_stages}).check()
    cfg = toy.cfg("student.yaml", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "[[1.0]]")
    other = built(cfg)
    gain = {"teacher": "teacher", "distilled": "x", "baseline": "student"}
    maps, told = looks(gain, models | {"x": other}, [])
    assert maps == {} and "anchors" in told["reason"]


def test_classes_are_matched_by_name(models, toy):
    student, cfg = models["student"]
    pair = Pair(
        models["teacher"][0], {"one": (student, cfg), "other": (in_other_order(student), cfg)}
    )
    pair.check()
    maps = look(pair, record(toy))
    np.testing.assert_allclose(maps.divergence["other"], maps.divergence["one"], atol=1e-6)
    shares = maps.shares["divergence"]
    assert shares["other"] == pytest.approx(shares["one"])


@pytest.mark.parametrize("names", [["light", "grey"], None])
def test_a_student_of_other_classes_is_left_out_with_a_sentence(models, toy, names):
    other = in_other_order(models["other"][0])
    other.class_names = names
    gain = {"teacher": "teacher", "distilled": "student", "baseline": "other"}
    _, told = looks(gain, models | {"other": (other, models["other"][1])}, [record(toy)])
    assert told["students"] == ["student"] and "“other”" in told["reason"]
    maps, told = looks(
        gain | {"distilled": "other"}, models | {"other": (other, models["other"][1])}, []
    )
    assert maps == {} and told["students"] == [] and "“other”" in told["reason"]


def test_a_teacher_that_sees_a_larger_image(toy):
    """Its cells are those of the student where its strides are twice as many pixels."""
    torch.manual_seed(0)
    half = toy.cfg("student.yaml", "MODEL.RETINANET.IN_FEATURES", "('p3',)",
                   "MODEL.ANCHOR_GENERATOR.SIZES", "[[16]]")  # fmt: skip
    full = toy.cfg("teacher.yaml", "MODEL.RETINANET.IN_FEATURES", "('p4',)",
                   "MODEL.ANCHOR_GENERATOR.SIZES", "[[32]]")  # fmt: skip
    teacher, student = built(full)[0], built(half)[0]
    image = record(toy, 2)  # a square one, whose sides are whole at both sizes
    pair = Pair(teacher, {"student": (student, half)}, scale=2.0)
    pair.check()
    maps = look(pair, image)
    twice = toy.cfg("teacher.yaml", "INPUT.MIN_SIZE_TEST", 128, "INPUT.MAX_SIZE_TEST", 192)
    (theirs,), _ = answers(teacher, twice, image)
    assert maps.uncertainty.shape == (64, 64)
    at_anchors = maps.uncertainty[::8, ::8]
    np.testing.assert_allclose(at_anchors, entropy(theirs).max(axis=-1), atol=1e-5)
