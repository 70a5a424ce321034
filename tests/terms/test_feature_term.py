"""The feature term, and that its layers train without entering the student's checkpoint."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from sad.config.load import get_sad_cfg
from sad.data.loader import build_mixed_loader
from sad.losses.features import gaussian_mask
from sad.modeling.teacher import build_teacher
from sad.terms.feature_term import FeatureTerm
from sad.terms.term import Term
from sad.utils.errors import UserError

FEATURES = ("SAD.DISTILL.TERMS", "('feature',)")


def build(toy, *opts):
    cfg = toy.cfg("SAD.yaml", *FEATURES, *opts)
    model = build_model(cfg).train()
    model.attach_teacher(build_teacher(cfg)[0])
    return model, cfg


def test_mean_over_levels_of_the_mean_squared_difference_of_soft_images(toy):
    model, cfg = build(toy, "SAD.LOADER.MIX", "union", "SAD.DISTILL.FEATURE.WEIGHT", 3.0)
    batch = next(iter(build_mixed_loader(cfg)))
    batch[0]["soft_targets"] = False
    features = []
    model.student.backbone.register_forward_hook(lambda *args: features.append(args[-1]))
    with EventStorage():
        loss = model(batch)["loss_distill_feature"]
        (prepared,) = model.prepare([batch])
    assert prepared.teacher.logits is None  # the head is not computed
    expected = 0
    for name, layer, theirs in zip(
        model.student.head_in_features,
        model.terms["feature"].layers,
        prepared.teacher.features,
        strict=True,
    ):
        kernel, bias = layer.weight[..., 0, 0], layer.bias[:, None, None]
        ours = torch.einsum("nchw,dc->ndhw", features[0][name][1:], kernel) + bias
        expected = expected + ((ours - theirs) ** 2).mean()
    torch.testing.assert_close(loss, 3.0 * expected / 3)
    check_no_soft_targets(model, batch)


def check_no_soft_targets(model, batch):
    """The term is 0, and every parameter still has a gradient."""
    for sample in batch:
        sample["soft_targets"] = False
    with EventStorage():
        losses = model(batch)
    assert losses["loss_distill_feature"] == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def of_soft_images(model, batch):
    """(loss, mapped maps of the student and maps of the teacher, of each level, in numpy)."""
    features = []
    model.student.backbone.register_forward_hook(lambda *args: features.append(args[-1]))
    with EventStorage():
        loss = model(batch)["loss_distill_feature"]
        (prepared,) = model.prepare([batch])
    ours = [
        layer(features[0][name][prepared.soft]).detach().double().numpy()
        for name, layer in zip(
            model.student.head_in_features, model.terms["feature"].layers, strict=True
        )
    ]
    return loss, ours, [level.double().numpy() for level in prepared.teacher.features]


def correlation_distance(x, z):
    """1 - r of each channel over all images and places."""
    channels = zip(*(np.moveaxis(m, 1, 0).reshape(m.shape[1], -1) for m in (x, z)), strict=True)
    return np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in channels])


def spatial_divergence(x, z, temperature):
    p, q = (np.exp(m.reshape(*m.shape[:2], -1) / temperature) for m in (x, z))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    return temperature**2 * (q * np.log(q / p)).sum(-1).mean()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ({"LOSS": "pkd"}, correlation_distance),
        ({"LOSS": "cwd"}, lambda x, z: spatial_divergence(x, z, 1.0)),
        ({"LOSS": "cwd", "TEMPERATURE": 3.0}, lambda x, z: spatial_divergence(x, z, 3.0)),
    ],
    ids=["pkd", "cwd", "cwd of another temperature"],
)
def test_other_losses_are_the_mean_over_levels(toy, keys, value):
    opts = [item for key, x in keys.items() for item in (f"SAD.DISTILL.FEATURE.{key}", x)]
    model, cfg = with_options(toy, *opts, "SAD.DISTILL.FEATURE.WEIGHT", 3.0)
    batch = next(iter(build_mixed_loader(cfg)))
    batch[1]["soft_targets"] = False
    loss, ours, theirs = of_soft_images(model, batch)
    expected = np.mean([value(x, z) for x, z in zip(ours, theirs, strict=True)])
    assert loss.item() == pytest.approx(3.0 * expected, rel=1e-4) and expected > 0
    check_no_soft_targets(model, batch)


def test_equal_widths_need_no_layer(toy):
    model = build_model(toy.cfg("SAD.yaml", *FEATURES))
    twin = build_model(toy.cfg("student.yaml")).requires_grad_(False).eval()
    model.attach_teacher(twin)
    assert list(model.terms.parameters()) == []


def test_layers_train_and_stay_out_of_the_students_state(toy):
    model, cfg = build(toy)
    plain = build_model(toy.cfg("student.yaml"))
    assert list(model.state_dict()) == list(plain.state_dict())
    before = {key: value.clone() for key, value in model.terms.state_dict().items()}
    assert len(before) == 6  # weight and bias on three levels: 8 channels here, 16 there
    optimizer = build_optimizer(cfg, model)
    with EventStorage():
        sum(model(next(iter(build_mixed_loader(cfg)))).values()).backward()
    optimizer.step()
    after = model.terms.state_dict()
    assert all(not torch.equal(before[key], after[key]) for key in before)
    # Either state loads by itself, and says so where a key is missing.
    student, layers = model.state_dict(), model.terms.state_dict()
    assert model.load_state_dict(student, strict=True).missing_keys == []
    assert model.terms.load_state_dict(layers).missing_keys == []
    del student["head.cls_score.bias"], layers["feature.layers.0.bias"]
    assert model.load_state_dict(student, strict=False).missing_keys == ["head.cls_score.bias"]
    with pytest.raises(RuntimeError, match="layers.0.bias"):
        model.terms.load_state_dict(layers)


def test_in_autocast_the_loss_is_float32(toy):
    model, cfg = build(toy, "SAD.TEACHER.PRECISION", "bfloat16")
    batch = next(iter(build_mixed_loader(cfg)))
    with EventStorage():
        exact = model(batch)["loss_distill_feature"].item()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(batch)["loss_distill_feature"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact, rel=0.05)
    loss.backward()


# --- masks and layers ----------------------------------------------------------------------------


def with_options(toy, *opts):
    return build(toy, "SAD.LOADER.MIX", "union", "SOLVER.IMS_PER_BATCH", 4, *opts)


def has_anchors(student, sample: dict, features: dict, level: int) -> list[bool]:
    """Of each object, whether Detectron2's RetinaNet gives it a foreground anchor of a level."""
    anchors = student.anchor_generator(list(features.values()))
    labels, boxes = student.label_anchors(anchors, [sample["instances"]])
    lengths = [len(x) for x in anchors]
    labels, boxes = labels[0].split(lengths)[level], boxes[0].split(lengths)[level]
    learned = boxes[(labels >= 0) & (labels < student.num_classes)].tolist()
    return [box in learned for box in sample["instances"].gt_boxes.tensor.tolist()]


