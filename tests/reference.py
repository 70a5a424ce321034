"""Float64 numpy transcriptions of the equations, written from the paper (arXiv 1901.00366) alone.

They share no code with `sad` and read like the formulas: x is the student's logit, z the teacher's,
p = sigmoid(x), q = sigmoid(z), T = T(q). Good for logits within [-100, 100].
"""

import numpy as np


def sigmoid(logit):
    return np.exp(log_sigmoid(logit))


def log_sigmoid(logit):
    """log p; log(1 - p) is log_sigmoid(-logit), and neither ever rounds to log 0."""
    return -np.logaddexp(0.0, -np.asarray(logit, dtype=np.float64))


def focal_loss(x, is_positive, gamma=2.0, alpha=None):
    """Eq. 1: FL = -(1 - p_t)^gamma log p_t; with alpha, RetinaNet's class balance on top."""
    x_t = np.where(is_positive, x, np.negative(x))  # p_t = sigmoid(x_t), 1 - p_t = sigmoid(-x_t)
    balance = 1.0 if alpha is None else np.where(is_positive, alpha, 1 - alpha)
    return -balance * sigmoid(-x_t) ** gamma * log_sigmoid(x_t)


def binary_cross_entropy(x, z, alpha_positive=1.0, alpha_negative=1.0):
    """-(a q log p + b (1-q) log(1-p)) of the student's p against the teacher's q."""
    positive = alpha_positive * sigmoid(z) * log_sigmoid(x)
    negative = alpha_negative * sigmoid(np.negative(z)) * log_sigmoid(np.negative(x))
    return -(positive + negative)


def binary_cross_entropy_gradient(x, z, alpha_positive=1.0, alpha_negative=1.0):
    """d BCE / dx = -a q (1-p) + b (1-q) p, which is p - q for a = b = 1.

    From dp/dx = p (1-p): d(-log p)/dx = -(1-p) and d(-log(1-p))/dx = p.
    """
    positive = alpha_positive * sigmoid(z) * sigmoid(np.negative(x))
    negative = alpha_negative * sigmoid(np.negative(z)) * sigmoid(x)
    return negative - positive


def kl_divergence(x, z):
    """Eq. 2: KL = q log(q/p) + (1-q) log((1-q)/(1-p))."""
    x, z = np.asarray(x, dtype=np.float64), np.asarray(z, dtype=np.float64)
    kl = sigmoid(z) * (log_sigmoid(z) - log_sigmoid(x))
    kl += sigmoid(-z) * (log_sigmoid(-z) - log_sigmoid(-x))
    return np.maximum(kl, 0.0)  # rounding leaves -1e-17 where the two agree


def teacher_entropy(z):
    """Eq. 6: T(q) = -(q log q + (1-q) log(1-q))."""
    return binary_cross_entropy(z, z)


def distillation_weight(kl, gamma):
    """Eq. 5: DW = (1 - exp(-KL))^gamma."""
    return (1 - np.exp(-kl)) ** gamma


def adaptive_distillation_weight(exponent, gamma):
    """Eq. 6: ADW = (1 - exp(-u))^gamma with the exponent u = KL + beta T(q)."""
    return (-np.expm1(-exponent)) ** gamma


def adaptive_distillation_weight_slope(exponent, gamma):
    """d ADW / du = gamma (1 - exp(-u))^(gamma-1) exp(-u).

    At u = 0 it may be infinite, but there x = z and its factor is 0: the product is taken as 0.
    """
    u = np.where(exponent > 0, exponent, 1.0)
    slope = gamma * (-np.expm1(-u)) ** (gamma - 1) * np.exp(-u)
    return np.where(exponent > 0, slope, 0.0)


def adl(x, z, gamma=2.0, beta=1.5):
    """Eq. 7: ADL = ADW KL."""
    kl = kl_divergence(x, z)
    return adaptive_distillation_weight(kl + beta * teacher_entropy(z), gamma) * kl


def adl_gradient(x, z, gamma=2.0, beta=1.5):
    """d ADL / dx.

    KL is BCE less T, and T does not depend on x. So dKL/dx = du/dx = dBCE/dx = p - q, and
    d(ADW KL)/dx = (p - q) (ADW + dADW/du KL).
    """
    kl = kl_divergence(x, z)
    u = kl + beta * teacher_entropy(z)
    slope = adaptive_distillation_weight_slope(u, gamma)
    weight = adaptive_distillation_weight(u, gamma)
    return binary_cross_entropy_gradient(x, z) * (weight + slope * kl)


def fdl(x, z, positive, gamma=2.0):
    """Eq. 4: (1 - p_t)^gamma KL with p_t = p where the label is this class, else 1 - p."""
    p = sigmoid(x)
    return np.where(positive, sigmoid(-x), p) ** gamma * kl_divergence(x, z)


