"""Folding batch norms: the same maps and answers, and only where a norm has a convolution alone."""

import copy

import pytest
import timm.layers
import torch
from detectron2.layers import Conv2d, ShapeSpec
from torch import nn

from sad.config.load import get_sad_cfg
from sad.modeling import timm_backbone
from sad.modeling.build import build_detector, load_detector
from sad.modeling.fold_norms import fold_norms
from sad.modeling.teacher import build_teacher, teacher_outputs
from sad.modeling.timm_backbone import TimmBackbone, build_timm_fpn_backbone

# Networks of timm's, and how many of their batch norms stay: those before their convolutions, and
# those of sums or pooled maps.
NETWORKS = {
    "tf_efficientnet_lite0": 0,
    "resnet18": 0,
    "mobilenetv3_large_100": 0,
    "regnety_002": 0,
    "resnetv2_50": 16,
    "densenet121": 62,
    "repvgg_a0": 17,
    "convnext_atto": 0,
}


def norms(model):
    return [m for m in model.modules() if "BatchNorm" in type(m).__name__ and hasattr(m, "eps")]


def trained(model):
    """Statistics and factors as a training leaves them, none of them 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    for norm in norms(model):
        for name, low, high in (
            ("running_mean", -0.2, 0.2),
            ("running_var", 0.5, 2.0),
            ("weight", 0.5, 1.5),
            ("bias", -0.2, 0.2),
        ):
            values = getattr(norm, name)
            if values is not None:
                values.data.uniform_(low, high, generator=generator)
    return model.requires_grad_(False).eval()


def folded(model):
    model = copy.deepcopy(model)
    fold_norms(model)
    return model


def assert_same_maps(ours, theirs):
    for name, level in theirs.items():
        scale = level.abs().max()
        torch.testing.assert_close(ours[name] / scale, level / scale, rtol=0, atol=1e-5)


# --- Detectron2's layers ------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["BN", "FrozenBN", "SyncBN", "naiveSyncBN", "LN", ""])
def test_a_resnet(toy, norm):
    cfg = toy.cfg("student.yaml", "MODEL.RESNETS.NORM", norm)
    backbone = trained(build_detector(cfg)).backbone
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    ours = folded(backbone)
    assert not norms(ours)
    assert_same_maps(ours(image), backbone(image))


def test_a_convolution_with_a_bias():
    conv = Conv2d(3, 8, 3, norm=nn.BatchNorm2d(8), activation=torch.relu)
    trained(conv)
    image = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(folded(conv)(image), conv(image))


def test_a_norm_without_factors_and_one_without_statistics():
    image = torch.rand(2, 3, 9, 9)
    plain = Conv2d(3, 8, 3, bias=False, norm=nn.BatchNorm2d(8, affine=False)).eval()
    plain.norm.running_mean.uniform_()
    torch.testing.assert_close(folded(plain)(image), plain(image))
    of_the_batch = Conv2d(3, 8, 3, norm=nn.BatchNorm2d(8, track_running_stats=False)).eval()
    assert folded(of_the_batch).norm is not None


class Doubled(Conv2d):
    def forward(self, x):
        return self.norm(2 * self._conv_forward(x, self.weight, self.bias))


def test_a_convolution_with_a_forward_of_its_own():
    conv = trained(Doubled(3, 8, 3, norm=nn.BatchNorm2d(8)))
    image = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(folded(conv)(image), conv(image))


def test_a_norm_that_is_trained_stays():
    conv = trained(Conv2d(3, 8, 3, norm=nn.BatchNorm2d(8))).train()
    assert folded(conv).norm is not None


def test_a_head_that_has_norms_of_each_level(toy):
    cfg = toy.cfg("student.yaml", "MODEL.RETINANET.NORM", "BN")
    model = trained(build_detector(cfg))
    head, maps = model.head, [torch.rand(1, 8, 4, 4) for _ in model.head_in_features]
    ours = folded(head)
    assert len(norms(ours)) == len(norms(head)) > 0
    torch.testing.assert_close(ours(maps), head(maps))


# --- timm's networks ----------------------------------------------------------------------------


def timm_backbone_of(name, *opts):
    base = ["MODEL.BACKBONE.NAME", "build_timm_fpn_backbone", "MODEL.FPN.OUT_CHANNELS", 16]
    cfg = get_sad_cfg("", [*base, "MODEL.TIMM.NAME", name, *opts])
    return trained(build_timm_fpn_backbone(cfg, ShapeSpec(channels=3)))


@pytest.mark.parametrize(("name", "stay"), NETWORKS.items(), ids=str)
def test_a_network_of_timm(name, stay):
    backbone = timm_backbone_of(name, "MODEL.BACKBONE.FREEZE_AT", 0)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    ours = folded(backbone)
    assert len(norms(ours)) == stay
    assert_same_maps(ours(image), backbone(image))


@pytest.mark.parametrize("norm", ["BN", "SyncBN", "FrozenBN"])
@pytest.mark.parametrize("freeze_at", [0, 3])
def test_norms_that_were_frozen(norm, freeze_at):
    backbone = timm_backbone_of(
        "tf_efficientnet_lite0", "MODEL.TIMM.NORM", norm, "MODEL.BACKBONE.FREEZE_AT", freeze_at
    )
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    ours = folded(backbone)
    assert not norms(ours)
    assert_same_maps(ours(image), backbone(image))


class Network(nn.Module):
    """In timm's place: one map, of stride 8."""

    class feature_info:
        reduction = staticmethod(lambda: [8])
        channels = staticmethod(lambda: [4])

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, stride=8, bias=False)
        self.norm = nn.BatchNorm2d(4)


