"""What a distiller makes of a Faster R-CNN: stock where nothing is distilled, TAR where it is."""

import copy

import numpy as np
import pytest
import torch
from detectron2.engine import DefaultPredictor
from detectron2.modeling import GeneralizedRCNN
from detectron2.solver import build_optimizer
from detectron2.utils.events import EventStorage

import regions_made
from sad.data.loader import build_mixed_loader
from sad.losses.regions import CLASS_LOSSES
from sad.modeling.build import build_detector
from sad.modeling.distiller import Distiller
from sad.modeling.teacher import build_teacher, check_pair
from sad.utils.errors import UserError

BATCH = ("SAD.LOADER.MIX", "union", "SOLVER.IMS_PER_BATCH", 4)
FROZEN = ("MODEL.RESNETS.NORM", "FrozenBN")
ROI_TERMS = ("SAD.DISTILL.TERMS", "('roi_class','roi_box')")
NO_LAYER = ("SAD.DISTILL.FEATURE.LAYER", "auto")


def build(toy, name="TAR.yaml", *opts, teacher=True, checked=True) -> torch.nn.Module:
    cfg = toy.cfg(name, *opts, checked=checked)
    torch.manual_seed(0)
    model = regions_made.opinionated(build_detector(cfg)).train()
    if teacher and isinstance(model, Distiller) and model.terms:
        model.attach_teacher(build_teacher(cfg)[0])
    return model


@pytest.fixture(scope="module")
def batches(toy):
    loader = iter(build_mixed_loader(toy.cfg("TAR.yaml", *BATCH)))
    return [next(loader) for _ in range(3)]


def flagged(batch, soft: str) -> list[dict]:
    return [{**x, "soft_targets": flag == "1"} for x, flag in zip(batch, soft, strict=True)]


def losses_of(model, batch, iteration=0):
    """Samplers draw by torch's global seed, which the teacher may not move."""
    torch.manual_seed(iteration)
    with EventStorage(iteration):
        return model(batch)


def fail(*_):
    raise AssertionError("computed, but it should not be")


def twin_of(model: Distiller, **changes):
    """A teacher that is the student."""
    teacher = copy.deepcopy(model.student).requires_grad_(False).eval()
    model.attach_teacher(teacher)
    return teacher


# --- a plain Faster R-CNN as long as nothing is distilled -----------------------------------------


WITHOUT = {
    "no terms": ("SAD.DISTILL.TERMS", "()"),
    "no soft targets": (),
    "weights of 0": [
        item
        for term in ("FEATURE", "ROI_CLASS", "ROI_BOX")
        for item in (f"SAD.DISTILL.{term}.WEIGHT", 0.0)
    ],
    "decayed": [
        *("SOLVER.MAX_ITER", 7),
        *(
            item
            for term in ("FEATURE", "ROI_CLASS", "ROI_BOX")
            for item in (f"SAD.DISTILL.{term}.DECAY_TO", 0.0)
        ),
    ],
}


