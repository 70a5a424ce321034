"""Both losses of the logits in one pass: the references' numbers, nothing kept but a gradient."""

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

import reference
from sad.losses import fused
from sad.losses.distillation import DISTILLATION_LOSSES, top_alone
from sad.losses.fused import FusedClassLosses, sum_in_pieces

LEVELS, CLASSES = (30, 8, 3), 7
HARD, SOFT = [0, 1, 4], [1, 2, 4, 5]  # images 3 and 6 have no targets
OPTIONS = dict(gamma=2.0, beta=1.5, form="kl", alpha=0.3)
FOCAL = dict(focal_alpha=0.25, focal_gamma=2.0)
FACTORS = 0.1, 0.4

VALUES = {
    "adl": (
        lambda x, z, pos, **o: reference.adl(x, z, o["gamma"], o["beta"]),
        lambda x, z, pos, **o: reference.adl_gradient(x, z, o["gamma"], o["beta"]),
    ),
    "kl": (
        lambda x, z, pos, **o: reference.kl_divergence(x, z),
        lambda x, z, pos, **o: reference.binary_cross_entropy_gradient(x, z),
    ),
    "fdl": (
        lambda x, z, pos, **o: reference.fdl(x, z, pos, o["gamma"]),
        lambda x, z, pos, **o: reference.fdl_gradient(x, z, pos, o["gamma"]),
    ),
    "l2": (lambda x, z, pos, **o: (x - z) ** 2, lambda x, z, pos, **o: 2 * (x - z)),
    "qfl": (
        lambda x, z, pos, **o: reference.qfl(x, z, o["gamma"]),
        lambda x, z, pos, **o: reference.qfl_gradient(x, z, o["gamma"]),
    ),
}


def batch(dtype=torch.float32, spread=4.0):
    """Seven images with logits of three levels, labels from -1 to K, a teacher of four images."""
    generator = torch.Generator().manual_seed(0)

    def logits(images):
        return [
            (spread * torch.randn(images, rows, CLASSES, generator=generator) - 2).to(dtype)
            for rows in LEVELS
        ]

    labels = torch.randint(-1, CLASSES + 1, (7, sum(LEVELS)), generator=generator)
    labels[[2, 3, 5, 6]] = CLASSES  # no hard targets
    return logits(7), logits(4), labels


def run(losses, student, teacher, labels, hard=HARD, soft=SOFT, scale=1.0):
    """(focal, distillation) and the gradient of each level."""
    student = [level.clone().requires_grad_() for level in student]
    found = losses(student, teacher, labels, hard, soft, *FACTORS)
    (scale * sum(found)).backward()
    return [value.item() for value in found], [level.grad for level in student]


def expected(name, student, teacher, labels, hard=HARD, soft=SOFT, **options):
    """The same by the references, all levels joined: values, gradient (N, R, K)."""
    x, z = (torch.cat(logits, dim=1).double().numpy() for logits in (student, teacher))
    labels = labels.numpy()
    positive = labels[..., None] == np.arange(CLASSES)
    counted = np.broadcast_to((labels >= 0)[..., None], x.shape)
    value, slope = VALUES[name]
    gradient = np.zeros_like(x)
    focal = reference.focal_loss(x, positive, alpha=0.25) * counted
    gradient[hard] += 0.1 * (focal_gradient(x, positive) * counted)[hard]
    of_soft = x[soft], z, positive[soft]
    gradient[soft] += 0.4 * slope(*of_soft, **options) * counted[soft]
    distill = (value(*of_soft, **options) * counted[soft]).sum()
    return [0.1 * focal[hard].sum(), 0.4 * distill], gradient


def focal_gradient(x, positive, gamma=2.0, alpha=0.25):
    """d/dx of -a (1-p_t)^g log p_t. dp_t/dx = t p (1-p), t = 1 where positive, else -1."""
    sign = np.where(positive, 1, -1)
    x_t = sign * x
    missing, log = reference.sigmoid(-x_t), reference.log_sigmoid(x_t)
    balance = np.where(positive, alpha, 1 - alpha)
    return balance * sign * missing**gamma * (gamma * (1 - missing) * log - missing)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("spread", [1.0, 4.0, 20.0])
def test_values_and_gradient_are_the_references(name, spread):
    student, teacher, labels = batch(spread=spread)
    values, gradients = run(FusedClassLosses(name, **FOCAL, **OPTIONS), student, teacher, labels)
    wanted, gradient = expected(name, student, teacher, labels, **OPTIONS)
    np.testing.assert_allclose(values, wanted, rtol=1e-5)
    np.testing.assert_allclose(
        torch.cat(gradients, dim=1), gradient, rtol=1e-5, atol=1e-5 * abs(gradient).max()
    )
    assert not gradients[0][[3, 6]].any() and abs(gradient[0]).max() > 1e-3


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("beta", [0.0, 1.5])
def test_gamma_and_beta(gamma, beta):
    student, teacher, labels = batch()
    options = {**OPTIONS, "gamma": gamma, "beta": beta}
    values, gradients = run(FusedClassLosses("adl", **FOCAL, **options), student, teacher, labels)
    wanted, gradient = expected("adl", student, teacher, labels, **options)
    np.testing.assert_allclose(values, wanted, rtol=1e-5)
    np.testing.assert_allclose(torch.cat(gradients, dim=1), gradient, rtol=1e-4, atol=1e-5)


