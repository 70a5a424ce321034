"""Backbones that Detectron2's own builders do not know."""

from collections.abc import Sequence

from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, ResNet
from torch import Tensor, nn


@BACKBONE_REGISTRY.register()
def build_small_resnet_fpn_backbone(cfg, input_shape: ShapeSpec):
    """A ResNet of basic blocks, of any width and depth, with an FPN up to MODEL.FPN.LAST_LEVEL.

    Reads MODEL.SMALL_RESNET.BLOCKS and Detectron2's MODEL.RESNETS.{STEM_OUT_CHANNELS,
    RES2_OUT_CHANNELS, NORM}, MODEL.FPN.* and MODEL.BACKBONE.FREEZE_AT.
    """
    resnets, small = cfg.MODEL.RESNETS, cfg.MODEL.SMALL_RESNET
    stem = BasicStem(input_shape.channels, resnets.STEM_OUT_CHANNELS, resnets.NORM)
    stages = []
    in_channels, out_channels = resnets.STEM_OUT_CHANNELS, resnets.RES2_OUT_CHANNELS
    for stage, num_blocks in enumerate(small.BLOCKS):
        first_stride = 1 if stage == 0 else 2
        stages.append(
            ResNet.make_stage(
                BasicBlock,
                num_blocks,
                stride_per_block=[first_stride] + [1] * (num_blocks - 1),
                in_channels=in_channels,
                out_channels=out_channels,
                norm=resnets.NORM,
            )
        )
        in_channels, out_channels = out_channels, 2 * out_channels
    bottom_up = ResNet(
        stem,
        stages,
        out_features=cfg.MODEL.FPN.IN_FEATURES,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
    )
    return build_fpn(cfg, bottom_up, cfg.MODEL.FPN.IN_FEATURES)


def build_fpn(cfg, bottom_up: Backbone, in_features: Sequence[str]) -> FPN:
    """Detectron2's FPN as MODEL.FPN describes it, up to LAST_LEVEL."""
    fpn = cfg.MODEL.FPN
    top = None
    if fpn.LAST_LEVEL == 6:
        top = LastLevelMaxPool()
    elif fpn.LAST_LEVEL == 7:
        last = in_features[-1]
        channels = bottom_up.output_shape()[last].channels
        top = LastLevelP6P7(channels, fpn.OUT_CHANNELS, in_feature=last)
    return FPN(
        bottom_up=bottom_up,
        in_features=in_features,
        out_channels=fpn.OUT_CHANNELS,
        norm=fpn.NORM,
        top_block=top,
        fuse_type=fpn.FUSE_TYPE,
    )


@BACKBONE_REGISTRY.register()
def build_upsampled_backbone(cfg, input_shape: ShapeSpec):
    """The FPN that MODEL.UPSAMPLED.BACKBONE names, with its maps brought to twice their size."""
    builder = BACKBONE_REGISTRY.get(cfg.MODEL.UPSAMPLED.BACKBONE)
    return UpsampledBackbone(builder(cfg, input_shape))


class UpsampledBackbone(Backbone):
    """ResNet-50-up (section 4): a deconvolution on each final feature map of an FPN.

    On an image of half the size it emits maps of the size that the FPN alone emits on the whole
    image, at half the strides. So student and teacher have the same number of logits; the
    student's anchors, in its own pixels, are half the teacher's.
    """

    def __init__(self, fpn: Backbone):
        super().__init__()
        self.fpn = fpn
        self._shape = {
            name: ShapeSpec(channels=shape.channels, stride=shape.stride // 2)
            for name, shape in fpn.output_shape().items()
        }
        self.upsample = nn.ModuleDict(
            {
                name: nn.ConvTranspose2d(shape.channels, shape.channels, 4, stride=2, padding=1)
                for name, shape in self._shape.items()
            }
        )
        for layer in self.upsample.values():
            _init_bilinear(layer)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) images -> name of the level: (N, C, ceil(H / stride), ceil(W / stride))."""
        maps = {}
        for name, level in self.fpn(x).items():
            # Twice an odd level rounded up is one row more than the teacher has.
            # Not by math.ceil, as an export's sides are tensors or symbols; nor by dividing -side,
            # which ONNX rounds towards 0.
            stride = self._shape[name].stride
            height, width = ((side + stride - 1) // stride for side in x.shape[-2:])
            maps[name] = self.upsample[name](level)[..., :height, :width]
        return maps

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._shape

    @property
    def size_divisibility(self) -> int:
        return self.fpn.size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        return self.fpn.padding_constraints


def _init_bilinear(layer: nn.ConvTranspose2d) -> None:
    """Start as bilinear interpolation of each channel by itself."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    kernel = layer.weight.new_tensor([0.25, 0.75, 0.75, 0.25])
    for channel in range(layer.in_channels):
        layer.weight.data[channel, channel] = kernel[:, None] * kernel