@pytest.mark.parametrize(("mask", "spread"), [("box", np.inf), ("gaussian", 2.0)])
@pytest.mark.parametrize("levels", ["own", "all"])
@pytest.mark.parametrize("normalizer", ["per_level", "pooled"])
def test_masked_difference_of_soft_images(toy, mask, spread, levels, normalizer):
    keys = {"MASK": mask, "LEVELS": levels, "NORMALIZER": normalizer, "WEIGHT": 3.0}
    opts = [item for key, value in keys.items() for item in (f"SAD.DISTILL.FEATURE.{key}", value)]
    model, cfg = with_options(toy, *opts)
    batch = next(iter(build_mixed_loader(cfg)))
    batch[1]["soft_targets"] = False
    soft = [0, 2, 3]
    boxes = next(boxes for i in soft if len(boxes := batch[i]["instances"].gt_boxes.tensor))
    boxes[0] = torch.tensor([0.0, 0, 60, 60])  # beyond P3
    features = []
    model.student.backbone.register_forward_hook(lambda *args: features.append(args[-1]))
    with EventStorage():
        loss = model(batch)["loss_distill_feature"]
        (prepared,) = model.prepare([batch])
    above, below = [], []
    for number, (name, stride) in enumerate({"p3": 8, "p4": 16, "p5": 32}.items()):
        layer, theirs = model.terms["feature"].layers[number], prepared.teacher.features[number]
        difference = ((layer(features[0][name][soft]) - theirs) ** 2).mean(1).detach().numpy()
        masks = []
        for image in soft:
            chosen = batch[image]["instances"].gt_boxes.tensor
            if levels == "own":
                chosen = chosen[has_anchors(model.student, batch[image], features[0], number)]
            masks.append(gaussian_mask(chosen, theirs.shape[-2:], stride, spread).numpy())
        above.append((np.stack(masks) * difference).sum())
        below.append(np.stack(masks).sum())
    if normalizer == "pooled":
        expected = 3 * sum(above) / (2 * sum(below))
    else:
        expected = sum(a / (2 * max(1, b)) for a, b in zip(above, below, strict=True))
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert levels == "all" or min(below[:2]) > 0