def test_cross_entropy_form_is_the_plain_one():
    student, teacher, labels = batch()
    options = {**OPTIONS, "form": "cross_entropy"}
    (_, distill), _ = run(FusedClassLosses("adl", **FOCAL, **options), student, teacher, labels)
    x, z = torch.cat(student, 1)[SOFT], torch.cat(teacher, 1)
    counted = labels[SOFT] >= 0
    plain = DISTILLATION_LOSSES["adl"](x[counted], z[counted], labels[SOFT][counted], **options)
    assert distill == pytest.approx(0.4 * plain.sum().item(), rel=1e-5)


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_gradient_in_double_is_that_of_the_value(name):
    student, teacher, labels = batch(torch.float64, spread=1.0)
    losses = FusedClassLosses(name, **FOCAL, **OPTIONS)

    def total(*student):
        return sum(losses(list(student), teacher, labels, HARD, SOFT, *FACTORS))

    student = [level.requires_grad_() for level in student]
    assert torch.autograd.gradcheck(total, student, fast_mode=True)


@pytest.mark.parametrize(("hard", "soft"), [(HARD, []), ([], SOFT), ([], []), (range(7), SOFT)])
def test_images_with_one_kind_of_target_or_none(hard, soft):
    student, teacher, labels = batch()
    hard, soft = list(hard), list(soft)
    teacher = [level[: len(soft)] for level in teacher]
    losses = FusedClassLosses("adl", **FOCAL, **OPTIONS)
    values, gradients = run(losses, student, teacher, labels, hard, soft)
    wanted, gradient = expected("adl", student, teacher, labels, hard, soft, **OPTIONS)
    np.testing.assert_allclose(values, wanted, rtol=1e-5)
    np.testing.assert_allclose(torch.cat(gradients, dim=1), gradient, rtol=1e-4, atol=1e-6)


def test_pieces_of_any_size_give_the_same(monkeypatch):
    arguments = FusedClassLosses("adl", **FOCAL, **OPTIONS), *batch()
    whole_values, whole = run(*arguments)
    monkeypatch.setitem(fused.PIECE, "cpu", 2 * CLASSES)
    values, gradients = run(*arguments)
    np.testing.assert_allclose(values, whole_values, rtol=1e-6)
    torch.testing.assert_close(gradients, whole)


def test_teacher_of_the_top_anchors_alone():
    student, teacher, labels = batch()
    top = FusedClassLosses("qfl", **FOCAL, **OPTIONS, top=0.1)
    (_, distill), gradients = run(top, student, teacher, labels * 0, [], SOFT)
    x, z = torch.cat(student, 1)[SOFT].double().numpy(), torch.cat(teacher, 1).double().numpy()
    assert distill == pytest.approx(0.4 * reference.dense_teacher(x, z, share=0.1)[0], rel=1e-5)
    whole = FusedClassLosses("qfl", **FOCAL, **OPTIONS)
    masked = run(whole, student, top_alone(teacher, 0.1), labels * 0, [], SOFT)[1]
    torch.testing.assert_close(gradients, masked)
    no_teacher = run(top, student, None, labels, HARD, [])
    torch.testing.assert_close(no_teacher, run(whole, student, None, labels, HARD, []))


def test_focal_loss_without_balance():
    student, teacher, labels = batch()
    (focal, _), _ = run(
        FusedClassLosses("kl", focal_alpha=-1, focal_gamma=2.0, **OPTIONS), student, teacher, labels
    )
    x = torch.cat(student, 1)[HARD].double().numpy()
    positive = labels[HARD].numpy()[..., None] == np.arange(CLASSES)
    counted = (labels[HARD].numpy() >= 0)[..., None]
    assert focal == pytest.approx(0.1 * (reference.focal_loss(x, positive) * counted).sum())


