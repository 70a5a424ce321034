"""The student: stock RetinaNet where nothing is distilled, the paper's Eq. 8 where it is."""

import copy

import numpy as np
import pytest
import torch
from detectron2.engine import DefaultPredictor
from detectron2.modeling import RetinaNet, build_model
from detectron2.solver import build_optimizer
from detectron2.structures import Boxes
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

import reference
from sad.data.loader import build_mixed_loader
from sad.modeling.distiller import Distiller
from sad.modeling.teacher import build_teacher
from sad.terms.term import Term
from sad.utils.errors import UserError

APART = ("SAD.DISTILL.CLASS.FUSED", False)  # one pass has one gradient for both losses of logits
NO_NORM = ("MODEL.RESNETS.NORM", "FrozenBN", "MODEL.RETINANET.NORM", "")


def build(toy, name, *opts, teacher=True):
    cfg = toy.cfg(name, *opts)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    if teacher and cfg.MODEL.META_ARCHITECTURE == "Distiller" and model.terms:
        model.attach_teacher(build_teacher(cfg)[0])
    return model


def flagged(batch, hard, soft):
    """The batch with these targets; "1010" means the first and third image."""
    return [
        {**sample, "hard_targets": hard[i] == "1", "soft_targets": soft[i] == "1"}
        for i, sample in enumerate(batch)
    ]


def losses_of(model, batch, iteration=0):
    with EventStorage(iteration):
        return model(batch)


@pytest.mark.parametrize(("normalizers", "at_first"), [("local", 1), ("global", 3)])
def test_a_micro_batch_is_prepared_when_it_is_asked_for(toy, batches, normalizers, at_first):
    """With one normaliser for all of them, all are: else their logits would lie in memory."""
    model = build(toy, "SAD.yaml", "SOLVER.LOSS_NORMALIZERS", normalizers)
    forwards = []
    model.teacher.backbone.register_forward_hook(lambda *_: forwards.append(1))
    with EventStorage():
        step = model.prepare([flagged(batch, "1111", "1111") for batch in batches])
        assert not next(step).teacher.logits[0].requires_grad and len(forwards) == at_first
        assert len(list(step)) == 2 and len(forwards) == 3


# --- a plain RetinaNet as long as nothing is distilled ------------------------------------------


@pytest.mark.parametrize("terms", ["()", "('class',)"])
def test_without_soft_targets_it_is_stock_retinanet_step_for_step(toy, batches, terms):
    stock = build(toy, "student.yaml")
    ours = build(toy, "SAD.yaml", "SAD.DISTILL.TERMS", terms, *APART)
    assert type(stock) is RetinaNet and type(ours) is Distiller
    optimizers = [build_optimizer(toy.cfg("student.yaml"), model) for model in (stock, ours)]
    assert_same_state(stock, ours)
    for step, batch in enumerate(batches):
        batch = flagged(batch, "1111", "0000")
        of_stock, of_ours = losses_of(stock, batch, step), losses_of(ours, batch, step)
        assert all(torch.equal(of_stock[key], of_ours[key]) for key in of_stock)
        if terms == "()":
            assert of_ours.keys() == of_stock.keys()
        else:
            assert of_ours.keys() - of_stock.keys() == {"loss_distill_class"}
            assert of_ours["loss_distill_class"] == 0
        for optimizer, losses in zip(optimizers, (of_stock, of_ours), strict=True):
            optimizer.zero_grad()
            sum(losses.values()).backward()
        for (name, one), other in zip(stock.named_parameters(), ours.parameters(), strict=True):
            assert torch.equal(one.grad, other.grad), name
        for optimizer in optimizers:
            optimizer.step()
        assert stock.loss_normalizer == ours.student.loss_normalizer
        assert_same_state(stock, ours)
    weights = build(toy, "student.yaml").state_dict()  # and it did learn something
    assert not torch.equal(weights["head.cls_score.weight"], ours.student.head.cls_score.weight)