@pytest.mark.parametrize("how", WITHOUT)
@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
def test_stock_detectron2_step_for_step(toy, batches, how, norm):
    norm = ("MODEL.RESNETS.NORM", norm, "SOLVER.BASE_LR", 1e-4)
    stock = build(toy, "rcnn_student.yaml", *norm)
    # A weight of 0 is refused of a yaml.
    ours = build(toy, "TAR.yaml", *norm, *WITHOUT[how], checked=how != "weights of 0")
    assert type(stock) is GeneralizedRCNN and type(ours) is Distiller
    ours.load_state_dict(stock.state_dict())
    if ours.teacher:
        ours.teacher.backbone.register_forward_pre_hook(fail)
    optimizers = [
        build_optimizer(toy.cfg("rcnn_student.yaml", *norm), getattr(model, "student", model))
        for model in (stock, ours)
    ]
    before = copy.deepcopy(stock.state_dict())
    for step, batch in enumerate(batches):
        batch = flagged(batch, "0000" if how == "no soft targets" else "1111")
        iteration = 7 if how == "decayed" else step
        of_stock, of_ours = (losses_of(model, batch, iteration) for model in (stock, ours))
        assert list(of_stock) == list(of_ours)[: len(of_stock)]
        for key in of_stock:
            assert torch.equal(of_stock[key], of_ours[key]), key
        distill = {key: of_ours[key] for key in of_ours.keys() - of_stock.keys()}
        assert len(distill) == len(ours.terms) and not any(map(torch.Tensor.any, distill.values()))
        for optimizer, losses in zip(optimizers, (of_stock, of_ours), strict=True):
            optimizer.zero_grad()
            sum(losses.values()).backward()
        assert all(parameter.grad is not None for parameter in ours.parameters())
        gradients = zip(stock.named_parameters(), ours.student.parameters(), strict=True)
        for (name, one), other in gradients:
            assert torch.equal(one.grad, other.grad), name
        for optimizer in optimizers:
            optimizer.step()
    for (key, one), other in zip(
        stock.state_dict().items(), ours.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), key
    assert not torch.equal(
        before["roi_heads.box_predictor.cls_score.weight"],
        ours.student.roi_heads.box_predictor.cls_score.weight,
    )  # it learned


def test_student_alone_has_the_same_losses_in_bfloat16(toy, batches):
    """Detectron2 by itself would round the boxes of a student alone, as it rounds its maps."""
    stock = build(toy, "rcnn_student.yaml", *FROZEN)
    ours = build(toy, "TAR.yaml", *FROZEN, *WITHOUT["no terms"])
    ours.load_state_dict(stock.state_dict())
    pooled = []
    for model in (stock, ours.student):
        model.roi_heads.box_pooler.level_poolers[0].register_forward_pre_hook(
            lambda pooler, arguments: pooled.extend(x.dtype for x in arguments)
        )
    with torch.autocast("cpu", torch.bfloat16):
        of_stock, of_ours = (losses_of(model, batches[0]) for model in (stock, ours))
    assert of_stock.keys() == of_ours.keys()
    for key in of_stock:
        assert torch.equal(of_stock[key], of_ours[key]), key
    assert pooled and set(pooled) == {torch.float32}


def test_checkpoint_and_evaluation_are_the_students(toy, batches, tmp_path):
    ours = build(toy)
    state = ours.state_dict()
    stock = build(toy, "rcnn_student.yaml")
    assert list(state) == list(stock.state_dict())
    stock.load_state_dict(state, strict=True)
    ours.teacher.register_forward_pre_hook(fail)
    ours.teacher.backbone.register_forward_pre_hook(fail)
    with torch.no_grad():
        for one, other in zip(stock.eval()(batches[0]), ours.eval()(batches[0]), strict=True):
            assert len(one["instances"]) > 0
            assert torch.equal(one["instances"].scores, other["instances"].scores)
    weights = str(tmp_path / "student.pth")
    torch.save({"model": state}, weights)
    absent = ("SAD.TEACHER.WEIGHTS", "absent.pth", "MODEL.WEIGHTS", weights)
    predictor = DefaultPredictor(toy.cfg("TAR.yaml", *absent))
    assert len(predictor(np.full((64, 64, 3), 128, np.uint8))["instances"]) > 0


