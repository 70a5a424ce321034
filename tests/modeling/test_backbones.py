"""Backbones of any width and depth, with the strides and channels that RetinaNet expects."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, build_backbone, build_model
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage

from sad.config.load import get_sad_cfg
from sad.data.loader import build_mixed_loader
from sad.modeling.teacher import build_teacher, check_pair
from sad.utils.errors import UserError
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


@pytest.mark.parametrize("last_level", [5, 6, 7])
def test_feature_maps(last_level):
    model = backbone(*widths(8, 12), "MODEL.FPN.LAST_LEVEL", last_level).eval()
    strides = [8, 16, 32, 64, 128][: last_level - 2]
    shapes = model.output_shape()
    assert [shapes[f"p{i}"].stride for i in range(3, 3 + len(strides))] == strides
    maps = model(torch.zeros(1, 3, 128, 256))
    assert {name: tuple(map_.shape) for name, map_ in maps.items()} == {
        f"p{i}": (1, 12, 128 // stride, 256 // stride) for i, stride in enumerate(strides, start=3)
    }


@pytest.mark.parametrize(("last_level", "strides"), [(5, [4, 8, 16, 32]), (6, [4, 8, 16, 32, 64])])
def test_feature_maps_from_p2_on(last_level, strides):
    """As Faster R-CNN wants them, P6 pooled from P5."""
    levels = ("MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4", "res5"])
    model = backbone(*widths(8, 12), *levels, "MODEL.FPN.LAST_LEVEL", last_level).eval()
    maps = model(torch.rand(1, 3, 128, 256))
    assert {name: tuple(map_.shape) for name, map_ in maps.items()} == {
        f"p{i}": (1, 12, 128 // stride, 256 // stride) for i, stride in enumerate(strides, start=2)
    }
    assert [shape.stride for shape in model.output_shape().values()] == strides
    if last_level == 6:
        assert torch.equal(maps["p6"], maps["p5"][:, :, ::2, ::2])


def test_p6_comes_from_the_last_stage_as_in_retinanet():
    model = backbone(*widths(8, 12), "MODEL.FPN.LAST_LEVEL", 7)
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
    model = backbone(*widths(8, 12), "MODEL.FPN.LAST_LEVEL", 7)
    sum(map_.square().mean() for map_ in model(torch.rand(2, 3, 128, 128)).values()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


# --- ResNet-50-up -------------------------------------------------------------------------------

UP = (
    "MODEL.BACKBONE.NAME", "build_upsampled_backbone",
    "MODEL.UPSAMPLED.BACKBONE", "build_small_resnet_fpn_backbone",
    "MODEL.ANCHOR_GENERATOR.SIZES", [[8, 10.07935, 12.6992], [16, 20.15875, 25.3984],
                                     [32, 40.31745, 50.79685]],
    "SAD.TEACHER.INPUT_SCALE", 2.0,
    "INPUT.MIN_SIZE_TRAIN", [24, 32], "INPUT.MAX_SIZE_TRAIN", 48,
    "INPUT.MIN_SIZE_TEST", 32, "INPUT.MAX_SIZE_TEST", 48,
)  # fmt: skip


def test_upsampled_maps_have_the_size_of_the_teachers(toy):
    """Also where P6 and P7 round up: 96 pixels are 3 cells of stride 32, 2 of 64 and 1 of 128."""
    p6_p7 = ("MODEL.FPN.LAST_LEVEL", 7)
    cfg = toy.cfg("student.yaml", *UP, *p6_p7)
    up = build_backbone(cfg)
    plain = build_backbone(toy.cfg("student.yaml", *p6_p7))
    assert {n: s.stride * 2 for n, s in up.output_shape().items()} == {
        n: s.stride for n, s in plain.output_shape().items()
    }
    for height, width in ((96, 64), (32, 160), (224, 96)):
        ours = up(torch.rand(1, 3, height, width))
        theirs = plain(torch.rand(1, 3, 2 * height, 2 * width))
        assert {name: level.shape for name, level in ours.items()} == {
            name: level.shape for name, level in theirs.items()
        }


def test_deconvolution_starts_as_bilinear_interpolation(toy):
    up = build_backbone(toy.cfg("student.yaml", *UP)).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        small, large = up.fpn(image), up(image)
    for name, level in small.items():
        expected = F.interpolate(level, scale_factor=2, mode="bilinear", align_corners=False)
        inside = (..., slice(1, -1), slice(1, -1))  # zeros beyond the border, not its values
        torch.testing.assert_close(large[name][inside], expected[inside])


def test_anchors_boxes_and_logits_are_the_teachers_one_to_one(toy):
    """The same boxes in image coordinates, for every anchor of every level."""
    distiller = build_model(toy.cfg("SAD.yaml", *UP)).train()
    student = distiller.student
    teacher, _ = build_teacher(toy.cfg("SAD.yaml", *UP))
    distiller.attach_teacher(teacher)
    batch = next(iter(build_mixed_loader(toy.cfg("SAD.yaml", *UP, "SAD.LOADER.MIX", "union"))))
    with EventStorage():
        (prepared,) = distiller.prepare([batch])
    with torch.no_grad():
        features = student.backbone(prepared.images.tensor)
        features = [features[name] for name in student.head_in_features]
        logits, _ = student.head(features)
        height, width = (2 * side for side in prepared.images.tensor.shape[-2:])
        theirs = teacher.backbone(torch.zeros(2, 3, height, width))
    own = Boxes.cat(student.anchor_generator(features)).tensor
    assert torch.equal(own, Boxes.cat(prepared.targets.anchors).tensor)
    of_teacher = Boxes.cat(
        teacher.anchor_generator([theirs[name] for name in teacher.head_in_features])
    ).tensor
    torch.testing.assert_close(2 * own, of_teacher, atol=1e-3, rtol=0)
    count = sum(level[0].numel() for level in logits) // student.num_classes
    assert count == len(own) == sum(level.shape[1] for level in prepared.teacher.logits)
    # One box, asked for at either scale, is the same box of the image.
    deltas = torch.randn(len(own), 4) * 0.1
    boxes = student.box2box_transform.apply_deltas(deltas, own)
    torch.testing.assert_close(
        2 * boxes, teacher.box2box_transform.apply_deltas(deltas, of_teacher), atol=1e-2, rtol=1e-4
    )


def test_student_alone_detects_in_image_coordinates(toy):
    """A score on one cell alone; its box lies there in the pixels of the file."""
    cfg = toy.cfg("student.yaml", *UP)
    model = build_model(cfg).eval()
    record = {"height": 64, "width": 96, "image": torch.zeros(3, 32, 48)}
    image_logits = {}

    def one_cell(head, inputs, outputs):
        logits, deltas = outputs
        for level in logits:
            level.fill_(-20)
        logits[0][0, 0, 5, 7] = 20  # first anchor and class of a cell of stride 4
        for level in deltas:
            level.zero_()
        image_logits["shape"] = logits[0].shape
        return logits, deltas

    model.head.register_forward_hook(one_cell)
    with torch.no_grad():
        (output,) = model([record])
    assert image_logits["shape"][-2:] == (8, 16)  # padded to 32 x 64
    (box,) = output["instances"].pred_boxes.tensor.tolist()
    anchor = next(iter(model.anchor_generator.cell_anchors))[0].tolist()
    centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
    expected = [
        2 * (4 * 7 + (anchor[0] + anchor[2]) / 2),
        2 * (4 * 5 + (anchor[1] + anchor[3]) / 2),
    ]
    assert centre == pytest.approx([float(x) for x in expected], abs=1e-3)


def test_a_smaller_view_that_cannot_be_padded_alike_is_refused(toy):
    """Half of 96 pixels is no multiple of the 32 that the teacher needs."""
    teacher = build_model(toy.cfg("student.yaml", *UP))
    student = build_model(toy.cfg("student.yaml"))
    check_pair(teacher, student, 2.0)
    with pytest.raises(UserError, match=r"INPUT_SCALE is 0.5, .*: 0.5 x 32 must be a multiple"):
        check_pair(student, teacher, 0.5)


def test_upsampled_student_learns_from_its_own_scale(toy):
    cfg = toy.cfg("SAD.yaml", *UP)
    student = build_model(cfg).train()
    student.attach_teacher(build_teacher(cfg)[0])
    batch = next(iter(build_mixed_loader(cfg)))
    for sample in batch:
        assert [2 * side for side in sample["image"].shape[1:]] == list(
            sample["teacher_image"].shape[1:]
        )
    with EventStorage():
        losses = student(batch)
    assert losses["loss_distill_class"] > 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_without_its_scale_the_anchors_are_refused(toy):
    cfg = toy.cfg("SAD.yaml", *UP, "SAD.TEACHER.INPUT_SCALE", 1.0)
    with pytest.raises(UserError, match=r"strides: the teacher has \[8, 16, 32\], the student \[4"):
        build_model(cfg).attach_teacher(build_teacher(cfg)[0])