def assert_same_state(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


def test_evaluation_is_stock_retinanets(toy, batches):
    stock = build(toy, "student.yaml").eval()
    ours = build(toy, "SAD.yaml").eval()
    ours.teacher.register_forward_pre_hook(fail)
    ours.teacher.backbone.register_forward_pre_hook(fail)
    with torch.no_grad():
        for one, other in zip(stock(batches[0]), ours(batches[0]), strict=True):
            assert len(one["instances"]) > 0
            assert torch.equal(one["instances"].scores, other["instances"].scores)
            boxes = [output["instances"].pred_boxes.tensor for output in (one, other)]
            assert torch.equal(*boxes)


def fail(*_):
    raise AssertionError("computed, but it should not be")


def test_default_predictor_needs_no_teacher(toy, tmp_path):
    """And a plain student's weights fit the distiller's yaml strictly."""
    student = build(toy, "student.yaml")
    weights = str(tmp_path / "student.pth")
    torch.save({"model": student.state_dict()}, weights)
    cfg = toy.cfg("SAD.yaml", "SAD.TEACHER.WEIGHTS", "absent.pth", "MODEL.WEIGHTS", weights)
    predictor = DefaultPredictor(cfg)
    assert_same_state(predictor.model, student)
    assert len(predictor(np.zeros((64, 64, 3), np.uint8))["instances"]) > 0


# --- the teacher is outside the module tree -----------------------------------------------------


def test_teacher_is_invisible(toy):
    stock, ours = build(toy, "student.yaml"), build(toy, "SAD.yaml")
    assert list(ours.state_dict()) == list(stock.state_dict())
    for names in ("named_parameters", "named_buffers"):
        ours_, stock_ = ([name for name, _ in getattr(m, names)()] for m in (ours, stock))
        assert ours_ == [f"student.{name}" for name in stock_]
    assert type(ours.student) is type(stock)
    groups = [
        [
            {key: len(value) if key == "params" else value for key, value in group.items()}
            for group in build_optimizer(toy.cfg("student.yaml"), model).param_groups
        ]
        for model in (stock, ours)
    ]
    assert groups[0] == groups[1]
    with pytest.raises(AttributeError):
        stock.teacher  # noqa: B018


def test_teacher_follows_the_student(toy):
    model = build(toy, "SAD.yaml")
    for move, dtype in (("double", torch.float64), ("half", torch.float16)):
        getattr(model, move)()
        for tensor in (*model.parameters(), *model.teacher.parameters(), model.teacher.pixel_mean):
            assert tensor.dtype == dtype
    model.to(torch.float32)
    assert model.teacher.head.cls_score.weight.dtype == torch.float32
    model.to("meta")
    assert model.teacher.device.type == "meta"


def test_double_precision_trains(toy, batches):
    model = build(toy, "SAD.yaml").double()
    losses = losses_of(model, batches[0])
    assert losses["loss_distill_class"].dtype == torch.float64  # Detectron2's focal loss is float32
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()


def test_teacher_stays_in_eval_mode(toy):
    model = build(toy, "SAD.yaml")
    for mode in (False, True):
        model.train(mode)
        assert model.training is mode
        assert not any(module.training for module in model.teacher.modules())


def test_teacher_neither_learns_nor_moves(toy, batches):
    model = build(toy, "SAD.yaml")
    before = {key: value.clone() for key, value in model.teacher.state_dict().items()}
    student = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = build_optimizer(toy.cfg("SAD.yaml"), model)
    for batch in batches:
        optimizer.zero_grad()
        sum(losses_of(model, batch).values()).backward()
        optimizer.step()
    assert all(torch.equal(before[key], v) for key, v in model.teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    moved = {
        key for key, value in model.state_dict().items() if not torch.equal(value, student[key])
    }
    assert {"backbone.bottom_up.stem.conv1.norm.running_mean", "head.cls_score.weight"} <= moved


def test_box_branch_of_the_teacher_is_never_computed(toy, batches):
    model = build(toy, "SAD.yaml")
    model.teacher.head.bbox_subnet.register_forward_pre_hook(fail)
    model.teacher.head.bbox_pred.register_forward_pre_hook(fail)
    sum(losses_of(model, batches[0]).values()).backward()


def test_deepcopy_has_a_teacher_of_its_own(toy, batches):
    model = build(toy, "SAD.yaml")
    clone = copy.deepcopy(model)
    assert clone.teacher is not model.teacher
    expected = losses_of(model, batches[0])["loss_distill_class"]
    assert torch.equal(losses_of(clone, batches[0])["loss_distill_class"], expected)
    torch.nn.init.zeros_(clone.teacher.head.cls_score.weight)
    assert model.teacher.head.cls_score.weight.any()


# --- the losses ---------------------------------------------------------------------------------


class Recorder:
    """What the student's head emits, with the gradients that reach it: (N, R, K) and (N, R, 4)."""

    def __init__(self, model):
        self.model = model = model.student
        model.head.register_forward_hook(self.record)

    def record(self, head, inputs, outputs):
        self.levels = [[level.retain_grad() or level for level in levels] for levels in outputs]

    def _join(self, levels, size):
        arrays = [level.detach().double().numpy() for level in levels]
        return np.concatenate(
            [a.reshape(len(a), -1, size, *a.shape[-2:]).transpose(0, 3, 4, 1, 2)
             .reshape(len(a), -1, size) for a in arrays],
            axis=1,
        )  # fmt: skip

    @property
    def logits(self):
        return self._join(self.levels[0], self.model.num_classes)

    @property
    def deltas(self):
        return self._join(self.levels[1], 4)

    @property
    def logits_gradient(self):
        return self._join([level.grad for level in self.levels[0]], self.model.num_classes)


def anchors_and_labels(model, recorder, batch):
    """(R, 4) anchors; (N, R) labels and (N, R, 4) boxes of the anchors, by Detectron2's matcher."""
    levels = model.student.anchor_generator(recorder.levels[0])
    labels, boxes = model.student.label_anchors(levels, [sample["instances"] for sample in batch])
    return Boxes.cat(levels).tensor.numpy(), torch.stack(labels).numpy(), torch.stack(boxes).numpy()


def teacher_logits(model, batch, like):
    """The teacher's whole forward on the images padded to the student's shape: (N, R, K)."""
    teacher = model.teacher
    height, width = (8 * side for side in like.levels[0][0].shape[-2:])
    padded = torch.zeros(len(batch), 3, height, width)
    for image, sample in zip(padded, batch, strict=True):
        pixels = (sample["image"] - teacher.pixel_mean) / teacher.pixel_std
        image[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    with torch.no_grad():
        features = teacher.backbone(padded)
        levels, _ = teacher.head([features[name] for name in teacher.head_in_features])
    return like._join(levels, teacher.num_classes)


FORMS = {
    "adl": ((), lambda x, z: reference.adl(x, z), lambda x, z: reference.adl_gradient(x, z)),
    "dw": (
        ("SAD.DISTILL.CLASS.BETA", 0.0),
        lambda x, z: reference.adl(x, z, beta=0.0),
        lambda x, z: reference.adl_gradient(x, z, beta=0.0),
    ),
    "gamma": (
        ("SAD.DISTILL.CLASS.GAMMA", 1.0, "SAD.DISTILL.CLASS.BETA", 0.5),
        lambda x, z: reference.adl(x, z, gamma=1.0, beta=0.5),
        lambda x, z: reference.adl_gradient(x, z, gamma=1.0, beta=0.5),
    ),
    "released": (
        (
            "SAD.DISTILL.CLASS.FORM",
            "cross_entropy",
            "SAD.DISTILL.CLASS.BETA",
            1.0,
            "SAD.DISTILL.CLASS.ALPHA",
            0.25,
        ),
        lambda x, z: reference.released_kernel(x, z, alpha=0.25),
        lambda x, z: reference.released_kernel_gradient(x, z, alpha=0.25),
    ),
    "kl": (
        ("SAD.DISTILL.CLASS.LOSS", "kl"),
        lambda x, z: reference.kl_divergence(x, z),
        lambda x, z: reference.binary_cross_entropy_gradient(x, z),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_distillation_loss_and_gradient_are_the_references(toy, batches, form):
    opts, value, gradient = FORMS[form]
    model = build(toy, "SAD.yaml", *opts, "SAD.DISTILL.CLASS.WEIGHT", 0.75, *APART)
    recorder = Recorder(model)
    batch = flagged(batches[0], "1111", "1111")
    loss = losses_of(model, batch)["loss_distill_class"]
    x, z = recorder.logits, teacher_logits(model, batch, recorder)
    _, labels, _ = anchors_and_labels(model, recorder, batch)
    ignored = labels == -1
    assert ignored.sum() > 10
    normalizer = reference.teacher_power_normalizer(z)  # over the ignored anchors too
    assert normalizer > reference.teacher_power_normalizer(z[~ignored]) > 1
    np.testing.assert_allclose(
        loss.item(), 0.75 * value(x, z)[~ignored].sum() / normalizer, rtol=1e-5
    )
    loss.backward()
    expected = np.where(ignored[..., None], 0, 0.75 * gradient(x, z) / normalizer)
    np.testing.assert_allclose(recorder.logits_gradient, expected, rtol=1e-4, atol=1e-8)


TARGETS = {
    "all hard and soft": ("1111", "1111"),
    "soft only": ("0000", "1111"),
    "half hard, all soft": ("1010", "1111"),
    "all hard, half soft": ("1111", "0110"),
    "hard here, soft there": ("1100", "0011"),
    "overlapping": ("1100", "0110"),
    "one of each": ("1000", "0001"),
    "hard only": ("1111", "0000"),
    "no targets": ("0000", "0000"),
}


@pytest.mark.parametrize(("hard", "soft"), TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("number", [0, 1])
def test_mixed_batches(toy, batches, hard, soft, number):
    """Every loss over the images that carry its targets, for images of several sizes."""
    model = build(toy, "SAD.yaml")
    recorder = Recorder(model)
    batch = flagged(batches[number], hard, soft)
    losses = losses_of(model, batch)
    is_hard = np.array([flag == "1" for flag in hard])
    is_soft = np.array([flag == "1" for flag in soft])

    x = recorder.logits
    anchors, labels, boxes = anchors_and_labels(model, recorder, batch)
    expected = focal_and_box_loss(x[is_hard], recorder.deltas[is_hard], anchors, labels[is_hard],
                                  boxes[is_hard])  # fmt: skip
    for key, value in zip(("loss_cls", "loss_box_reg"), expected, strict=True):
        np.testing.assert_allclose(losses[key].item(), value, rtol=1e-4)

    # An image without hard targets has no anchors to ignore, whatever boxes come with it.
    used = ~is_hard[:, None] | (labels != -1)
    z = teacher_logits(model, batch, recorder)
    distill = reference.adl(x, z)[is_soft][used[is_soft]].sum()
    distill *= 0.5 / reference.teacher_power_normalizer(z[is_soft])
    np.testing.assert_allclose(losses["loss_distill_class"].item(), distill, rtol=1e-5)
    assert set(losses) == {"loss_cls", "loss_box_reg", "loss_distill_class"}

    apart = build(toy, "SAD.yaml", *APART)
    sum(losses_of(apart, batch).values()).backward()
    # DistributedDataParallel waits for the gradient of every parameter.
    sum(losses.values()).backward()
    for ours, theirs in zip(model.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(p.grad.isfinite().all() for p in model.parameters())
    learns = any(p.grad.any() for p in model.parameters())
    assert learns == bool(is_hard.any() or is_soft.any())


def focal_and_box_loss(x, deltas, anchors, labels, boxes):
    """RetinaNet's losses by hand, for the first iteration of its normaliser's average."""
    foreground = (labels >= 0) & (labels < x.shape[-1])
    normalizer = 0.9 * 100 + 0.1 * max(foreground.sum(), 1)
    is_class = labels[..., None] == np.arange(x.shape[-1])
    focal = reference.focal_loss(x, is_class, gamma=2.0, alpha=0.25)[labels >= 0].sum()

    def centre_and_size(corners):
        size = corners[..., 2:] - corners[..., :2]
        return corners[..., :2] + size / 2, size

    anchor_centre, anchor_size = centre_and_size(np.broadcast_to(anchors, boxes.shape))
    box_centre, box_size = centre_and_size(boxes)
    with np.errstate(all="ignore"):  # background anchors have no box
        shift = (box_centre - anchor_centre) / anchor_size
        target = np.concatenate([shift, np.log(box_size / anchor_size)], axis=-1)
    box = np.abs(deltas - target)[foreground].sum()  # SMOOTH_L1_LOSS_BETA 0
    return focal / normalizer, box / normalizer


def test_without_hard_targets_the_focal_normaliser_does_not_move(toy, batches):
    model = build(toy, "SAD.yaml")
    losses_of(model, flagged(batches[0], "0000", "1111"))
    assert not hasattr(model.student, "loss_normalizer")


def detection_losses(toy, batch, normalizers, micro_batches=1):
    """Of twelve iterations without a step, each on the same batch."""
    model = build(toy, "SAD.yaml", *NO_NORM, "SOLVER.LOSS_NORMALIZERS", normalizers)
    found = []
    for _ in range(12):
        with EventStorage():
            losses = [model(given) for given in model.prepare([batch] * micro_batches)]
        total = sum((x["loss_cls"] + x["loss_box_reg"]).item() for x in losses)
        found.append(total if normalizers == "global" else total / micro_batches)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_global_normaliser_begins_as_the_local_ones_do(toy, batches, workers, monkeypatch):
    """Where every worker has the same foreground, all iterations have the same losses."""
    batch = flagged(batches[0], "1111", "1111")
    local = detection_losses(toy, batch, "local")
    monkeypatch.setattr(comm, "get_world_size", lambda: workers)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda sums: sums.mul_(workers))
    assert detection_losses(toy, batch, "global") == pytest.approx(local, rel=1e-5)
    assert local[0] != pytest.approx(local[-1], rel=0.1)


@pytest.mark.slow
def test_global_normaliser_begins_with_the_micro_batches(toy, batches):
    """Their local mean moves with each, so that only the beginning is the same."""
    batch = flagged(batches[0], "1111", "1111")
    local = detection_losses(toy, batch, "local", micro_batches=4)
    found = detection_losses(toy, batch, "global", micro_batches=4)
    assert found[0] == pytest.approx(local[0], rel=0.2)
    assert found == pytest.approx(detection_losses(toy, batch, "local"), rel=1e-5)


def test_images_without_instances_may_be_soft_only(toy, batches):
    """An image-info json gives no boxes; the mapper's empty instances are not looked at."""
    model = build(toy, "SAD.yaml")
    batch = flagged(batches[0], "1100", "1111")
    expected = losses_of(model, batch)
    bare = [*batch[:2], *({k: v for k, v in s.items() if k != "instances"} for s in batch[2:])]
    losses = losses_of(build(toy, "SAD.yaml"), bare)
    assert all(torch.equal(losses[key], expected[key]) for key in expected)


def test_foreground_normaliser(toy, batches):
    opts = ("SAD.DISTILL.CLASS.NORMALIZER", "foreground")
    model = build(toy, "SAD.yaml", *opts)
    recorder = Recorder(model)
    loss = losses_of(model, batches[0])["loss_distill_class"].item()
    x, z = recorder.logits, teacher_logits(model, batches[0], recorder)
    labels = anchors_and_labels(model, recorder, batches[0])[1]
    foreground = ((labels >= 0) & (labels < 2)).sum()
    assert foreground > 3
    expected = 0.5 * reference.adl(x, z)[labels != -1].sum() / foreground
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_normalizer_power(toy, batches):
    model = build(toy, "SAD.yaml", "SAD.DISTILL.CLASS.NORMALIZER_POWER", 1.0)
    recorder = Recorder(model)
    loss = losses_of(model, batches[0])["loss_distill_class"].item()
    x, z = recorder.logits, teacher_logits(model, batches[0], recorder)
    used = anchors_and_labels(model, recorder, batches[0])[1] != -1
    total = 0.5 * reference.adl(x, z)[used].sum()
    np.testing.assert_allclose(
        loss, total / reference.teacher_power_normalizer(z, power=1.0), rtol=1e-5
    )


@pytest.mark.parametrize("fused", [True, False])
def test_dense_teacher(toy, batches, fused):
    """The top anchors of each image with soft targets."""
    opts = {"LOSS": "qfl", "TOP": 0.05, "NORMALIZER": "best_score", "FUSED": fused}
    opts = [item for key, value in opts.items() for item in (f"SAD.DISTILL.CLASS.{key}", value)]
    model = build(toy, "SAD.yaml", *opts)
    recorder = Recorder(model)
    batch = flagged(batches[0], "0000", "1011")
    losses = losses_of(model, batch)
    x, z = recorder.logits[[0, 2, 3]], teacher_logits(model, batch, recorder)[[0, 2, 3]]
    total, divisor = reference.dense_teacher(x, z, share=0.05)
    assert divisor > 1
    np.testing.assert_allclose(
        losses["loss_distill_class"].item(), 0.5 * total / divisor, rtol=1e-5
    )
    sum(losses.values()).backward()
    best = z.max(axis=2, keepdims=True)
    is_top = best >= np.sort(best, axis=1)[:, -round(0.05 * best.shape[1]), None]
    expected = np.zeros_like(recorder.logits)
    expected[[0, 2, 3]] = 0.5 * reference.qfl_gradient(x, np.where(is_top, z, -100.0)) / divisor
    np.testing.assert_allclose(recorder.logits_gradient, expected, rtol=1e-4, atol=1e-8)


def test_warm_up(toy, batches):
    model = build(toy, "SAD.yaml", "SAD.DISTILL.CLASS.WARMUP_ITERS", 4)
    # Batch statistics normalise in training, so the same batch gives the same loss each time.
    losses = [losses_of(model, batches[0], i)["loss_distill_class"].item() for i in range(7)]
    full = losses_of(build(toy, "SAD.yaml"), batches[0])["loss_distill_class"].item()
    np.testing.assert_allclose(losses, np.array([0.25, 0.5, 0.75, 1, 1, 1, 1]) * full, rtol=1e-6)


def test_teacher_that_is_the_student_teaches_nothing(toy, batches):
    """Without batch norm, whose statistics differ between training and evaluation."""
    model = build(toy, "SAD.yaml", *NO_NORM, *APART, teacher=False)
    twin = build(toy, "student.yaml", *NO_NORM).requires_grad_(False).eval()
    model.attach_teacher(twin)
    loss = losses_of(model, batches[0])["loss_distill_class"]
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss.backward()
    gradients = [p.grad.abs().max() for p in model.parameters() if p.grad is not None]
    assert max(gradients) < 1e-6
    torch.nn.init.normal_(twin.head.cls_score.weight)
    assert losses_of(model, batches[0])["loss_distill_class"].item() > 0.01


@pytest.mark.parametrize("fused", [True, False])
def test_kept_answers_teach_nothing_beyond_an_image(toy, tmp_path, fused):
    """Whatever the student says there; else its hard targets alone have a say."""
    kept = ("SAD.TEACHER.CACHE.DIR", str(tmp_path), "SAD.TEACHER.CACHE.LEAVE_FREE_GB", 0.0)
    union = ("SAD.LOADER.MIX", "union", "DATALOADER.ASPECT_RATIO_GROUPING", False)
    opts = (*kept, *union, "SOLVER.IMS_PER_BATCH", 4, "SAD.DISTILL.CLASS.FUSED", fused)
    batch = next(iter(build_mixed_loader(toy.cfg("SAD.yaml", *opts))))
    assert len({sample["image"].shape for sample in batch}) > 1
    model = build(toy, "SAD.yaml", *opts)
    with EventStorage(), torch.no_grad():
        prepared = next(model.prepare([flagged(batch, "0000", "1111")]))
        outputs = model.adapter.student_outputs(
            model.student, prepared.images, prepared.targets, {}, "student"
        )
        teacher, losses = prepared.teacher, []
        for value in (0.0, 5.0):
            for level, (size, of_images) in zip(outputs.logits, teacher.inside, strict=True):
                for image, (h, w) in zip(level, of_images, strict=True):
                    grid = image.unflatten(0, (*size, -1))
                    grid[h:] = grid[:h, w:] = value
            prepared.teacher = copy.deepcopy(teacher)
            losses.append(model.losses(prepared, copy.deepcopy(outputs))["loss_distill_class"])
    assert losses[0] > 0 and torch.allclose(*losses, rtol=1e-5)


def test_teacher_in_bfloat16(toy, batches):
    exact = losses_of(build(toy, "SAD.yaml"), batches[0])["loss_distill_class"].item()
    model = build(toy, "SAD.yaml", "SAD.TEACHER.PRECISION", "bfloat16")
    losses = losses_of(model, batches[0])
    assert losses["loss_distill_class"].dtype == torch.float32
    assert losses["loss_distill_class"].item() == pytest.approx(exact, rel=0.05)
    assert losses["loss_distill_class"].item() != exact


def test_student_in_autocast(toy, batches):
    model = build(toy, "SAD.yaml")
    exact = losses_of(model, batches[0])
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(build(toy, "SAD.yaml"), batches[0])
    assert losses["loss_distill_class"].dtype == torch.float32
    for key, value in losses.items():
        assert value.item() == pytest.approx(exact[key].item(), rel=0.05)


# --- terms of others ----------------------------------------------------------------------------


class Scaled(Term):
    """A term with a parameter of no dimension, of outputs that the student may not have."""

    need = frozenset({"deltas"})

    def __init__(self, options, max_iter):
        super().__init__(options, max_iter)
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def divisor(self, teacher, targets):
        return torch.tensor(1.0)

    def forward(self, student, teacher, targets):
        return self.scale * sum(x.abs().sum() for x in student.deltas)


def with_term(toy, term):
    cfg = toy.cfg("SAD.yaml")
    model = build(toy, "SAD.yaml", teacher=False)
    model = Distiller(
        student=model.student,
        adapter=model.adapter,
        terms={"scaled": term(cfg.SAD.DISTILL.FEATURE, 10)},
    ).train()
    model.attach_teacher(build_teacher(cfg)[0])
    return model


@pytest.mark.parametrize("soft", ["1111", "0000"])
def test_a_parameter_of_no_dimension_gets_a_gradient(toy, batches, soft):
    model = with_term(toy, Scaled)
    sum(losses_of(model, flagged(batches[0], "1111", soft)).values()).backward()
    assert (model.terms["scaled"].scale.grad != 0) == (soft == "1111")


def test_a_term_of_what_the_detector_does_not_emit_is_refused(toy):
    class Centred(Scaled):
        need = frozenset({"centerness"})

    with pytest.raises(UserError, match="centerness, which a RetinaNet does not emit"):
        with_term(toy, Centred)


def test_unknown_names_are_not_the_students(toy):
    model = build(toy, "SAD.yaml")
    assert model.backbone is model.student.backbone
    with pytest.raises(AttributeError, match="Distiller"):
        model.num_classes  # noqa: B018