# --- each network is run once ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "terms", "rpn", "head"),
    [
        ("student", "('feature','roi_class','roi_box')", 0, 1),
        ("student", "('feature',)", 0, 0),
        ("student", "('roi_box',)", 0, 1),
        ("teacher", "('roi_class',)", 1, 1),
        ("union", "('feature',)", 1, 0),
    ],
)
def test_what_is_computed(toy, batches, share, terms, rpn, head):
    opts = ("SAD.DISTILL.PROPOSALS", share, "SAD.DISTILL.TERMS", terms)
    keep = () if "feature" in terms else ("SAD.DISTILL.FEATURE.MASK", "none")
    if keep:
        keep += ("SAD.DISTILL.FEATURE.WEIGHT", 1.0, *NO_LAYER)
    model = build(toy, "TAR.yaml", *opts, *keep)
    calls = []
    for whose, detector in (("student", model.student), ("teacher", model.teacher)):
        for part in ("backbone", "proposal_generator", "roi_heads.box_head"):
            module = detector.get_submodule(part)
            module.register_forward_hook(lambda *_, name=(whose, part): calls.append(name))
    losses = losses_of(model, flagged(batches[0], "1111"))
    count = {
        name: calls.count(("teacher", name))
        for name in ("backbone", "proposal_generator", "roi_heads.box_head")
    }
    assert list(count.values()) == [1, rpn, head]
    assert sorted(x for x in calls if x[0] == "student") == [
        ("student", "backbone"),
        ("student", "proposal_generator"),
        ("student", "roi_heads.box_head"),
    ]
    assert len(losses) == 4 + len(model.terms)
    assert not model.student.roi_heads.box_predictor._forward_hooks


