"""The teacher: loaded whole or not at all, frozen, and only its class branch computed."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from sad.config.load import get_sad_cfg
from sad.modeling.build import load_detector
from sad.modeling.teacher import build_teacher, check_pair, teacher_outputs
from sad.utils.errors import UserError
from toy import REPOSITORY


def load(toy, *opts, config="teacher.yaml", weights="teacher.pth"):
    return load_detector(toy.path(config), toy.path(weights), "cpu", opts)[0]


@pytest.fixture(scope="module")
def images():
    """A batch of two sizes, as the mapper makes them."""
    rng = np.random.default_rng(0)
    return [
        {"image": torch.from_numpy(rng.integers(0, 236, (3, height, width), np.uint8))}
        for height, width in ((48, 64), (64, 40))
    ]


def forbid_box_branch(model):
    def fail(*_):
        raise AssertionError("the box branch is computed")

    model.head.bbox_subnet.register_forward_pre_hook(fail)
    model.head.bbox_pred.register_forward_pre_hook(fail)


def logits_of_whole_model(model, images):
    """Class logits of Detectron2's own forward, levels joined: (N, R, K)."""
    with torch.no_grad():
        features = model.backbone(model.preprocess_image(images).tensor)
        levels, _ = model.head([features[name] for name in model.head_in_features])
    n, k = len(images), model.num_classes
    return torch.cat(
        [level.reshape(n, -1, k, *level.shape[-2:]).permute(0, 3, 4, 1, 2).reshape(n, -1, k)
         for level in levels],
        dim=1,
    )  # fmt: skip


def class_logits(model, batched_inputs, image_format, *arguments):
    images = [item["image"] for item in batched_inputs]
    return torch.cat(
        teacher_outputs(model, images, image_format, {"logits"}, *arguments).logits, dim=1
    )


# --- class logits -------------------------------------------------------------------------------


def test_logits_are_those_of_the_whole_model(toy, images):
    model = load(toy)
    expected = logits_of_whole_model(model, images)
    forbid_box_branch(model)
    logits = class_logits(model, images, "BGR")
    assert torch.equal(logits, expected)
    # Padded to 64 x 64: grids of 8 x 8, 4 x 4 and 2 x 2 cells with 9 anchors each.
    assert logits.shape == (2, 9 * (64 + 16 + 4), 2)
    assert logits.sigmoid().std() > 0.05  # a teacher of no opinion would hide mistakes


def test_twice_the_same(toy, images):
    """Batch norm per level is drawn in turn, which must come round after each batch."""
    model = load(toy)
    assert torch.equal(class_logits(model, images, "BGR"), class_logits(model, images, "BGR"))


def test_no_gradient_and_no_moving_statistics(toy, images):
    model = load(toy)
    assert not model.training
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.enable_grad():
        assert not class_logits(model, images, "BGR").requires_grad
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_own_pixel_mean(toy, images):
    brighter = [{"image": item["image"] + 20} for item in images]
    shifted = load(toy, "MODEL.PIXEL_MEAN", [123.53, 136.28, 143.675])
    expected = class_logits(load(toy), images, "BGR")
    torch.testing.assert_close(class_logits(shifted, brighter, "BGR"), expected)
    assert not torch.allclose(class_logits(shifted, images, "BGR"), expected)


def test_own_pixel_deviation(toy, images):
    model = load(toy, "MODEL.PIXEL_STD", [2.0, 4.0, 8.0])
    model.backbone.bottom_up.stem.conv1.weight *= torch.tensor([2.0, 4.0, 8.0]).view(1, 3, 1, 1)
    expected = class_logits(load(toy), images, "BGR")
    torch.testing.assert_close(class_logits(model, images, "BGR"), expected, rtol=1e-4, atol=1e-4)


def test_rgb_teacher_of_a_bgr_student(toy, images):
    """The same network trained on the other channel order gives the same logits."""
    mean, std = [103.53, 116.28, 123.675], [1.0, 2.0, 4.0]
    bgr = load(toy, "MODEL.PIXEL_MEAN", mean, "MODEL.PIXEL_STD", std)
    rgb = load(toy, "MODEL.PIXEL_MEAN", mean[::-1], "MODEL.PIXEL_STD", std[::-1],
               "INPUT.FORMAT", "RGB")  # fmt: skip
    conv1 = rgb.backbone.bottom_up.stem.conv1
    conv1.weight.copy_(conv1.weight.flip(1))
    before = [item["image"].clone() for item in images]
    twins = class_logits(bgr, images, "BGR"), class_logits(rgb, images, "BGR")
    torch.testing.assert_close(*twins, rtol=1e-4, atol=1e-4)
    assert all(
        torch.equal(*pair) for pair in zip(before, [i["image"] for i in images], strict=True)
    )
    # And on images that are RGB already it reads them as they are.
    flipped = [{"image": item["image"].flip(0)} for item in images]
    assert torch.equal(class_logits(rgb, flipped, "RGB"), twins[1])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_precision(toy, images, precision):
    model = load(toy)
    logits = class_logits(model, images, "BGR", precision)
    assert logits.dtype == getattr(torch, precision)
    exact = class_logits(model, images, "BGR")
    assert not torch.equal(logits.float(), exact)
    assert (logits.float() - exact).abs().max() < 0.1 * exact.std()
    assert model.pixel_mean.dtype == torch.float32


