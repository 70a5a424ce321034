"""Networks by name: each can be built, and those that start from ImageNet's weights say so."""

import pytest
import torch

from sad.config.load import get_sad_cfg
from sad.modeling.build import build_detector
from sad.pipeline.detectors import FASTER_RCNN, RETINANET
from sad.pipeline.facts import Machine
from sad.pipeline.networks import default_teacher, find_network, names, write_weights
from sad.pipeline.settings import as_cfg, base_settings
from sad.pipeline.yaml_text import Setting, as_settings
from sad.preflight.values import check_config
from sad.utils.errors import UserError
from square_facts import facts
from toy import REPOSITORY


def config(network, last_level):
    levels = [f"p{level}" for level in range(3, last_level + 1)]
    sizes = [[2.0 * 2**level] for level in range(3, last_level + 1)]
    return as_cfg(
        [
            *as_settings(network.keys),
            Setting("MODEL.META_ARCHITECTURE", "RetinaNet"),
            Setting("MODEL.RESNETS.OUT_FEATURES", ["res3", "res4", "res5"]),
            Setting("MODEL.FPN.IN_FEATURES", ["res3", "res4", "res5"]),
            Setting("MODEL.FPN.LAST_LEVEL", last_level),
            Setting("MODEL.RETINANET.IN_FEATURES", levels),
            Setting("MODEL.ANCHOR_GENERATOR.SIZES", sizes),
            Setting("MODEL.DEVICE", "meta"),
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [*names(), "timm:resnet10t"])
def test_every_network_can_be_built(name):
    network = find_network(name)
    cfg = config(network, 7 if network.has_all_levels else 6)
    cfg.MODEL.DEVICE = "cpu"
    check_config(cfg)
    cfg.MODEL.DEVICE = "meta"
    model = build_detector(cfg)
    assert model.anchor_generator.strides[-1] == (128 if network.has_all_levels else 64)
    assert 0 < cfg.SOLVER.BASE_LR < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", [*names(), "timm:resnet10t"])
def test_every_network_can_be_a_faster_rcnn(name):
    network = find_network(name, FASTER_RCNN)
    settings = base_settings(facts(), Machine(0, 2, 10**10), [network], flips=(True, ""))
    cfg = as_cfg([*settings, *as_settings(network.keys)])
    cfg.MODEL.DEVICE = "cpu"
    check_config(cfg)
    cfg.MODEL.DEVICE = "meta"
    model = build_detector(cfg)
    assert model.proposal_generator.anchor_generator.strides == [4, 8, 16, 32, 64]
    assert set(model.backbone.output_shape()) == {"p2", "p3", "p4", "p5", "p6"}
    assert 0 < cfg.SOLVER.BASE_LR < 1
    assert not {"RETINANET", "FCOS"} & set(network.keys["MODEL"])


def test_a_yaml_is_of_the_detector_that_is_asked_for(toy):
    network = find_network(toy.path("rcnn_student.yaml"), FASTER_RCNN)
    heads = network.keys["MODEL"]["ROI_HEADS"]
    assert "NUM_CLASSES" not in heads and "IN_FEATURES" not in heads
    assert network.keys["MODEL"]["ROI_BOX_HEAD"]["FC_DIM"] == 16
    assert "RETINANET" not in network.keys["MODEL"]
    for name, detector in (("rcnn_student", RETINANET), ("student", FASTER_RCNN)):
        with pytest.raises(UserError, match=f"{name}.yaml describes a .* another --detector"):
            find_network(toy.path(f"{name}.yaml"), detector)


def test_a_yaml_is_a_network_without_what_the_data_decides():
    network = find_network(str(REPOSITORY / "configs" / "digits" / "student.yaml"))
    model = network.keys["MODEL"]
    assert model["RESNETS"]["RES2_OUT_CHANNELS"] == 16 and model["FPN"]["OUT_CHANNELS"] == 32
    assert "ANCHOR_GENERATOR" not in model and "NUM_CLASSES" not in model["RETINANET"]
    assert network.keys["SOLVER"] == {"BASE_LR": 0.2}
    assert not network.has_all_levels
    build_detector(config(network, 6))
    zoo = find_network(str(REPOSITORY / "configs" / "COCO" / "RetinaNet_R50_800.yaml"))
    assert zoo.has_all_levels and zoo.starts_from


def test_names_that_are_no_network(tmp_path):
    for name, said in (
        ("smal", "did you mean small"),
        ("timm:resnet81", "does not know"),
        (str(tmp_path / "absent.yaml"), "absent.yaml"),
    ):
        with pytest.raises(UserError, match=said):
            find_network(name)


@pytest.mark.slow
def test_weights_are_written_and_named(tmp_path):
    network = find_network("lite0")
    assert not network.starts_from
    write_weights(network, str(tmp_path / "weights"))
    path = tmp_path / "weights" / "tf_efficientnet_lite0.pth"
    assert network.starts_from == str(path)
    names = set(dict(build_detector(config(network, 6)).named_parameters()))
    given = torch.load(path)["model"]
    assert {key for key in names if "bottom_up" in key} <= set(given)
    plain = find_network("tiny")
    write_weights(plain, str(tmp_path / "none"))
    assert not plain.starts_from and not (tmp_path / "none").exists()


def test_the_default_teacher_needs_an_installed_package(monkeypatch):
    assert default_teacher() == "lite0"
    monkeypatch.setattr("sad.pipeline.networks.installed_weights", lambda name: None)
    assert default_teacher() == "small"


def test_all_yamls_of_networks_are_configs():
    for path in (REPOSITORY / "configs" / "networks").rglob("*.yaml"):
        get_sad_cfg(str(path))
