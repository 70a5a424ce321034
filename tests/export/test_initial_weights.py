"""Starting weights: torchvision's networks give the same features here; slices of wider ones."""

import pytest
import torch
import torchvision
from detectron2.modeling import build_model
from torch import nn

from sad.checkpoint.checkpointer import SADCheckpointer
from sad.config.load import get_sad_cfg
from sad.export.initial_weights import (
    convert_torchvision,
    convert_torchvision_file,
    slice_file,
    slice_weights,
)
from sad.utils.errors import UserError
from toy import REPOSITORY

COCO = REPOSITORY / "configs" / "COCO"
BOTTOM_UP = "backbone.bottom_up."


def build(config_file, *opts) -> nn.Module:
    return build_model(get_sad_cfg(str(config_file), ("MODEL.DEVICE", "cpu", *opts))).eval()


def backbone_keys(model) -> list[str]:
    return [key for key in model.state_dict() if key.startswith(BOTTOM_UP)]


def load(model, path) -> None:
    """As at the start of a training; the file must fill the backbone and nothing else."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(7)
    SADCheckpointer(model).load(str(path))
    floats = {k: x for k, x in model.state_dict().items() if x.dtype.is_floating_point}
    filled = {key for key, x in floats.items() if not (x == 7).all()}
    assert filled == {key for key in floats if key.startswith(BOTTOM_UP)}


# --- torchvision --------------------------------------------------------------------------------


def random_torchvision(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.2, 0.8)
            nn.init.normal_(module.bias, std=0.1)
    return net


def torchvision_features(net, pixels) -> dict[str, torch.Tensor]:
    x = net.maxpool(net.relu(net.bn1(net.conv1(pixels))))
    features = {}
    for stage in (1, 2, 3, 4):
        x = features[f"res{stage + 1}"] = getattr(net, f"layer{stage}")(x)
    return features


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "opts"),
    [
        ("resnet50", ("MODEL.RESNETS.NUM_GROUPS", 1, "MODEL.RESNETS.WIDTH_PER_GROUP", 64)),
        ("resnext50_32x4d", ()),
    ],
)
def test_same_features_as_torchvision(name, opts, tmp_path):
    """From the pixels on, with the statistics of RetinaNet_X50_800.yaml."""
    net = random_torchvision(name)
    torch.save(net.state_dict(), tmp_path / "torchvision.pth")
    written = convert_torchvision_file(
        str(tmp_path / "torchvision.pth"), str(tmp_path / "d2" / "start.pth")
    )
    model = build(COCO / "RetinaNet_X50_800.yaml", *opts)
    load(model, tmp_path / "d2" / "start.pth")
    assert written == len(backbone_keys(model))

    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)  # RGB
    pixels = torchvision.transforms.functional.normalize(
        image / 255, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
    )
    with torch.no_grad():
        expected = torchvision_features(net, pixels[None])
        features = model.backbone.bottom_up(model.preprocess_image([{"image": image}]).tensor)
    assert features.keys() == {"res3", "res4", "res5"}
    for stage, feature in features.items():
        scale = expected[stage].std()
        torch.testing.assert_close(feature / scale, expected[stage] / scale, rtol=1e-4, atol=1e-4)


def test_torchvisions_basic_blocks():
    state = torchvision.models.resnet18(weights=None).state_dict()
    opts = ("MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64)
    model = build(COCO / "RetinaNet_R50_800.yaml", *opts)
    shapes = {key: x.shape for key, x in convert_torchvision(state).items()}
    ours = model.state_dict()
    assert shapes == {key.removeprefix(BOTTOM_UP): ours[key].shape for key in backbone_keys(model)}


def test_what_is_no_torchvision_resnet(tmp_path):
    path, output = tmp_path / "weights.pth", str(tmp_path / "out.pth")
    with pytest.raises(UserError, match=f"{path} do not exist"):
        convert_torchvision_file(str(path), output)
    path.write_bytes(b"cut short")
    with pytest.raises(UserError, match=f"{path} cannot be read"):
        convert_torchvision_file(str(path), output)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(UserError, match=f"{path} cannot be read"):
        convert_torchvision_file(str(path), output)
    torch.save(torchvision.models.mobilenet_v2(weights=None).state_dict(), path)
    with pytest.raises(UserError, match=f"{path}: no state dict .* conv1.weight is missing"):
        convert_torchvision_file(str(path), output)
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save({**state, "layer1.0.se.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="ResNet, it has layer1.0.se.weight"):
        convert_torchvision_file(str(path), output)
    torch.save(state, path)
    with pytest.raises(UserError, match="--output is .*out.pkl"):
        convert_torchvision_file(str(path), str(tmp_path / "out.pkl"))
    assert list(tmp_path.iterdir()) == [path]


# --- slices -------------------------------------------------------------------------------------


def save_backbone(model, path) -> dict[str, torch.Tensor]:
    """As a model zoo has it: names that begin with the stem or stage, and a classifier."""
    weights = {key.removeprefix(BOTTOM_UP): model.state_dict()[key] for key in backbone_keys(model)}
    content = {**weights, "stem.fc.weight": torch.zeros(1000, 2048)}
    torch.save({"model": content, "matching_heuristics": True}, path)
    return weights


@pytest.mark.slow
def test_half_of_resnet50(tmp_path):
    torch.manual_seed(0)
    full, half = COCO / "RetinaNet_R50_800.yaml", COCO / "RetinaNet_R50_half_800.yaml"
    wide = build(full)
    files = str(full), str(tmp_path / "full.pth"), str(half), str(tmp_path / "half.pth")
    save_backbone(wide, files[1])  # the statistics of new weights are 1, as of fused ones
    with pytest.raises(UserError, match=f"{files[1]} has its batch norm fused .*torchvision/R-50"):
        slice_file(*files)
    for key in backbone_keys(wide):
        if key.endswith("running_var"):
            wide.state_dict()[key].uniform_(0.5, 1.5)
    source = save_backbone(wide, files[1])
    number = slice_file(*files)
    model = build(half)
    load(model, tmp_path / "half.pth")
    sliced = {k.removeprefix(BOTTOM_UP): x for k, x in model.state_dict().items()}
    assert number == len(source)
    # All of the pixels' channels stay, half of any other input.
    assert torch.equal(sliced["stem.conv1.weight"], source["stem.conv1.weight"][:32])
    expected = source["res3.1.conv2.weight"][:64, :64] * 2**0.5
    assert torch.equal(sliced["res3.1.conv2.weight"], expected)
    name = "res5.2.conv3.norm.running_var"
    assert torch.equal(sliced[name], source[name][:1024])
    # Filters are as long as they were.
    for key in ("res2.0.conv1.weight", "res4.3.conv2.weight", "res5.0.shortcut.weight"):
        now, before = (weights[key].flatten(1).norm(dim=1).mean() for weights in (sliced, source))
        torch.testing.assert_close(now, before, rtol=0.03, atol=0)


def trained(path: str, output: str) -> dict[str, torch.Tensor]:
    """The weights of a toy detector, written with statistics that are not all 1."""
    full = torch.load(path)["model"]
    for key in full:
        if key.endswith("running_var"):
            full[key].uniform_(0.5, 1.5)
    torch.save({"model": full}, output)
    return full


def test_slice_of_a_whole_retinanet(toy, tmp_path):
    """FPN and heads too: the toy student is the toy teacher's first channels."""
    output, weights = tmp_path / "sliced.pth", str(tmp_path / "trained.pth")
    full = trained(toy.path("teacher.pth"), weights)
    number = slice_file(*(toy.path("teacher.yaml"), weights, toy.path("student.yaml"), str(output)))
    model = build(toy.path("student.yaml"))
    SADCheckpointer(model, strict=True).load(str(output))
    state = model.state_dict()
    assert number == len(state)
    # The head keeps its outputs.
    key = "head.cls_score.weight"
    assert torch.equal(state[key], full[key][:, :8] * 2**0.5)
    assert torch.equal(state["head.cls_score.bias"], full["head.cls_score.bias"])
    # The same yaml twice is a copy.
    slice_file(*(toy.path("teacher.yaml"), weights, toy.path("teacher.yaml"), str(output)))
    copy = torch.load(output)["model"]
    for key, tensor in full.items():
        assert torch.equal(copy[key.split("bottom_up.")[-1]], tensor), key


