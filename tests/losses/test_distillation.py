"""sad.distillation.distillation against a float64 reference, pinned numbers, and at the edges."""

import math

import numpy as np
import pytest
import torch

import reference
from sad.losses import distillation

FORMS = ("kl", "cross_entropy")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def random_logits(spread, seed=0, size=2000):
    """Float32 logits of student and teacher: a tenth of the pairs agree, the rest differ."""
    rng = np.random.default_rng(seed)
    student, teacher = rng.normal(0, spread, (2, size)).astype(np.float32)
    student += np.copysign(2e-3, student - teacher)  # nearer pairs have a test of their own
    student[: size // 10] = teacher[: size // 10]
    return torch.from_numpy(student), torch.from_numpy(teacher)


def value_and_gradient(loss, student, *args, **kwargs):
    student = student.clone().requires_grad_()
    value = loss(student, *args, **kwargs)
    return value.detach(), torch.autograd.grad(value.sum(), student)[0]


def by_name(name):
    """A loss of the registry on logits of one dimension: anchors of one class."""

    def loss(student, teacher, **options):
        labels = (torch.arange(student.numel()) % 3 > 0).long()
        options = {"gamma": 2.0, "beta": 1.5, "form": "kl", "alpha": 0.5, **options}
        function = distillation.DISTILLATION_LOSSES[name]
        return function(student[:, None], teacher[:, None], labels, **options)[:, 0]

    return loss


def reference_value_and_gradient(student, teacher, gamma, beta, form, alpha=0.5):
    x, z = student.double().numpy(), teacher.double().numpy()
    if form == "kl":
        return reference.adl(x, z, gamma, beta), reference.adl_gradient(x, z, gamma, beta)
    options = dict(gamma=gamma, beta_code=1 - beta, alpha=alpha)
    return (
        reference.released_kernel(x, z, **options),
        reference.released_kernel_gradient(x, z, **options),
    )


def assert_close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual.numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("spread", [1, 4, 30])
def test_kl_and_entropy_match_the_reference(spread):
    student, teacher = random_logits(spread)
    x, z = student.double().numpy(), teacher.double().numpy()
    gradient = reference.sigmoid(x) - reference.sigmoid(z)
    actual, actual_gradient = value_and_gradient(distillation.kl_divergence, student, teacher)
    assert_close(actual, reference.kl_divergence(x, z))
    assert_close(actual_gradient, gradient)
    assert_close(distillation.teacher_entropy(teacher), reference.teacher_entropy(z))


def assert_adl_matches_the_reference(student, teacher, **options):
    actual, gradient = value_and_gradient(
        distillation.adaptive_distillation_loss, student, teacher, **options
    )
    expected, expected_gradient = reference_value_and_gradient(student, teacher, **options)
    assert_close(actual, expected)
    assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("spread", [1, 4, 30])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 1.5, 2.0])
@pytest.mark.parametrize(
    ("form", "alpha"), [("kl", 0.5), *(("cross_entropy", a) for a in (0.5, 0.25))]
)
def test_adl_matches_the_reference(form, alpha, gamma, beta, spread):
    student, teacher = random_logits(spread)
    options = dict(gamma=gamma, beta=beta, form=form, alpha=alpha)
    assert_adl_matches_the_reference(student, teacher, **options)


# Below gamma = 1 the weight's slope is infinite at 0: float32 can only tell pairs well apart.
@pytest.mark.parametrize("beta", [0.0, 1.5])
@pytest.mark.parametrize("form", FORMS)
def test_adl_matches_the_reference_with_gamma_below_one(form, beta):
    teacher = torch.linspace(-4, 4, 40)
    student = teacher + torch.linspace(-5, 5, 10)[:, None]
    teacher = teacher.expand_as(student)
    options = dict(gamma=0.5, beta=beta, form=form)
    assert_adl_matches_the_reference(student, teacher, **options)


