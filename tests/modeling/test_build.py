"""From a yaml to a detector with weights: whole or not at all, and without memory on "meta"."""

import pickle

import numpy as np
import pytest
import torch
from detectron2.modeling import RetinaNet, build_model

from sad.config.load import get_sad_cfg
from sad.modeling import build as building
from sad.modeling.build import build_detector, load_detector
from sad.modeling.teacher import check_pair, teacher_outputs
from sad.utils.errors import UserError


def load(toy, *opts, config="teacher.yaml", weights="teacher.pth"):
    return load_detector(toy.path(config), toy.path(weights), "cpu", opts)[0]


def test_loads_model_and_config(toy):
    model, cfg = load_detector(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")
    assert type(model) is RetinaNet
    weights = torch.load(toy.path("teacher.pth"))["model"]
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert cfg.is_frozen()
    assert cfg.MODEL.RESNETS.STEM_OUT_CHANNELS == 16
    assert cfg.MODEL.DEVICE == "cpu"
    assert cfg.MODEL.WEIGHTS == toy.path("teacher.pth")


def test_student_trained_with_sad_teaches_too(toy, tmp_path):
    """Its yaml says Distiller; as a teacher it is a plain RetinaNet and needs no teacher."""
    torch.save({"model": build_model(toy.cfg("student.yaml")).state_dict()}, tmp_path / "w.pth")
    model, _ = load_detector(toy.path("SAD.yaml"), str(tmp_path / "w.pth"), "cpu")
    assert type(model) is RetinaNet


STOCK = """
MODEL:
  META_ARCHITECTURE: RetinaNet
  DEVICE: cpu
  BACKBONE: {NAME: build_retinanet_resnet_fpn_backbone}
  RESNETS: {OUT_FEATURES: [res3, res4, res5], STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 16,
            WIDTH_PER_GROUP: 4}
  FPN: {IN_FEATURES: [res3, res4, res5], OUT_CHANNELS: 8}
  ANCHOR_GENERATOR: {SIZES: [[16], [32], [64], [128], [256]]}
  RETINANET: {NUM_CLASSES: 2, NUM_CONVS: 1}
"""


def test_stock_retinanet_from_a_model_zoo_pickle(tmp_path):
    (tmp_path / "stock.yaml").write_text(STOCK)
    trained = build_model(get_sad_cfg(str(tmp_path / "stock.yaml"))).eval()
    arrays = {key: value.numpy() for key, value in trained.state_dict().items()}
    zoo = {"model": arrays, "__author__": "Detectron2 Model Zoo"}
    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps(zoo))
    files = str(tmp_path / "stock.yaml"), str(tmp_path / "model_final.pkl")
    model, _ = load_detector(*files, "cpu", ("MODEL.CHANNELS_LAST", "False"))  # as Detectron2's
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 236, (3, 48, 64), np.uint8))
    logits = torch.cat(teacher_outputs(model, [image], "BGR", {"logits"}).logits, dim=1)
    assert logits.shape == (1, 3 * (64 + 16 + 4 + 1 + 1), 2)
    scores = [x([{"image": image}])[0]["instances"].scores for x in (model, trained)]
    assert torch.equal(*scores)


# --- refused --------------------------------------------------------------------------------------


def test_weights_of_another_width(toy):
    """The student's yaml with the teacher's weights: both are named, and what does not fit."""
    with pytest.raises(UserError) as error:
        load(toy, config="student.yaml")
    for part in ("student.yaml", "teacher.pth", "backbone.", "in the file", "in the model"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("head.cls_score.weight"), r"missing \(head\.cls_score\.weight\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"unexpected \(extra\)"),
    ],
)
def test_one_wrong_key(toy, tmp_path, change, named):
    state = torch.load(toy.path("teacher.pth"))["model"]
    change(state)
    torch.save({"model": state}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=named):
        load_detector(toy.path("teacher.yaml"), str(tmp_path / "w.pth"), "cpu")


def test_weights_of_a_backbone_alone(toy, tmp_path):
    state = torch.load(toy.path("teacher.pth"))["model"]
    backbone = {key: value for key, value in state.items() if key.startswith("backbone.")}
    torch.save({"model": backbone}, tmp_path / "imagenet.pth")
    with pytest.raises(UserError, match=r"missing \(head\."):
        load_detector(toy.path("teacher.yaml"), str(tmp_path / "imagenet.pth"), "cpu")


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        ("PanopticFPN", r"describes a PanopticFPN, it must be one of RetinaNet, FCOS"),
        ("GeneralizedRCNN", r": MODEL\.ROI_HEADS\.NAME is 'Res5ROIHeads'"),
    ],
)
def test_no_teachers(toy, tmp_path, detector, said):
    (tmp_path / "other.yaml").write_text(f"MODEL: {{META_ARCHITECTURE: {detector}}}")
    with pytest.raises(UserError, match=rf"other\.yaml ?{said}"):
        load_detector(str(tmp_path / "other.yaml"), toy.path("teacher.pth"), "cpu")


def test_classes_of_a_faster_rcnn_are_counted_by_its_own_key(toy, tmp_path):
    weights = torch.load(toy.path("rcnn_teacher.pth"))["model"]
    torch.save({"model": weights, "class_names": ["a", "b", "c"]}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"3 class names for 2 classes \(MODEL\.ROI_HEADS\.NUM"):
        load_detector(toy.path("rcnn_teacher.yaml"), str(tmp_path / "w.pth"), "cpu")


# --- without memory -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["teacher.yaml", "SAD.yaml"])
def test_a_model_on_meta_has_the_names_shapes_and_anchors_of_the_real_one(toy, name):
    meta, real = (
        build_detector(toy.cfg(name, "MODEL.DEVICE", device, checked=False))
        for device in ("meta", "cpu")
    )
    check_pair(*(getattr(model, "student", model) for model in (meta, real)))
    shapes = [{key: x.shape for key, x in model.state_dict().items()} for model in (meta, real)]
    assert shapes[0] == shapes[1]
    assert all(x.device.type == "meta" for x in meta.state_dict().values())


def test_weights_are_checked_on_meta(toy):
    files = toy.path("teacher.yaml"), toy.path("teacher.pth")
    load_detector(*files, "meta")
    with pytest.raises(UserError, match="do not fit the model"):
        load_detector(toy.path("student.yaml"), files[1], "meta")


def test_no_network(toy):
    opts = ("MODEL.DEVICE", "meta", "MODEL.RETINANET.IN_FEATURES", ("p3", "p9"))
    with pytest.raises(UserError, match=r"MODEL says: KeyError: 'p9'"):
        build_detector(toy.cfg("teacher.yaml", *opts, checked=False))


def test_a_bug_is_not_taken_for_a_wrong_config(toy, monkeypatch):
    def build(cfg):
        raise AttributeError("a bug")

    monkeypatch.setattr(building, "build_model", build)
    with pytest.raises(AttributeError, match="a bug"):
        build_detector(toy.cfg("teacher.yaml", "MODEL.DEVICE", "meta", checked=False))
