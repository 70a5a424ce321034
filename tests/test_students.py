"""Backbones of any width and depth, with the strides and channels that RetinaNet expects."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, build_model

from sad.config import get_sad_cfg
from toy import REPOSITORY

BASE = str(REPOSITORY / "configs" / "digits" / "Base.yaml")
BGR = ShapeSpec(channels=3)


def backbone(*opts):
    build = BACKBONE_REGISTRY.get("build_small_resnet_fpn_backbone")
    return build(get_sad_cfg(BASE, opts), BGR)


def widths(width, fpn):
    return (
        *("MODEL.RESNETS.STEM_OUT_CHANNELS", width),
        *("MODEL.RESNETS.RES2_OUT_CHANNELS", width),
        *("MODEL.FPN.OUT_CHANNELS", fpn),
    )


@pytest.mark.parametrize("blocks", [(1, 1, 1, 1), (2, 2, 2, 2), (3, 4, 6, 3)])
def test_widths_and_depths(blocks):
    model = backbone(*widths(8, 12), "MODEL.SMALL_RESNET.BLOCKS", blocks).bottom_up
    stages = [getattr(model, f"res{i}") for i in (2, 3, 4, 5)]
    assert tuple(len(stage) for stage in stages) == blocks
    assert [stage[0].conv1.out_channels for stage in stages] == [8, 16, 32, 64]
    # Only the first block of a stage halves the grid, and res2's does not.
    assert [stage[0].stride for stage in stages] == [1, 2, 2, 2]
    assert all(block.stride == 1 for stage in stages for block in list(stage)[1:])


@pytest.mark.parametrize("p6_p7", [False, True])
def test_feature_maps(p6_p7):
    model = backbone(*widths(8, 12), "MODEL.SMALL_RESNET.P6_P7", p6_p7).eval()
    strides = [8, 16, 32, 64, 128] if p6_p7 else [8, 16, 32]
    shapes = model.output_shape()
    assert [shapes[f"p{i}"].stride for i in range(3, 3 + len(strides))] == strides
    maps = model(torch.zeros(1, 3, 128, 256))
    assert {name: tuple(map_.shape) for name, map_ in maps.items()} == {
        f"p{i}": (1, 12, 128 // stride, 256 // stride) for i, stride in enumerate(strides, start=3)
    }


def test_p6_comes_from_the_last_stage_as_in_retinanet():
    model = backbone(*widths(8, 12), "MODEL.SMALL_RESNET.P6_P7", True)
    assert model.top_block.in_feature == "res5"
    assert model.top_block.p6.in_channels == 64


def test_norm_and_freezing_follow_detectron2s_keys():
    model = backbone(*widths(32, 12), "MODEL.RESNETS.NORM", "GN", "MODEL.BACKBONE.FREEZE_AT", 2)
    kinds = {type(module).__name__ for module in model.modules()}
    assert "GroupNorm" in kinds and "BatchNorm2d" not in kinds
    bottom_up = model.bottom_up
    frozen = [
        not any(parameter.requires_grad for parameter in getattr(bottom_up, name).parameters())
        for name in ("stem", "res2", "res3", "res4", "res5")
    ]
    assert frozen == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("name", "millions"), [("student", 0.42), ("teacher", 3.2)], ids=["student", "teacher"]
)
def test_parameters_of_the_digit_models(name, millions):
    cfg = get_sad_cfg(str(REPOSITORY / "configs" / "digits" / f"{name}.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    count = sum(parameter.numel() for parameter in build_model(cfg).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.03)


def test_gradients_reach_every_parameter():
    model = backbone(*widths(8, 12), "MODEL.SMALL_RESNET.P6_P7", True)
    sum(map_.square().mean() for map_ in model(torch.rand(2, 3, 128, 128)).values()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
