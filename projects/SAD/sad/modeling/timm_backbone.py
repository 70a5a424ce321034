"""Any of timm's networks as the backbone of a detector, with an FPN on top."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from ..utils.errors import UserError, did_you_mean, reason
from .backbones import build_fpn

logger = logging.getLogger(__name__)

STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}  # Detectron2's names of a ResNet's maps
LEVELS = ("res3", "res4", "res5")  # where MODEL.FPN.IN_FEATURES names none
INSTALL = "pip install -e '.[pretrained]' in the clone of this project"


@BACKBONE_REGISTRY.register()
def build_timm_fpn_backbone(cfg, input_shape: ShapeSpec):
    """A network of timm's, by its name there, with an FPN up to MODEL.FPN.LAST_LEVEL.

    Reads MODEL.TIMM.{NAME, NORM} and Detectron2's MODEL.FPN.{IN_FEATURES, OUT_CHANNELS, NORM,
    FUSE_TYPE} and MODEL.BACKBONE.FREEZE_AT: as of a ResNet, 2 freezes the layers before the maps of
    stride 8, 3 those before stride 16. IN_FEATURES are maps as of a ResNet, such as res2 of stride
    4; where none are named the FPN begins with P3.

    Raises:
        UserError: timm is missing, does not know the name, or the network has no such maps.
    """
    levels = tuple(cfg.MODEL.FPN.IN_FEATURES) or LEVELS
    if strange := [level for level in levels if level not in STRIDES]:
        raise UserError(f"MODEL.FPN.IN_FEATURES has {strange[0]}, it must be of {list(STRIDES)}")
    bottom_up = TimmBackbone(cfg.MODEL.TIMM.NAME, input_shape.channels, levels)
    bottom_up.set_norm(cfg.MODEL.TIMM.NORM)
    bottom_up.freeze(cfg.MODEL.BACKBONE.FREEZE_AT)
    _warn_of_other_pixels(cfg)
    return build_fpn(cfg, bottom_up, levels)


class TimmBackbone(Backbone):
    """The maps of some strides of one of timm's networks, without weights of timm's."""

    size_divisibility = 32

    def __init__(self, name: str, channels: int = 3, levels: Sequence[str] = LEVELS):
        """
        Args:
            name: as timm has it, such as tf_efficientnet_lite0.
            channels: of the images.
            levels: the maps' names, of STRIDES.
        Raises:
            UserError: see `build_timm_fpn_backbone`.
        """
        super().__init__()
        self.net = create(name, in_chans=channels)
        self.strides = self.net.feature_info.reduction()
        wanted = {level: STRIDES[level] for level in levels}
        if not set(wanted.values()) <= set(self.strides):
            needed = ", ".join(map(str, wanted.values()))
            raise UserError(
                f"MODEL.TIMM.NAME {name} has maps of strides {self.strides}, and {needed} are "
                "needed: name a network with such maps, as tf_efficientnet_lite0 has them"
            )
        self._out_features = list(wanted)
        self._out_feature_strides = wanted
        channels_at = dict(zip(self.strides, self.net.feature_info.channels(), strict=True))
        self._out_feature_channels = {x: channels_at[stride] for x, stride in wanted.items()}
        self.image_channels = channels
        unused = set(self.net.parameters()) - self._behind(max(wanted.values()))  # a head, say
        self._freeze(unused)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) images -> level: (N, its channels, H / stride, W / stride)."""
        maps = dict(zip(self.strides, self.net(x), strict=True))
        return {level: maps[stride] for level, stride in self._out_feature_strides.items()}

    def set_norm(self, norm: str) -> None:
        """
        Args:
            norm: BN, SyncBN, or FrozenBN, which keeps the statistics and factors it has.
        """
        from timm.layers import convert_sync_batchnorm, freeze_batch_norm_2d

        convert = {"FrozenBN": freeze_batch_norm_2d, "SyncBN": convert_sync_batchnorm}
        if norm != "BN":
            self.net = convert[norm](self.net)

    def freeze(self, freeze_at: int) -> None:
        """Fix all layers that maps of a stride up to 2 ** `freeze_at` are computed from."""
        frozen = [stride for stride in self.strides if freeze_at and stride <= 2**freeze_at]
        if frozen:
            self._freeze(self._behind(max(frozen)))

    def _behind(self, stride: int) -> set[nn.Parameter]:
        """The parameters that the maps up to a stride are computed from."""
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        was_training = self.net.training
        with torch.enable_grad():
            image = parameters[0].new_zeros(1, self.image_channels, 64, 64)
            maps = zip(self.strides, self.net.eval()(image), strict=True)
            total = sum(one.sum() for at, one in maps if at <= stride)
            found = torch.autograd.grad(total, parameters, allow_unused=True)
        self.net.train(was_training)
        return {p for p, gradient in zip(parameters, found, strict=True) if gradient is not None}

    def _freeze(self, parameters: set[nn.Parameter]) -> None:
        from timm.layers import freeze_batch_norm_2d

        for name, module in list(self.net.named_modules()):
            if not parameters & set(module.parameters(recurse=False)):
                continue
            module.requires_grad_(False)
            parent, _, child = name.rpartition(".")
            setattr(self.net.get_submodule(parent), child, freeze_batch_norm_2d(module))


def create(name: str, **options) -> nn.Module:
    """timm's network that returns its maps, one for each stride.

    Args:
        options: of `timm.create_model`.
    Raises:
        UserError: timm is missing, does not know the name, or the network returns no maps.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError(f"MODEL.TIMM.NAME {name} needs timm: {INSTALL}") from error
    if not timm.is_model(name):
        nearest = did_you_mean(name, timm.list_models())
        raise UserError(
            f"MODEL.TIMM.NAME is {name!r}, which timm {timm.__version__} does not know"
            f"{nearest or '; timm.list_models() lists the names'}"
        )
    try:
        return timm.create_model(name, features_only=True, **options)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"MODEL.TIMM.NAME {name} has no maps to use ({reason(error)})") from error


def pixel_statistics(name: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the pixels (red, green, blue, 0 to 255) that timm's weights
    of a network want.
    """
    import timm

    wanted = timm.get_pretrained_cfg(name)
    return tuple([round(255 * x, 3) for x in values] for values in (wanted.mean, wanted.std))


def _warn_of_other_pixels(cfg) -> None:
    """Weights that see other pixels than they were trained on are worth little."""
    if not cfg.MODEL.WEIGHTS or cfg.INPUT.FORMAT == "L":
        return
    wanted = pixel_statistics(cfg.MODEL.TIMM.NAME)
    given = list(cfg.MODEL.PIXEL_MEAN), list(cfg.MODEL.PIXEL_STD)
    if cfg.INPUT.FORMAT != "RGB" or not np.allclose(given, wanted, atol=1):
        logger.warning(
            f"The weights of {cfg.MODEL.TIMM.NAME} want INPUT.FORMAT RGB, MODEL.PIXEL_MEAN "
            f"{wanted[0]} and MODEL.PIXEL_STD {wanted[1]}, and the config says "
            f"{cfg.INPUT.FORMAT}, {given[0]} and {given[1]}"
        )