def test_logits_in_channels_last_order():
    """Then the levels are views whose rows do not lie one after the other."""
    student, teacher, labels = batch()
    losses = FusedClassLosses("adl", **FOCAL, **OPTIONS)
    turned = [level.transpose(1, 2).contiguous().transpose(1, 2) for level in student]
    assert not turned[0].is_contiguous()
    torch.testing.assert_close(
        run(losses, turned, teacher, labels), run(losses, student, teacher, labels)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher, labels = batch(dtype, spread=2.0)
    losses = FusedClassLosses("adl", **FOCAL, **OPTIONS)
    values, gradients = run(losses, student, teacher, labels)
    as_floats = [[level.float() for level in logits] for logits in (student, teacher)]
    wanted, exact = run(losses, *as_floats, labels)
    assert values == wanted
    assert all(gradient.dtype == dtype for gradient in gradients)  # cast at the end
    for ours, theirs in zip(gradients, exact, strict=True):
        assert torch.equal(ours, theirs.to(dtype))


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(torch.float32, 1024.0), (torch.bfloat16, 1 / 3), (torch.float16, 65536.0)],
)
def test_factor_of_an_accumulated_or_scaled_loss(dtype, scale):
    """A factor is not rounded to the logits' precision, in which float16 has no 65536."""
    student, teacher, labels = batch(dtype, spread=1.0)
    student = [level - 6 for level in student]  # gradients that float16 has no numbers for
    losses = FusedClassLosses("adl", **FOCAL, **OPTIONS)
    scaled = run(losses, student, teacher, labels, scale=scale)[1]
    exact = run(losses, [level.float() for level in student], teacher, labels)[1]
    wanted = [scale * level for level in exact]
    torch.testing.assert_close(
        scaled, [level.to(dtype) for level in wanted], rtol=2e-2 if dtype.itemsize < 4 else 1e-6,
        atol=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
@pytest.mark.parametrize("form", ["kl", "cross_entropy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_finite_for_all_logits(name, form, dtype):
    grid = torch.tensor([-1e4, -200, -104, -50, -17, -1, 0, 1e-3, 5, 20, 90, 1e4])
    pairs = torch.cartesian_prod(grid, grid).to(dtype)
    x, z = ([column.view(1, -1, 1).expand(3, -1, 2)] for column in pairs.T)
    labels = torch.tensor([0, 2, -1])[:, None].expand(3, len(pairs))  # foreground, not, ignored
    for gamma in (0.0, 0.5, 2.0):
        losses = FusedClassLosses(name, **FOCAL, **{**OPTIONS, "gamma": gamma, "form": form})
        values, (gradient,) = run(losses, x, z, labels, [0, 1, 2], [0, 1, 2])
        assert np.isfinite(values).all() and min(values) >= 0
        assert gradient.isfinite().all() and not gradient[2].any()


def test_losses_that_are_taken_apart_are_refused():
    student, teacher, labels = batch()
    student = [level.requires_grad_() for level in student]
    losses = FusedClassLosses("adl", **FOCAL, **OPTIONS)
    for pick in (lambda focal, distill: distill, lambda focal, distill: focal + 2 * distill):
        found = losses(student, teacher, labels, HARD, SOFT, *FACTORS)
        with pytest.raises(RuntimeError, match="SAD.DISTILL.CLASS.FUSED False"):
            pick(*found).backward()


def test_nothing_but_the_gradient_is_kept():
    student, teacher, labels = batch()
    kept = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        student = [level.requires_grad_() for level in student]
        sum(
            FusedClassLosses("adl", **FOCAL, **OPTIONS)(
                student, teacher, labels, HARD, SOFT, *FACTORS
            )
        )
    assert sum(tensor.numel() for tensor in kept) == sum(level.numel() for level in student)


@pytest.mark.parametrize("alpha", [0.25, -1])
def test_two_ways_to_the_focal_loss(alpha):
    (x, *_), _, labels = batch()
    x, labels = x.flatten(0, 1), labels[:, : LEVELS[0]].flatten()
    losses = FusedClassLosses("kl", focal_alpha=alpha, focal_gamma=1.5)
    ways = losses.focal_by_selection, losses.focal_by_correction
    selected, corrected = (
        way(x, x.sigmoid(), torch.nn.functional.softplus(x), labels) for way in ways
    )
    torch.testing.assert_close(selected, corrected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adl", "kl"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled(name, dtype, monkeypatch):
    """Pieces of different sizes, too."""
    monkeypatch.setitem(fused.PIECE, "cpu", 13 * CLASSES)
    arguments = batch(dtype)
    wanted = run(FusedClassLosses(name, **FOCAL, **OPTIONS), *arguments)
    values, gradients = run(FusedClassLosses(name, **FOCAL, **OPTIONS, compiled=True), *arguments)
    np.testing.assert_allclose(values, wanted[0], rtol=1e-5)
    torch.testing.assert_close(gradients, wanted[1])


def test_sum_in_pieces(monkeypatch):
    levels, _, _ = batch()
    monkeypatch.setitem(fused.PIECE, "cpu", 2 * CLASSES)
    total = sum_in_pieces(lambda piece: piece.square().sum(), levels)
    assert total.item() == pytest.approx(torch.cat(levels, 1).square().sum().item(), rel=1e-6)