def fdl_gradient(x, z, positive, gamma=2.0):
    """With m = 1 - p_t: dm/dx = -p (1-p) for a positive and p (1-p) else; dKL/dx = p - q."""
    p = sigmoid(x)
    m = np.where(positive, sigmoid(-x), p)
    slope = np.where(positive, -1, 1) * p * sigmoid(-x)
    through_weight = 0 if gamma == 0 else gamma * m ** (gamma - 1) * slope * kl_divergence(x, z)
    return m**gamma * (p - sigmoid(z)) + through_weight


def qfl(x, z, gamma=2.0):
    """|q - p|^gamma times the cross entropy of p with q (arXiv 2006.04388)."""
    return np.abs(sigmoid(z) - sigmoid(x)) ** gamma * binary_cross_entropy(x, z)


def qfl_gradient(x, z, gamma=2.0):
    """With g = |q - p|: dg/dx = -p (1-p) where q is above p, else p (1-p); dBCE/dx = p - q."""
    p, q = sigmoid(x), sigmoid(z)
    gap = np.abs(q - p)
    slope = np.sign(p - q) * p * sigmoid(np.negative(x))
    through_weight = 0 if gamma == 0 else gamma * gap ** (gamma - 1) * slope
    return gap**gamma * (p - q) + through_weight * binary_cross_entropy(x, z)


def dense_teacher(x, z, share=0.01):
    """(loss, divisor) of Dense Teacher's class loss, anchor by anchor, of x, z (N, R, K).

    The anchors of an image with the largest scores learn the teacher's; q is 0 at the others.
    """
    total, divisor = 0.0, 0.0
    for ours, theirs in zip(x, z, strict=True):
        best = theirs.max(axis=1)
        chosen = np.argsort(-best)[: max(1, round(share * len(best)))]
        divisor += sigmoid(best[chosen]).sum()
        for anchor, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            p, q = sigmoid(a), sigmoid(b) * (anchor in chosen)
            entropy = -q * log_sigmoid(a) - (1 - q) * log_sigmoid(-a)
            total += ((q - p) ** 2 * entropy).sum()
    return total, divisor


def released_kernel(x, z, gamma=2.0, beta_code=0.0, alpha=0.5):
    """Released form: (1 - exp(-(BCE - beta_code T)))^gamma times the alpha-weighted BCE.

    BCE = KL + T, so the exponent is the paper's with beta = 1 - beta_code.
    """
    u = kl_divergence(x, z) + (1 - beta_code) * teacher_entropy(z)
    outer = binary_cross_entropy(x, z, alpha, 1 - alpha)
    return adaptive_distillation_weight(u, gamma) * outer


def released_kernel_gradient(x, z, gamma=2.0, beta_code=0.0, alpha=0.5):
    """d released_kernel / dx, through the weight too.

    With A the alpha-weighted BCE: d(ADW A)/dx = ADW dA/dx + dADW/du (p - q) A.
    """
    u = kl_divergence(x, z) + (1 - beta_code) * teacher_entropy(z)
    outer = binary_cross_entropy(x, z, alpha, 1 - alpha)
    outer_gradient = binary_cross_entropy_gradient(x, z, alpha, 1 - alpha)
    slope = adaptive_distillation_weight_slope(u, gamma) * binary_cross_entropy_gradient(x, z)
    return adaptive_distillation_weight(u, gamma) * outer_gradient + slope * outer


def released_layer(x, z, is_ignored, **options):
    """(loss, d loss / dx) of the whole layer: ignored anchors left out, divided by the normaliser.

    The normaliser is a constant of the teacher's, and sums over the ignored anchors too.
    """
    normalizer = teacher_power_normalizer(z)
    loss = np.where(is_ignored, 0.0, released_kernel(x, z, **options)).sum() / normalizer
    gradient = np.where(is_ignored, 0.0, released_kernel_gradient(x, z, **options)) / normalizer
    return loss, gradient


def teacher_power_normalizer(z, power=1.8):
    return max(1.0, (sigmoid(z) ** power).sum())


def learning_rate(iteration, *, base_lr, max_iter, warmup_iters, warmup_factor=1e-3):
    """Linear warm-up from warmup_factor * base_lr, then base_lr, divided by 10 at 70 % and 90 %.

    A drop acts from the first iteration (counted from 0) that is not below its share of max_iter;
    in integers, because 0.7 * 90000 is a little less than 63000.
    """
    if iteration < warmup_iters:
        progress = iteration / warmup_iters
        return base_lr * (warmup_factor * (1 - progress) + progress)
    drops = (10 * iteration >= 7 * max_iter) + (10 * iteration >= 9 * max_iter)
    return base_lr / 10**drops


def calibrate_threshold_brute_force(scores_per_image, target_mean):
    """The score at which keeping `score >= threshold` is nearest to target_mean instances an image.

    scores_per_image: one sequence of scores for every unlabelled image, also for those with none.
    Tries every score; of two equally near the higher wins. ValueError when there is no score.
    """
    scores = np.concatenate([np.asarray(s, dtype=np.float64) for s in scores_per_image])
    target_count = target_mean * len(scores_per_image)
    return min(sorted(scores, reverse=True), key=lambda t: abs((scores >= t).sum() - target_count))