@pytest.mark.parametrize(
    ("form", "gamma", "beta"),
    [
        *(("kl", gamma, beta) for gamma in (0.0, 1.0, 2.0) for beta in (0.0, 1.5)),
        # Not gamma = 1 with beta = 0: the weight is then a KL too small for float32.
        *(("cross_entropy", *pair) for pair in ((0.0, 0.0), (2.0, 0.0), (1.0, 1.5), (2.0, 1.5))),
    ],
)
def test_adl_matches_the_reference_where_student_and_teacher_nearly_agree(form, gamma, beta):
    """KL is below float32's rounding here, its gradient p - q is not."""
    teacher = torch.linspace(-6, 6, 121)
    student = teacher + torch.linspace(-2e-3, 2e-3, 41)[:, None]
    teacher = teacher.expand_as(student)
    options = dict(gamma=gamma, beta=beta, form=form)
    assert_adl_matches_the_reference(student, teacher, **options)


@pytest.mark.parametrize("beta", [0.0, 1.5])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("form", FORMS)
def test_float64_is_kept_and_its_gradient_is_that_of_the_value(form, gamma, beta):
    """Differences of both implementations: not even the reference's derivation is trusted."""
    student, teacher = (logits.double() for logits in random_logits(3))
    options = dict(gamma=gamma, beta=beta, form=form, alpha=0.4)

    def loss(student):
        return distillation.adaptive_distillation_loss(student, teacher, **options)

    assert loss(student).dtype == torch.float64
    assert torch.autograd.gradcheck(loss, student.requires_grad_(), fast_mode=True)
    step, student = 1e-5, student.detach()
    above, _ = reference_value_and_gradient(student + step, teacher, **options)
    below, _ = reference_value_and_gradient(student - step, teacher, **options)
    _, expected_gradient = reference_value_and_gradient(student, teacher, **options)
    np.testing.assert_allclose(
        (above - below) / (2 * step), expected_gradient, atol=1e-9, rtol=1e-7
    )
    _, gradient = value_and_gradient(loss, student)
    assert_close(gradient, expected_gradient, 1e-10)


# From the definitions with 40 digits: student, teacher, options, loss, d loss / d student.
PINNED = [
    (0.0, 2.0, dict(), 0.111602623, -0.190316143),
    (-1.5, 0.5, dict(beta=0.0), 0.0669096007, -0.159899757),
    (3.0, -2.0, dict(gamma=0.5, beta=1.0), 2.24540421, 0.872682783),
    (-4.0, 4.0, dict(gamma=0.0), 3.85611032, -0.96402758),
    (20.0, -30.0, dict(), 19.9999999, 1.00000008),
    (0.0, 2.0, dict(form="cross_entropy", beta=1.0), 0.0866433976, -0.11358674),
    (-1.5, 0.5, dict(form="cross_entropy", alpha=0.25), 0.190433659, -0.0949881883),
    (
        -6.0,
        2.5,
        dict(form="cross_entropy", gamma=0.5, beta=0.0, alpha=0.75),
        4.14978141,
        -0.699381306,
    ),
]


@pytest.mark.parametrize(("student", "teacher", "options", "value", "gradient"), PINNED)
def test_pinned_values(student, teacher, options, value, gradient):
    actual, actual_gradient = value_and_gradient(
        distillation.adaptive_distillation_loss,
        torch.tensor(student),
        torch.tensor(teacher),
        **options,
    )
    assert actual.item() == pytest.approx(value, rel=1e-6, abs=1e-6)
    assert actual_gradient.item() == pytest.approx(gradient, rel=1e-6, abs=1e-6)


def test_pinned_kl_and_entropy():
    student, teacher = torch.tensor(0.0), torch.tensor(math.log(3))  # p = 1/2, q = 3/4
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert distillation.kl_divergence(student, teacher).item() == pytest.approx(kl, abs=1e-6)
    assert distillation.teacher_entropy(teacher).item() == pytest.approx(entropy, abs=1e-6)
    assert distillation.teacher_entropy(student).item() == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", sorted(distillation.DISTILLATION_LOSSES))