def test_slice_of_a_whole_faster_rcnn(toy, tmp_path):
    """The box head sees the same places of the channels that are left."""
    output, weights = tmp_path / "sliced.pth", str(tmp_path / "trained.pth")
    full = trained(toy.path("rcnn_teacher.pth"), weights)
    wide, narrow = toy.path("rcnn_teacher.yaml"), toy.path("rcnn_student.yaml")
    number = slice_file(wide, weights, narrow, str(output))
    model = build(narrow)
    SADCheckpointer(model, strict=True).load(str(output))
    state = model.state_dict()
    assert number == len(state)
    places = full["roi_heads.box_head.fc1.weight"].reshape(32, 16, 3, 3)
    expected = places[:16, :8].flatten(1) * 2**0.5
    torch.testing.assert_close(state["roi_heads.box_head.fc1.weight"], expected)
    for key in ("proposal_generator.rpn_head.anchor_deltas", "roi_heads.box_predictor.bbox_pred"):
        assert torch.equal(state[f"{key}.bias"], full[f"{key}.bias"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ROI_BOX_HEAD: {POOLER_RESOLUTION: 2}", "POOLER_RESOLUTION is 3 and would be 2"),
        ("ANCHOR_GENERATOR: {ASPECT_RATIOS: [[1.0]]}", r"objectness_logits\S* has 3 outputs and"),
        ("ROI_BOX_HEAD: {CLS_AGNOSTIC_BBOX_REG: True}", r"bbox_pred\S* has 8 outputs and would"),
    ],
)
def test_no_narrower_faster_rcnn(toy, tmp_path, text, message):
    narrow = tmp_path / "narrow.yaml"
    narrow.write_text(f"_BASE_: {toy.path('rcnn_student.yaml')}\nMODEL: {{{text}}}\n")
    with pytest.raises(UserError, match=f"cannot be cut to .*{message}"):
        slice_file(
            *(toy.path("rcnn_teacher.yaml"), toy.path("rcnn_teacher.pth")),
            *(str(narrow), str(tmp_path / "out.pth")),
        )
    assert not (tmp_path / "out.pth").exists()


