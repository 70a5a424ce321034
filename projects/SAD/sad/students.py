"""Backbones that Detectron2's own builders refuse."""

from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN
from detectron2.modeling.backbone.fpn import LastLevelP6P7
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, ResNet


@BACKBONE_REGISTRY.register()
def build_small_resnet_fpn_backbone(cfg, input_shape: ShapeSpec):
    """A ResNet of basic blocks, of any width and depth, with an FPN; P6 and P7 are optional.

    Reads MODEL.SMALL_RESNET.{BLOCKS, P6_P7} and Detectron2's MODEL.RESNETS.{STEM_OUT_CHANNELS,
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
    channels = cfg.MODEL.FPN.OUT_CHANNELS
    top = None
    if small.P6_P7:
        last = cfg.MODEL.FPN.IN_FEATURES[-1]
        top = LastLevelP6P7(bottom_up.output_shape()[last].channels, channels, in_feature=last)
    return FPN(
        bottom_up=bottom_up,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=channels,
        norm=cfg.MODEL.FPN.NORM,
        top_block=top,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