def test_finite_for_all_logits(name, form, dtype):
    # sigmoid is exactly 1 from 17 on, and exactly 0 from -104 down.
    grid = torch.cat([torch.arange(-100.0, 101), torch.tensor([-1e4, -200, 200, 1e4])])
    near = torch.linspace(-20, 20, 401)
    student, teacher = torch.meshgrid(grid, grid, indexing="ij")
    student = torch.cat([student.flatten(), near, near + 1e-3, near - 1e-5]).to(dtype)
    teacher = torch.cat([teacher.flatten(), near.repeat(3)]).to(dtype)
    for gamma in (0.0, 0.5, 1.0, 2.0):
        for beta in (0.0, 1.0, 1.5):
            value, gradient = value_and_gradient(
                by_name(name),
                student,
                teacher,
                gamma=gamma,
                beta=beta,
                form=form,
                alpha=0.5,
            )
            assert value.isfinite().all() and (value >= 0).all(), (gamma, beta)
            assert gradient.isfinite().all() and gradient.dtype == dtype, (gamma, beta)


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = (logits.to(dtype) for logits in random_logits(4))
    for function in (distillation.kl_divergence, distillation.adaptive_distillation_loss):
        actual = function(student, teacher)
        assert actual.dtype == torch.float32
        assert torch.equal(actual, function(student.float(), teacher.float()))
    assert distillation.teacher_power(teacher).dtype == torch.float32


@pytest.mark.parametrize("beta", [0.0, 1.5])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 1.7, 2.0])
@pytest.mark.parametrize("name", sorted({*distillation.DISTILLATION_LOSSES} - {"qfl"}))
def test_student_equal_to_teacher_has_no_loss_and_no_gradient(name, gamma, beta):
    logits = torch.cat([torch.arange(-100.0, 101.0), random_logits(5)[0]])
    value, gradient = value_and_gradient(
        by_name(name),
        logits,
        logits.clone(),
        gamma=gamma,
        beta=beta,
        form="kl",
        alpha=0.5,
    )
    assert (value == 0).all()
    np.testing.assert_allclose(gradient, 0, atol=1e-7)  # q - p and its rounding


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("spread", [1, 4, 30])
def test_focal_distillation_loss_matches_the_reference(spread, gamma):
    student, teacher = random_logits(spread)
    positive = torch.arange(len(student)) % 3 == 0
    actual = value_and_gradient(
        distillation.focal_distillation_loss, student, teacher, positive, gamma=gamma
    )
    arrays = student.double().numpy(), teacher.double().numpy(), positive.numpy()
    assert_close(actual[0], reference.fdl(*arrays, gamma=gamma))
    assert_close(actual[1], reference.fdl_gradient(*arrays, gamma=gamma), 2e-5)
    # As a choice of SAD.DISTILL.CLASS.LOSS it reads the labels of the anchors.
    labels = (~positive).long()
    by_labels = distillation.DISTILLATION_LOSSES["fdl"](
        student[:, None], teacher[:, None], labels, gamma=gamma, beta=1.5, form="kl", alpha=0.5
    )
    assert torch.equal(by_labels[:, 0], actual[0])


def test_focal_distillation_loss_is_not_least_where_student_equals_teacher():
    """Section 4.1's reason for ADL: a student surer of the label than its teacher has a lower FDL
    than KL alone would say, and at p = p_t = 1 none at all."""
    teacher = torch.zeros(2)
    value = distillation.focal_distillation_loss(
        torch.tensor([3.0, -3.0]), teacher, torch.tensor([True, True])
    )
    kl = distillation.kl_divergence(torch.tensor([3.0, -3.0]), teacher)
    assert kl[0] == pytest.approx(kl[1].item())
    assert value[0] < 0.01 * value[1]
    with pytest.raises(ValueError, match="-1"):
        distillation.focal_distillation_loss(teacher, teacher, torch.tensor([True, True]), gamma=-1)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("spread", [1, 4, 30])