class TwoUses(Network):
    def forward(self, x):
        x = self.conv(x)
        return [x + self.norm(x)]


class SharedConvolution(Network):
    def __init__(self):
        super().__init__()
        self.other = nn.BatchNorm2d(4)

    def forward(self, x):
        return [self.norm(self.conv(x)) + self.other(self.conv(x))]


class SharedNorm(Network):
    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(3, 4, 8, stride=8, bias=False)

    def forward(self, x):
        return [self.norm(self.conv(x)) + self.norm(self.other(x))]


class WeightElsewhere(Network):
    def forward(self, x):
        return [self.norm(self.conv(x)) + nn.functional.conv2d(x, self.conv.weight, stride=8)]


class TwoNames(Network):
    def __init__(self):
        super().__init__()
        self.again = self.norm

    def forward(self, x):
        return [self.again(self.conv(x))]


class Hooked(Network):
    def __init__(self):
        super().__init__()
        self.conv.register_forward_hook(lambda module, given, made: 2 * made)

    def forward(self, x):
        return [self.norm(self.conv(x))]


class Standardised(Network):
    def __init__(self):
        super().__init__()
        self.conv = timm.layers.StdConv2d(3, 4, 8, stride=8)

    def forward(self, x):
        return [self.norm(self.conv(x))]


class Parametrised(Standardised):
    def __init__(self):
        super().__init__()
        self.conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 8, stride=8))


class Branches(Network):
    def forward(self, x):
        x = self.norm(self.conv(x))
        return [x if x.sum() > 0 else -x]


class Asserts(Network):
    def forward(self, x):
        assert isinstance(x, torch.Tensor)
        return [self.norm(self.conv(x))]


@pytest.mark.parametrize(
    "network",
    [
        *(TwoUses, SharedConvolution, SharedNorm, WeightElsewhere, TwoNames),
        *(Hooked, Standardised, Parametrised, Branches, Asserts),
    ],
)
def test_a_norm_that_cannot_be_folded_stays(monkeypatch, network):
    monkeypatch.setattr(timm_backbone, "create", lambda *_, **__: network())
    backbone = trained(TimmBackbone("any", levels=["res3"]))
    image = torch.rand(1, 3, 16, 16)
    ours = folded(backbone)
    assert len(norms(ours)) == len(norms(backbone)) > 0
    assert_same_maps(ours(image), backbone(image))


# --- teachers -----------------------------------------------------------------------------------


def test_a_teacher_has_none_and_says_the_same(toy):
    ours, _ = build_teacher(toy.cfg("SAD.yaml"))
    theirs, _ = load_detector(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")
    assert norms(theirs.backbone)
    assert not norms(ours.backbone)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)
    one, other = (
        teacher_outputs(x, list(images), "BGR", {"logits", "deltas"}) for x in (ours, theirs)
    )
    for kind in ("logits", "deltas"):
        torch.testing.assert_close(getattr(one, kind), getattr(other, kind), rtol=0, atol=3e-4)


def test_frozen_weights_stay_frozen_and_in_their_order_of_memory(toy):
    teacher, _ = build_teacher(toy.cfg("SAD.yaml"))
    assert not any(x.requires_grad for x in teacher.parameters())
    convs = [m.weight for m in teacher.backbone.modules() if isinstance(m, Conv2d)]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in convs)