def test_teacher_is_asked_about_the_students_regions(toy, batches):
    """With its own pixels, features and precision; of the images with soft targets alone."""
    model = build(toy, "TAR.yaml", *ROI_TERMS, "SAD.DISTILL.FEATURE.MASK", "none", *NO_LAYER,
                  "SAD.DISTILL.FEATURE.WEIGHT", 1.0)  # fmt: skip
    model.teacher.pixel_mean += 5
    asked, sampled = [], []
    model.teacher.roi_heads.box_pooler.register_forward_hook(lambda *x: asked.append(x[1][1]))
    model.teacher.roi_heads.box_predictor.register_forward_hook(lambda *x: asked.append(x[2]))
    model.student.roi_heads.register_forward_hook(lambda *x: sampled.append(x[2][0]))
    heard = []
    model.student.roi_heads.box_predictor.register_forward_hook(lambda *x: heard.append(x[2]))
    batch = flagged(batches[0], "0110")
    losses = losses_of(model, batch)
    boxes, (logits, _) = asked
    regions = [sampled[0][i] for i in (1, 2)]
    for ours, theirs in zip(regions, boxes, strict=True):
        assert torch.equal(ours.proposal_boxes.tensor, theirs.tensor) and len(theirs) > 4
    # The teacher's whole forward on those two images, by Detectron2's own functions.
    teacher = model.teacher
    height, width = model.student.preprocess_image(batch).tensor.shape[-2:]
    padded = torch.zeros(2, 3, height, width)
    for image, item in zip(padded, batch[1:3], strict=True):
        pixels = (item["image"] - teacher.pixel_mean) / teacher.pixel_std
        image[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    features = teacher.backbone(padded)
    with torch.no_grad():
        maps = [features[name] for name in ("p2", "p3", "p4", "p5")]
        pooled = teacher.roi_heads.box_pooler(maps, [x.proposal_boxes for x in regions])
        expected, _ = teacher.roi_heads.box_predictor(teacher.roi_heads.box_head(pooled))
    torch.testing.assert_close(logits, expected)
    # And the class term of them.
    counts = [len(x) for x in sampled[0]]
    student = torch.cat([heard[0][0].split(counts)[i] for i in (1, 2)])
    foreground = torch.cat([x.gt_classes for x in regions]) < 2
    assert foreground.any()
    loss = CLASS_LOSSES["bce"](student[foreground], logits[foreground], sigmoid=False)
    assert losses["loss_distill_roi_class"].item() == pytest.approx(10 * loss.mean().item())


@pytest.mark.parametrize("share", ["student", "teacher", "union"])
def test_whose_proposals_are_sampled(toy, batches, share):
    model = build(toy, "TAR.yaml", "SAD.DISTILL.PROPOSALS", share)
    own, others, given = [], [], []
    model.student.proposal_generator.register_forward_hook(
        lambda *x: own.extend(p.proposal_boxes.tensor.clone() for p in x[2][0])
    )
    model.teacher.proposal_generator.register_forward_hook(
        lambda *x: others.extend(p.proposal_boxes.tensor.clone() for p in x[2][0])
    )
    model.student.roi_heads.register_forward_pre_hook(
        lambda _, x: given.extend(p.proposal_boxes.tensor for p in x[2])
    )
    losses = losses_of(model, flagged(batches[0], "1011"))
    of_teacher = dict(zip((0, 2, 3), others, strict=bool(others)))
    assert bool(of_teacher) == (share != "student")
    for image, found in enumerate(given):
        wanted = [own[image]]
        if image in of_teacher:
            wanted = [*wanted, of_teacher[image]] if share == "union" else [of_teacher[image]]
        assert torch.equal(found, torch.cat(wanted))
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


# --- the losses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["bce", "kl", "l2"])
@pytest.mark.parametrize("gate", ["proposal", "student", "always"])
def test_teacher_that_is_the_student_teaches_nothing(toy, batches, loss, gate):
    opts = ("SAD.DISTILL.ROI_CLASS.LOSS", loss, "SAD.DISTILL.ROI_BOX.GATE", gate)
    model = build(toy, "TAR.yaml", *FROZEN, *NO_LAYER, *opts, teacher=False)
    twin_of(model)
    losses = losses_of(model, flagged(batches[0], "1111"))
    for name in ("feature", "roi_box") if loss == "bce" else ("feature", "roi_box", "roi_class"):
        assert losses[f"loss_distill_{name}"].item() == pytest.approx(0, abs=1e-5)
    sum(x for name, x in losses.items() if "roi_class" in name).backward()
    gradients = [p.grad.abs().max().item() for p in model.parameters() if p.grad is not None]
    assert gradients and max(gradients) < 1e-4


def without_objects(batch) -> list[dict]:
    return [{**item, "instances": item["instances"][:0]} for item in batch]


@pytest.mark.parametrize("proposals", ["fg", "teacher_right", "all"])
def test_images_without_objects(toy, batches, proposals):
    model = build(toy, "TAR.yaml", "SAD.DISTILL.ROI_CLASS.PROPOSALS", proposals)
    model.teacher.roi_heads.box_predictor.cls_score.bias[-1] = 8.0  # sure of the background
    half = without_objects(batches[0][:2]) + batches[0][2:]
    for batch in (flagged(half, "1111"), flagged(without_objects(batches[0]), "1111")):
        model.zero_grad()
        losses = losses_of(model, batch)
        sum(losses.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert losses["loss_distill_feature"] == 0 and losses["loss_distill_roi_box"] == 0
    assert (losses["loss_distill_roi_class"] == 0) == (proposals == "fg")


HEADS = {
    "class-agnostic": ("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True),
    "other weights": ("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", (5.0, 5.0, 2.0, 2.0)),
    "sigmoids": ("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", True),
    "one class": ("MODEL.ROI_HEADS.NUM_CLASSES", 1),
}


@pytest.mark.parametrize("ours", HEADS)
@pytest.mark.parametrize("theirs", [None, *HEADS])
def test_heads_of_other_kinds(toy, batches, ours, theirs):
    """Deltas of another kind are compared; classes and kinds of scores must be alike."""
    model = build(
        toy, "TAR.yaml", *HEADS[ours], "SAD.DISTILL.ROI_BOX.GATE", "always", teacher=False
    )
    opts = HEADS[theirs] if theirs else ()
    torch.manual_seed(1)
    teacher = regions_made.opinionated(build_detector(toy.cfg("rcnn_teacher.yaml", *opts)))
    teacher = teacher.requires_grad_(False).eval()
    alike = {"sigmoids", "one class"}.isdisjoint({ours, theirs}) or ours == theirs
    if not alike:
        with pytest.raises(UserError, match="USE_SIGMOID_CE|number of classes"):
            model.attach_teacher(teacher)
        return
    model.attach_teacher(teacher)
    batch = flagged(batches[0], "1111")
    if ours == "one class":
        for item in batch:
            item["instances"] = item["instances"][item["instances"].gt_classes == 0]
    losses = losses_of(model, batch)
    sum(losses.values()).backward()
    assert losses["loss_distill_roi_box"] > 0 and losses["loss_distill_roi_class"] > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_in_autocast_the_losses_are_near_and_float32(toy, batches, precision):
    """And regions are pooled in float32, in which a box is not rounded to some pixels."""
    batch = flagged(batches[0], "1111")
    exact = losses_of(build(toy, "TAR.yaml", *FROZEN), batch)
    model = build(toy, "TAR.yaml", *FROZEN, "SAD.TEACHER.PRECISION", precision)
    pooled = []
    for detector in (model.student, model.teacher):
        detector.roi_heads.box_pooler.register_forward_hook(lambda *x: pooled.append(x[1][0][0]))
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(model, batch)
    assert [maps.dtype for maps in pooled] == [torch.float32] * 2
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    for name in ("feature", "roi_class"):
        key = f"loss_distill_{name}"
        assert losses[key].item() == pytest.approx(exact[key].item(), rel=0.15)
        assert losses[key] != exact[key]


def test_teacher_neither_learns_nor_moves(toy, batches):
    model = build(toy)
    before = copy.deepcopy(model.teacher.state_dict())
    optimizer = build_optimizer(toy.cfg("TAR.yaml"), model)
    layers = copy.deepcopy(model.terms.state_dict())
    for number, batch in enumerate(batches):
        optimizer.zero_grad()
        losses = losses_of(model.train(), flagged(batch, "1111"), number)
        (1e-4 * sum(losses.values())).backward()
        optimizer.step()
    assert not any(module.training for module in model.teacher.modules())
    assert all(torch.equal(before[k], v) for k, v in model.teacher.state_dict().items())
    assert not any(torch.equal(layers[k], v) for k, v in model.terms.state_dict().items())


# --- what makes no pair ---------------------------------------------------------------------------


def test_anchors_of_a_teacher_may_differ(toy):
    student = build(toy, "rcnn_student.yaml")
    opts = ("MODEL.ANCHOR_GENERATOR.SIZES", [[10], [20], [30], [60]])
    check_pair(student, build(toy, "rcnn_teacher.yaml", *opts), 1.0, {"features", "roi_logits"})


@pytest.mark.parametrize(
    ("scale", "need", "opts", "named"),
    [
        (2.0, set(), (), "INPUT_SCALE is 2"),
        (1.0, {"logits"}, (), "logits, which a GeneralizedRCNN does not emit"),
        (1.0, {"features"}, ("MODEL.ROI_HEADS.IN_FEATURES", ("p2", "p3", "p4")), "strides"),
        (1.0, {"roi_deltas"}, ("MODEL.ROI_HEADS.IN_FEATURES", ("p2", "p3", "p4")), None),
        (1.0, {"roi_deltas"}, HEADS["sigmoids"], None),
        (1.0, {"roi_logits"}, HEADS["sigmoids"], "the teacher has sigmoids, the student a softmax"),
        (1.0, set(), HEADS["one class"], "number of classes: the teacher has 1, the student 2"),
    ],
)
def test_pairs(toy, scale, need, opts, named):
    student = build(toy, "rcnn_student.yaml")
    teacher = build(toy, "rcnn_teacher.yaml", *opts)
    if named is None:
        check_pair(student, teacher, scale, need)
        return
    with pytest.raises(UserError, match=named):
        check_pair(student, teacher, scale, need)


def test_images_with_soft_targets_alone_have_no_regions(toy, batches):
    model = build(toy)
    batch = [{**batches[0][0], "hard_targets": False}, *batches[0][1:]]
    with pytest.raises(ValueError, match="hard targets"):
        losses_of(model, batch)