def test_float32_teacher_of_a_student_in_autocast(toy, images):
    model = load(toy)
    exact = class_logits(model, images, "BGR", "float32")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(class_logits(model, images, "BGR", "float32"), exact)


# --- loading ------------------------------------------------------------------------------------


def test_build_teacher_uses_the_students_config(toy):
    model, cfg = build_teacher(toy.cfg("SAD.yaml"))
    assert cfg.MODEL.FPN.OUT_CHANNELS == 16
    assert not model.training


# --- refused teachers ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["CONFIG_FILE", "WEIGHTS"])
def test_empty_key(toy, key):
    with pytest.raises(UserError, match=rf"SAD\.TEACHER\.{key} is empty"):
        build_teacher(toy.cfg("SAD.yaml", f"SAD.TEACHER.{key}", ""))


def test_missing_files(toy):
    with pytest.raises(UserError, match=r"absent\.yaml"):
        build_teacher(toy.cfg("SAD.yaml", "SAD.TEACHER.CONFIG_FILE", "absent.yaml"))
    with pytest.raises(UserError, match=r"teacher\.yaml.*absent\.pth do not exist"):
        build_teacher(toy.cfg("SAD.yaml", "SAD.TEACHER.WEIGHTS", "absent.pth"))
    with pytest.raises(UserError, match=r"no weights are given .*teacher\.yaml"):
        load_detector(toy.path("teacher.yaml"), "", "cpu")


def test_truncated_weights(toy, tmp_path):
    weights = tmp_path / "half.pth"
    content = (toy.root / "teacher.pth").read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"half\.pth cannot be read"):
        build_teacher(toy.cfg("SAD.yaml", "SAD.TEACHER.WEIGHTS", str(weights)))


# --- teacher and student must emit the same logits ----------------------------------------------


@pytest.mark.parametrize(
    ("opts", "named"),
    [
        (["MODEL.RETINANET.NUM_CLASSES", 3], "number of classes.*teacher has 3, the student 2"),
        (["MODEL.ANCHOR_GENERATOR.SIZES", [[16, 20, 26], [32, 40, 50], [64, 80, 101]]], "anchors"),
        (["MODEL.ANCHOR_GENERATOR.SIZES", [[16], [32], [64]]], "anchors"),
        (["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[0.5, 1.0, 3.0]]], "anchors"),
        (["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[2.0, 1.0, 0.5]]], "anchors"),  # other order
        (["MODEL.ANCHOR_GENERATOR.OFFSET", 0.5], r"offset.*teacher has 0\.5, the student 0\.0"),
        (
            ["MODEL.RETINANET.IN_FEATURES", ["p3", "p4"],
             "MODEL.ANCHOR_GENERATOR.SIZES",
             [[16, 20.1587, 25.3984], [32, 40.3175, 50.7968]]],
            r"strides.*\[8, 16\].*\[8, 16, 32\]",
        ),
        (["INPUT.FORMAT", "YUV-BT.601"], "YUV-BT.601"),
    ],
    ids=["classes", "sizes", "fewer", "ratios", "order", "offset", "strides", "format"],
)  # fmt: skip
def test_mismatch_is_refused(toy, opts, named):
    student = build_model(toy.cfg("student.yaml"))
    teacher = build_model(toy.cfg("teacher.yaml", *opts))
    check_pair(student, build_model(toy.cfg("teacher.yaml")))
    with pytest.raises(UserError, match=named) as error:
        check_pair(student, teacher)
    assert len(str(error.value)) < 500  # a sentence, not a table of anchors


def test_attaching_checks(toy):
    student = build_model(toy.cfg("SAD.yaml"))
    with pytest.raises(UserError, match="number of classes"):
        student.attach_teacher(
            build_model(toy.cfg("teacher.yaml", "MODEL.RETINANET.NUM_CLASSES", 3))
        )


def test_anchor_sizes_written_out_equal_the_computed_ones(toy):
    """Detectron2's own yaml evaluates x * 2^(k/3); ours, written out, must pair with it."""
    computed = [[x, x * 2 ** (1 / 3), x * 2 ** (2 / 3)] for x in (32, 64, 128, 256, 512)]
    written = get_sad_cfg(str(REPOSITORY / "configs" / "Base-RetinaNet.yaml"))
    narrow = ["MODEL.DEVICE", "cpu", "MODEL.FPN.LAST_LEVEL", 7,
              "MODEL.RETINANET.IN_FEATURES", ["p3", "p4", "p5", "p6", "p7"]]  # fmt: skip
    models = [
        build_model(toy.cfg("student.yaml", *narrow, "MODEL.ANCHOR_GENERATOR.SIZES", sizes))
        for sizes in (written.MODEL.ANCHOR_GENERATOR.SIZES, computed)
    ]
    check_pair(*models)
