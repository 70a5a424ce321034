"""timm's networks below an FPN: maps, norms, frozen layers, and the pixels they want."""

import logging

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from timm.layers import FrozenBatchNormAct2d, SyncBatchNormAct
from torch import nn

from sad.config.load import get_sad_cfg
from sad.modeling.timm_backbone import TimmBackbone, build_timm_fpn_backbone, pixel_statistics
from sad.utils.errors import UserError

LITE = "tf_efficientnet_lite0"
BGR = ShapeSpec(channels=3)


def config(*opts):
    base = ["MODEL.BACKBONE.NAME", "build_timm_fpn_backbone", "MODEL.FPN.OUT_CHANNELS", 16]
    return get_sad_cfg("", [*base, "MODEL.BACKBONE.FREEZE_AT", 0, *opts])


@pytest.mark.parametrize("name", [LITE, "resnet18", "convnext_atto"])
@pytest.mark.parametrize("last_level", [5, 6, 7])
def test_maps(name, last_level):
    backbone = build_timm_fpn_backbone(
        config("MODEL.TIMM.NAME", name, "MODEL.FPN.LAST_LEVEL", last_level), BGR
    ).eval()
    strides = [8, 16, 32, 64, 128][: last_level - 2]
    maps = backbone(torch.zeros(1, 3, 128, 256))
    assert {name: tuple(map_.shape) for name, map_ in maps.items()} == {
        f"p{i}": (1, 16, 128 // stride, 256 // stride) for i, stride in enumerate(strides, start=3)
    }
    shapes = backbone.output_shape()
    assert [shapes[f"p{i}"].stride for i in range(3, 3 + len(strides))] == strides
    assert backbone.size_divisibility == 32


@pytest.mark.parametrize("name", [LITE, "resnet18", "convnext_atto"])
def test_maps_from_p2_on(name):
    levels = ("MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4", "res5"])
    cfg = config("MODEL.TIMM.NAME", name, *levels, "MODEL.FPN.LAST_LEVEL", 6)
    backbone = build_timm_fpn_backbone(cfg, BGR).eval()
    maps = backbone(torch.zeros(1, 3, 64, 128))
    strides = {f"p{level}": 2**level for level in range(2, 7)}
    assert {name: tuple(x.shape) for name, x in maps.items()} == {
        name: (1, 16, 64 // stride, 128 // stride) for name, stride in strides.items()
    }
    assert {name: x.stride for name, x in backbone.output_shape().items()} == strides


def test_a_map_that_there_is_not():
    with pytest.raises(UserError, match=r"MODEL\.FPN\.IN_FEATURES has res6, .*'res5'"):
        build_timm_fpn_backbone(config("MODEL.FPN.IN_FEATURES", ["res5", "res6"]), BGR)


def test_layers_behind_the_last_map_are_not_trained():
    """DistributedDataParallel would wait for their gradients."""
    levels = ("res2", "res3")
    bottom_up = TimmBackbone(LITE, levels=levels).train()
    sum(x.sum() for x in bottom_up(torch.randn(2, 3, 64, 64)).values()).backward()
    named = dict(bottom_up.net.named_parameters())
    assert {name for name, p in named.items() if p.grad is not None} == trained(bottom_up)
    assert not [name for name in trained(bottom_up) if name.startswith("blocks.6.")]


def test_maps_are_timms_own():
    torch.manual_seed(0)
    bottom_up = TimmBackbone(LITE, levels=("res2", "res3", "res4", "res5")).eval()
    image = torch.randn(2, 3, 64, 96)
    own = dict(zip(bottom_up.net.feature_info.reduction(), bottom_up.net(image), strict=True))
    maps = bottom_up(image)
    for stride, name in ((4, "res2"), (8, "res3"), (16, "res4"), (32, "res5")):
        assert torch.equal(maps[name], own[stride])
        assert bottom_up.output_shape()[name].channels == own[stride].shape[1]


def trained(bottom_up) -> set[str]:
    return {name for name, p in bottom_up.net.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("name", "freeze_at", "frozen"),
    [
        (LITE, 0, ()),
        (LITE, 1, ("conv_stem", "bn1", "blocks.0")),  # up to the map of stride 2
        (LITE, 2, ("conv_stem", "bn1", "blocks.0", "blocks.1")),
        (LITE, 3, ("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2")),
        ("resnet18", 2, ("conv1", "bn1", "layer1")),
    ],
)
def test_frozen_layers(name, freeze_at, frozen):
    bottom_up = TimmBackbone(name).train()
    everything = trained(bottom_up)
    bottom_up.freeze(freeze_at)
    expected = {x for x in everything if not x.startswith(tuple(f"{start}." for start in frozen))}
    assert trained(bottom_up) == expected
    before = {key: x.clone() for key, x in bottom_up.net.state_dict().items()}
    bottom_up(torch.randn(2, 3, 64, 64))
    moved = {
        key.rpartition(".")[0]
        for key, x in bottom_up.net.state_dict().items()
        if "running" in key and not torch.equal(x, before[key])
    }
    assert moved  # those of the layers that are trained
    assert not [key for key in moved if key.startswith(tuple(f"{x}." for x in frozen))]
    assert not moved & set(frozen)


@pytest.mark.parametrize(
    ("norm", "kind"),
    [("BN", nn.BatchNorm2d), ("FrozenBN", FrozenBatchNormAct2d), ("SyncBN", SyncBatchNormAct)],
)
def test_norms(norm, kind):
    backbone = build_timm_fpn_backbone(config("MODEL.TIMM.NORM", norm), BGR)
    assert isinstance(backbone.bottom_up.net.bn1, kind)
    plain = build_timm_fpn_backbone(config(), BGR)
    backbone.load_state_dict(plain.state_dict(), strict=False)
    image = torch.randn(1, 3, 64, 64)
    for one, other in zip(
        backbone.eval()(image).values(), plain.eval()(image).values(), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_other_numbers_of_channels():
    cfg = config("INPUT.FORMAT", "L", "MODEL.PIXEL_MEAN", [127.5], "MODEL.PIXEL_STD", [127.5])
    backbone = build_timm_fpn_backbone(cfg, ShapeSpec(channels=1))
    assert backbone(torch.zeros(1, 1, 64, 64))["p3"].shape == (1, 16, 8, 8)


def test_no_memory_is_taken_on_meta():
    with torch.device("meta"):
        backbone = build_timm_fpn_backbone(config("MODEL.BACKBONE.FREEZE_AT", 2), BGR)
    assert {p.device.type for p in backbone.parameters()} == {"meta"}


def test_a_detector_learns_with_it():
    cfg = config("MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", "RetinaNet")
    cfg.MODEL.RETINANET.IN_FEATURES = ["p3", "p4", "p5"]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[16], [32], [64]]
    names = dict(build_model(cfg).named_parameters())
    assert "backbone.bottom_up.net.conv_stem.weight" in names
    assert all(p.requires_grad for p in names.values())


def test_a_faster_rcnn_learns_with_it(toy, batches):
    opts = ("MODEL.BACKBONE.NAME", "build_timm_fpn_backbone", "MODEL.TIMM.NAME", "resnet10t")
    model = build_model(toy.cfg("rcnn_student.yaml", *opts)).train()
    with EventStorage():
        sum(model(batches[0]).values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tf_efficientnet_lite", "did you mean tf_efficientnet_lite"),
        ("vit_tiny_patch16_224", r"strides \[16, 16, 16\]"),
        ("", "does not know"),
    ],
)
def test_networks_that_will_not_do(name, said):
    with pytest.raises(UserError, match=f"MODEL.TIMM.NAME.*{said}"):
        build_timm_fpn_backbone(config("MODEL.TIMM.NAME", name), BGR)


def test_pixels():
    assert pixel_statistics(LITE) == ([127.5] * 3, [127.5] * 3)
    assert pixel_statistics("resnet18")[0] == [123.675, 116.28, 103.53]


@pytest.mark.parametrize("right", [False, True])
def test_weights_that_see_other_pixels_are_warned_of(right, caplog):
    opts = ["MODEL.WEIGHTS", "lite0.pth"]
    if right:
        opts += ["INPUT.FORMAT", "RGB", "MODEL.PIXEL_MEAN", [127.5] * 3]
        opts += ["MODEL.PIXEL_STD", [127.5] * 3]
    with caplog.at_level(logging.WARNING, logger="sad"):
        build_timm_fpn_backbone(config(*opts), BGR)
    assert bool(caplog.records) is not right