def test_quality_focal_loss_matches_the_reference(spread, gamma):
    student, teacher = random_logits(spread)
    x, z = student.double().numpy(), teacher.double().numpy()
    for loss in (distillation.quality_focal_loss, by_name("qfl")):
        value, gradient = value_and_gradient(loss, student, teacher, gamma=gamma)
        assert_close(value, reference.qfl(x, z, gamma))
        assert_close(gradient, reference.qfl_gradient(x, z, gamma), 2e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_quality_focal_loss_of_a_student_equal_to_its_teacher(gamma):
    logits = torch.cat([torch.arange(-100.0, 101.0), random_logits(5)[0]])
    value, gradient = value_and_gradient(
        distillation.quality_focal_loss, logits, logits.clone(), gamma=gamma
    )
    assert value.max() < 1e-18 and gradient.abs().max() < 1e-18
    with pytest.raises(ValueError, match="-1"):
        distillation.quality_focal_loss(logits, logits, gamma=-1)


def test_top_anchors_keep_their_logits():
    levels = [torch.randn(2, rows, 3) for rows in (30, 8)]
    assert distillation.top_alone(levels, 0.0) is levels
    for share, number in ((0.001, 1), (0.1, 4), (1.0, 38)):
        found = torch.cat(distillation.top_alone(levels, share), dim=1)
        logits = torch.cat(levels, dim=1)
        for image, before in zip(found, logits, strict=True):
            kept = (image == before).all(dim=1)
            assert kept.sum() == number and (image[~kept] == distillation.NEVER).all()
            assert number == 38 or before[kept].amax(1).min() > before[~kept].amax(1).max()
    scores = distillation.best_scores(levels)
    np.testing.assert_allclose(scores, reference.sigmoid(logits.numpy()).max(axis=2), rtol=1e-5)
    of_top = distillation.best_scores(distillation.top_alone(levels, 0.1)).sum()
    assert of_top.item() == pytest.approx(scores.topk(4, dim=1).values.sum().item())


@pytest.mark.parametrize("dtype", DTYPES)
def test_anchors_outside_the_top_have_the_score_0(dtype):
    """All losses that read scores take it for 0, in each precision."""
    never = torch.tensor([distillation.NEVER], dtype=dtype)
    x = torch.linspace(-20, 20, 41, dtype=dtype)
    p = reference.sigmoid(x.double().numpy())
    expected = -reference.log_sigmoid(-x.double().numpy())
    kl = distillation.kl_divergence(x, never)
    np.testing.assert_allclose(kl, expected, rtol=1e-5)
    qfl = distillation.quality_focal_loss(x, never)
    np.testing.assert_allclose(qfl, p**2 * expected, rtol=1e-5)
    assert distillation.teacher_power(never) == 0


def test_logit_l2_loss():
    student, teacher = random_logits(4)
    value, gradient = value_and_gradient(distillation.logit_l2_loss, student, teacher)
    difference = student.double().numpy() - teacher.double().numpy()
    assert_close(value, difference**2)
    assert_close(gradient, 2 * difference)


@pytest.mark.parametrize("alpha", [0.25, 0.5])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_cross_entropy_form_where_student_equals_teacher(gamma, alpha):
    """The loss is ADW times the weighted entropy; the gradient ADW q(1-q)(1-2 alpha), 0 at 1/2."""
    logits = torch.linspace(-8, 8, 161)
    value, gradient = value_and_gradient(
        distillation.adaptive_distillation_loss,
        logits,
        logits.clone(),
        gamma=gamma,
        form="cross_entropy",
        alpha=alpha,
    )
    z = logits.double().numpy()
    q, entropy = reference.sigmoid(z), reference.teacher_entropy(z)
    weight = (1 - np.exp(-1.5 * entropy)) ** gamma
    outer = -alpha * q * np.log(q) - (1 - alpha) * (1 - q) * np.log(1 - q)
    assert_close(value, weight * outer)
    assert_close(gradient, weight * q * (1 - q) * (1 - 2 * alpha))


def test_adl_has_its_minimum_at_the_teacher():
    teacher = torch.linspace(-6, 6, 25)
    steps = torch.linspace(-5, 5, 101)[:, None]
    loss = distillation.adaptive_distillation_loss(teacher + steps, teacher.expand(101, 25))
    assert (loss[:51].diff(dim=0) < 0).all() and (loss[50:].diff(dim=0) > 0).all()


def test_kl_is_positive_and_blind_to_which_class_is_called_positive():
    student, teacher = random_logits(6)
    kl = distillation.kl_divergence(student, teacher)
    assert (kl >= 0).all()
    torch.testing.assert_close(
        distillation.kl_divergence(-student, -teacher), kl, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("form", FORMS)
def test_beta_zero_is_dw_and_gamma_zero_is_unweighted(form):
    student, teacher = random_logits(3)
    x, z = student.double().numpy(), teacher.double().numpy()
    kl = reference.kl_divergence(x, z)
    outer = kl if form == "kl" else 0.5 * reference.binary_cross_entropy(x, z)
    dw = distillation.adaptive_distillation_loss(student, teacher, gamma=2.0, beta=0.0, form=form)
    assert_close(dw, reference.distillation_weight(kl, 2.0) * outer)
    unweighted = distillation.adaptive_distillation_loss(student, teacher, gamma=0.0, form=form)
    assert_close(unweighted, outer)


@pytest.mark.parametrize("form", FORMS)
def test_grows_with_beta(form):
    student, teacher = random_logits(3)
    by_beta = [
        distillation.adaptive_distillation_loss(student, teacher, beta=beta, form=form)
        for beta in (0.0, 0.5, 1.0, 1.5, 3.0)
    ]
    growth = torch.stack(by_beta).diff(dim=0)
    assert (growth >= 0).all() and growth.sum() > 1


@pytest.mark.parametrize("form", FORMS)
def test_empty_logits_have_loss_zero_and_a_backward(form):
    student = torch.empty(0, 80, requires_grad=True)
    teacher = torch.empty(0, 80)
    loss = distillation.adaptive_distillation_loss(student, teacher, form=form)
    loss = (loss + distillation.kl_divergence(student, teacher)).sum()
    loss.backward()
    assert loss.item() == 0 and student.grad.shape == (0, 80)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", sorted(distillation.DISTILLATION_LOSSES))
def test_no_gradient_reaches_the_teacher(name, form):
    student, teacher = (logits.requires_grad_() for logits in random_logits(3))
    loss = by_name(name)(student, teacher, form=form)
    loss.sum().backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


def test_registry_names_the_losses():
    student, teacher = random_logits(3)
    options = dict(gamma=1.5, beta=0.7, form="cross_entropy", alpha=0.3)
    assert torch.equal(
        by_name("adl")(student, teacher, **options),
        distillation.adaptive_distillation_loss(student, teacher, **options),
    )
    assert torch.equal(
        by_name("kl")(student, teacher, **options),
        distillation.kl_divergence(student, teacher),
    )
    assert torch.equal(
        by_name("l2")(student, teacher, **options), distillation.logit_l2_loss(student, teacher)
    )


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_released_layer(beta):
    """Loss and gradient of the whole released layer from our parts: ignored anchors count in the
    normaliser and nowhere else."""
    student, teacher = random_logits(3)
    is_ignored = torch.arange(len(student)) % 7 == 3

    def layer(student):
        pair = student[~is_ignored], teacher[~is_ignored]
        loss = distillation.adaptive_distillation_loss(*pair, beta=beta, form="cross_entropy")
        return loss.sum() / distillation.teacher_power(teacher)

    value, gradient = value_and_gradient(layer, student)
    expected, expected_gradient = reference.released_layer(
        student.double().numpy(), teacher.double().numpy(), is_ignored.numpy(), beta_code=1 - beta
    )
    assert_close(value, expected)
    assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("power", [1.0, 1.8])
def test_teacher_power(power):
    teacher = random_logits(6)[1].view(20, 100)
    actual = distillation.teacher_power(teacher.requires_grad_(), power)
    expected = reference.teacher_power_normalizer(teacher.detach().double().numpy(), power)
    assert actual.shape == () and not actual.requires_grad
    assert actual.item() == pytest.approx(expected, rel=1e-5)


def test_nothing_counts_as_zero():
    assert distillation.teacher_power(torch.full((5,), -100.0)).item() == pytest.approx(0)
    assert distillation.teacher_power(torch.empty(0, 80)).item() == 0
    assert distillation.foreground_count(torch.tensor([-1, 10, 10, -1]), 10).item() == 0
    assert distillation.foreground_count(torch.empty(0, dtype=torch.int64), 10).item() == 0


def test_foreground_count_counts_neither_background_nor_ignored():
    labels = torch.tensor([[0, 9, 10, -1], [3, 10, 0, -1]])
    actual = distillation.foreground_count(labels, num_classes=10)
    assert actual.shape == () and actual.item() == 4


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (dict(form="hinge"), "hinge"),
        (dict(gamma=-1.25), r"-1\.25"),
        (dict(beta=-0.75), r"-0\.75"),
    ],
)
def test_wrong_options_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        distillation.adaptive_distillation_loss(*random_logits(3), **options)