def test_faster_rcnn_compares_a_box_on_the_level_that_its_region_is_pooled_from(toy):
    """k = floor(4 + log2(sqrt(w h) / 224)) of FPN (1612.03144, Eq. 1), between P2 and P5."""
    cfg = toy.cfg("TAR.yaml", *FEATURES, "SAD.DISTILL.FEATURE.WEIGHT", 3.0)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    model.attach_teacher(build_teacher(cfg)[0])
    sides = [16, 111, 112, 223, 224, 250]  # P2, P2, P3, P3, P4, P4
    instances = Instances((256, 256), gt_classes=torch.zeros(len(sides), dtype=torch.long))
    instances.gt_boxes = Boxes(torch.tensor([[3.0, 1, 3 + side, 1 + side] for side in sides]))
    image = torch.randint(256, (3, 256, 256), dtype=torch.uint8)
    batch = [{"image": image, "instances": instances, "hard_targets": True, "soft_targets": True}]
    features = []
    model.student.backbone.register_forward_hook(lambda *args: features.append(args[-1]))
    with EventStorage():
        loss = model(batch)["loss_distill_feature"]
        (prepared,) = model.prepare([batch])
    boxes, levels = instances.gt_boxes.tensor, np.floor(4 + np.log2(np.array(sides) / 224))
    expected = 0
    for number, (name, stride) in enumerate({"p2": 4, "p3": 8, "p4": 16, "p5": 32}.items()):
        layer, theirs = model.terms["feature"].layers[number], prepared.teacher.features[number]
        difference = ((layer(features[0][name]) - theirs) ** 2).mean(1)[0].detach().numpy()
        own = boxes[torch.from_numpy(levels.clip(2, 5) == number + 2)]
        mask = gaussian_mask(own, theirs.shape[-2:], stride, 2.0).numpy()
        assert len(own) == (2, 2, 2, 0)[number]
        expected += 3 / 4 * (mask * difference).sum() / (2 * max(1, mask.sum()))
    assert loss.item() == pytest.approx(expected, rel=1e-4) and expected > 0


def test_image_without_objects_is_not_compared(toy):
    model, cfg = with_options(toy, "SAD.DISTILL.FEATURE.MASK", "gaussian")
    batch = next(iter(build_mixed_loader(cfg)))
    for sample in batch:
        sample["instances"] = sample["instances"][:0]
    with EventStorage():
        losses = model(batch)
    assert losses["loss_distill_feature"] == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("layer", "shape", "is_relu"),
    [
        ("auto", (16, 8, 1, 1), False),
        ("conv1x1", (16, 8, 1, 1), False),
        ("conv3x3", (16, 8, 3, 3), False),
        ("conv3x3_relu", (16, 8, 3, 3), True),
    ],
)
def test_layers(toy, layer, shape, is_relu):
    model, cfg = build(toy, "SAD.DISTILL.FEATURE.LAYER", layer)
    layers = model.terms["feature"].layers
    assert [tuple(w.shape) for w in layers.parameters() if w.dim() == 4] == [shape] * 3
    mapped = layers[0](torch.randn(1, 8, 4, 4))
    assert mapped.shape == (1, 16, 4, 4) and (mapped.min() >= 0) == is_relu


def test_no_layer_between_maps_of_other_channels_is_refused(toy):
    with pytest.raises(UserError, match=r"LAYER is none, .* 8 channels and the teacher's 16"):
        build(toy, "SAD.DISTILL.FEATURE.LAYER", "none")


@pytest.mark.parametrize(
    ("keys", "idle"),
    [
        ({}, {"TEMPERATURE", "SIGMA2", "LEVELS", "NORMALIZER"}),
        ({"MASK": "box"}, {"TEMPERATURE", "SIGMA2"}),
        ({"MASK": "gaussian"}, {"TEMPERATURE"}),
        ({"LOSS": "pkd"}, {"TEMPERATURE", "MASK", "SIGMA2", "LEVELS", "NORMALIZER"}),
        ({"LOSS": "cwd"}, {"MASK", "SIGMA2", "LEVELS", "NORMALIZER"}),
    ],
)
def test_keys_without_a_say(keys, idle):
    node = get_sad_cfg().SAD.DISTILL.FEATURE
    node.update(keys)
    assert FeatureTerm.idle_keys(node).keys() - Term.idle_keys(node).keys() == idle
    assert bool(FeatureTerm.why_hard_targets(node)) == ("MASK" in keys)
    assert bool(FeatureTerm.why_local(node)) == (keys.get("LOSS") == "pkd" or "MASK" in keys)