@pytest.fixture(scope="module")
def resnext50():
    groups = ("MODEL.RESNETS.NUM_GROUPS", 32, "MODEL.RESNETS.WIDTH_PER_GROUP", 4)
    return build(COCO / "RetinaNet_R50_600.yaml", *groups)


@pytest.mark.parametrize(
    ("groups", "width", "refused"),
    [
        (16, 4, None),
        (32, 2, "has 4 channels in each of 32 groups and would have 2 in 32: groups can only"),
        (1, 64, "too small"),
    ],
)
def test_groups_are_kept_whole(resnext50, groups, width, refused):
    narrow = build(
        COCO / "RetinaNet_R50_half_800.yaml",
        *("MODEL.RESNETS.NUM_GROUPS", groups, "MODEL.RESNETS.WIDTH_PER_GROUP", width),
    )
    loaded = {key: resnext50.state_dict()[key] for key in backbone_keys(resnext50)}
    if refused:
        with pytest.raises(UserError, match=rf"res2\.0\.conv2\.weight .*{refused}"):
            slice_weights(resnext50, loaded, narrow)
        return
    sliced = slice_weights(resnext50, loaded, narrow)
    # The kept groups see the channels that they saw.
    name = "res4.2.conv2.weight"
    assert torch.equal(sliced[name], loaded[BOTTOM_UP + name][: sliced[name].shape[0]])


@pytest.fixture
def changed(toy, tmp_path):
    """A function that writes the toy teacher's yaml with other settings."""

    def write(text):
        (tmp_path / "changed.yaml").write_text(f"_BASE_: {toy.path('teacher.yaml')}\n{text}")
        return str(tmp_path / "changed.yaml")

    return write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MODEL: {SMALL_RESNET: {BLOCKS: [1, 1, 2, 1]}}", "in the backbone of the narrow model"),
        ("MODEL: {FPN: {OUT_CHANNELS: 32}}", "too small for"),
        ("MODEL: {RETINANET: {NUM_CLASSES: 1}}", "has 18 outputs and would have 9"),
        ("MODEL: {META_ARCHITECTURE: PanopticFPN}", "describes a PanopticFPN"),
        ("MODEL: {META_ARCHITECTURE: GeneralizedRCNN}", "ROI_HEADS.NAME is 'Res5ROIHeads'"),
    ],
)
def test_no_narrower_version(toy, tmp_path, changed, text, message):
    with pytest.raises(UserError, match=message):
        slice_file(
            *(toy.path("teacher.yaml"), toy.path("teacher.pth")),
            *(changed(text), str(tmp_path / "out.pth")),
        )
    assert not (tmp_path / "out.pth").exists()


def test_deeper_full_model(toy, tmp_path, changed):
    deeper = changed("MODEL: {SMALL_RESNET: {BLOCKS: [1, 1, 2, 1]}}")
    torch.save({"model": build(deeper).state_dict()}, tmp_path / "deeper.pth")
    with pytest.raises(UserError, match=r"res4\.1\S* is in the backbone of the full model alone"):
        slice_file(
            *(deeper, str(tmp_path / "deeper.pth"), toy.path("student.yaml")),
            str(tmp_path / "out.pth"),
        )


def test_weights_that_do_not_fit_the_full_model(toy, tmp_path):
    yamls = toy.path("teacher.yaml"), toy.path("student.yaml")
    output = str(tmp_path / "out.pth")
    with pytest.raises(UserError, match="teacher.yaml has no MODEL.WEIGHTS: give --weights"):
        slice_file(yamls[0], "", yamls[1], output)
    with pytest.raises(UserError, match="nowhere.pth do not exist"):
        slice_file(yamls[0], str(tmp_path / "nowhere.pth"), yamls[1], output)
    state = torch.load(toy.path("teacher.pth"))["model"]
    del state["backbone.bottom_up.res3.0.conv1.weight"]
    torch.save({"model": state}, tmp_path / "part.pth")
    with pytest.raises(UserError, match=r"part.pth does not fill .*: 1 keys .*res3\.0\.conv1"):
        slice_file(yamls[0], str(tmp_path / "part.pth"), yamls[1], output)
