"""Published rules again, by hand: plain NumPy in float64, from the papers and their authors' code.

A rule maps the points (a list of arrays), a gradient (a function of such a list), what it keeps of
each array (dictionaries, empty before the first step), the step's number from 1 and the
hyper-parameters to the points after the step.  Nothing here looks at a declaration or at generated
code.  Where a paper and the code of its authors differ, the rule says which of the two it is.  The
defaults are the published ones; what has none there has none here.

References:
    L. Bottou, https://leon.bottou.org/projects/sgd (ASGD); B. T. Polyak and A. B. Juditsky,
    doi:10.1137/0330046.
    M. Riedmiller and H. Braun, doi:10.1109/ICNN.1993.298623; C. Igel and M. Hüsken,
    doi:10.1016/S0925-2312(01)00700-7 (the variants of Rprop).
    M. Zaheer et al., NeurIPS 2018 (Yogi); J. Zhuang et al., arXiv:2010.07468 (AdaBelief); X. Xie et
    al., arXiv:2208.06677 (Adan); M. Pagliardini et al., arXiv:2409.03137 (AdEMAMix); J. Bernstein
    et al., arXiv:1802.04434 (Signum); Y. You et al., arXiv:1904.00962 (LAMB) and arXiv:1708.03888
    (LARS); P. Foret et al., arXiv:2010.01412 (SAM); A. Defazio et al., arXiv:2405.15682
    (schedule-free); X. Chen et al., arXiv:2302.06675 (Lion); T. Dozat, ICLR workshop 2016 (NAdam);
    L. Liu et al., arXiv:1908.03265 (RAdam); S. J. Reddi et al., arXiv:1904.09237 (AMSGrad); D. P.
    Kingma and J. L. Ba, arXiv:1412.6980, section 7.1 (Adamax).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Arrays = list[Array]
Gradient = Callable[[Arrays], Arrays]
Kept = dict[str, Any]
Rule = Callable[..., Arrays]
Betas = Sequence[float]


def by_tensor(step: Callable[..., Array]) -> Rule:
    """A rule that treats each array alone, from what it does with one."""

    @functools.wraps(step)
    def rule(theta: Arrays, gradient: Gradient, kept: list[Kept], n: int, **hyper: Any) -> Arrays:
        slopes = gradient(theta)
        return [step(x, g, own, n, **hyper) for x, g, own in zip(theta, slopes, kept, strict=True)]

    return rule


def norm(x: Array) -> float:
    """The Euclidean norm of all entries."""
    return sqrt(float(np.sum(x * x)))


def averaged(own: Kept, name: str, beta: float, x: Array) -> Array:
    """An average from zero that forgets: a <- beta a + (1 - beta) x."""
    own[name] = beta * own.get(name, np.zeros_like(x)) + (1 - beta) * x
    return np.asarray(own[name])


@by_tensor
def asgd(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
) -> Array:
    """Bottou's averaged stochastic gradient descent; the rate as torch keeps it.

    With t = n - 1 Bottou's code takes eta = lr/(1 + lambd lr t)^alpha and mu = 1/(1 + t - t0) where
    t > t0, else 1.  Torch computes both at the end of the step before: for the rate the same where
    lr is constant, for the average a step later.
    """
    eta: float = own.get("eta", lr)
    theta = (1 - lambd * eta) * theta - eta * (g + weight_decay * theta)
    t = n - 1
    mu = 1 / max(1.0, t - t0)
    average = own.get("average", np.zeros_like(theta))
    own["average"] = theta if mu == 1 else average + mu * (theta - average)
    own["eta"] = lr / (1 + lambd * lr * n) ** alpha
    return theta


@by_tensor
def rprop(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-2,
    etas: Betas = (0.5, 1.2),
    step_sizes: Betas = (1e-6, 50.0),
) -> Array:
    """The variant that Igel and Hüsken call iRprop-, which is torch's.

    After a change of sign the paper of 1993 takes the last step back; here nothing is done.
    """
    previous: Array = own.get("previous", np.zeros_like(theta))
    size: Array = own.get("size", np.full_like(theta, lr))
    own["signs of"] = [g * previous, g]
    change = np.sign(g * previous)
    size = np.where(change > 0, size * etas[1], np.where(change < 0, size * etas[0], size))
    size = own["size"] = np.minimum(np.maximum(size, step_sizes[0]), step_sizes[1])
    g = own["previous"] = np.where(change < 0, 0.0, g)
    return theta - np.sign(g) * size


@by_tensor
def yogi(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-2,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-3,
    initial_accumulator: float = 1e-6,
) -> Array:
    """Algorithm 2 of the paper, without corrections of the averages.

    The paper lets v begin at squared gradients of the first point; that both averages begin at the
    same small number is what optax does.
    """
    beta1, beta2 = betas
    m: Array = own.get("m", np.full_like(theta, initial_accumulator))
    v: Array = own.get("v", np.full_like(theta, initial_accumulator))
    own["signs of"] = [v - g**2]
    m = own["m"] = beta1 * m + (1 - beta1) * g
    v = own["v"] = v - (1 - beta2) * np.sign(v - g**2) * g**2
    return theta - lr * m / (np.sqrt(v) + eps)


@by_tensor
def adabelief(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-16,
    weight_decay: float = 0.0,
) -> Array:
    """Algorithm 2 of the paper, with the eps that stays in s; the authors' code unrectified.

    The decay is the authors' default, which is decoupled.
    """
    beta1, beta2 = betas
    theta = theta * (1 - lr * weight_decay)
    m = averaged(own, "m", beta1, g)
    s = own["s"] = averaged(own, "s", beta2, (g - m) ** 2) + eps
    return theta - lr * (m / (1 - beta1**n)) / (np.sqrt(s / (1 - beta2**n)) + eps)


@by_tensor
def adan(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-3,
    betas: Betas = (0.98, 0.92, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Array:
    """The authors' code, whose betas are one less the paper's.

    The paper has no corrections, and lets m and n begin at g and g^2 instead.
    """
    beta1, beta2, beta3 = betas
    difference = g - own.get("g", g)
    own["g"] = g.copy()
    m = averaged(own, "m", beta1, g) / (1 - beta1**n)
    v = averaged(own, "v", beta2, difference) / (1 - beta2**n)
    square = averaged(own, "n", beta3, (g + beta2 * difference) ** 2) / (1 - beta3**n)
    step = lr / (np.sqrt(square) + eps)
    return (theta - step * (m + beta2 * v)) / (1 + lr * weight_decay)


@by_tensor
def ademamix(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-3,
    betas: Betas = (0.9, 0.999, 0.9999),
    alpha: float = 5.0,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Array:
    """Algorithm 1 of the paper without its schedules of alpha and beta3."""
    beta1, beta2, beta3 = betas
    fast = averaged(own, "m1", beta1, g) / (1 - beta1**n)
    slow = averaged(own, "m2", beta3, g)
    root = np.sqrt(averaged(own, "v", beta2, g**2) / (1 - beta2**n))
    return theta - lr * ((fast + alpha * slow) / (root + eps) + weight_decay * theta)


@by_tensor
def signum(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Array:
    """Algorithm 2 of the paper; the decay is the one that MXNet calls wd, in the gradient."""
    m = averaged(own, "m", momentum, g + weight_decay * theta)
    own["signs of"] = [m]
    return theta - lr * np.sign(m)


@by_tensor
def lamb(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.0,
) -> Array:
    """Algorithm 2 of the paper with phi(z) = z; a ratio to zero or of zero is 1, as in the code."""
    beta1, beta2 = betas
    m = averaged(own, "m", beta1, g) / (1 - beta1**n)
    v = averaged(own, "v", beta2, g**2) / (1 - beta2**n)
    direction = m / (np.sqrt(v) + eps) + weight_decay * theta
    sizes = norm(theta), norm(direction)
    ratio = sizes[0] / sizes[1] if sizes[0] > 0 and sizes[1] > 0 else 1.0
    return theta - lr * ratio * direction


@by_tensor
def lars(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float,
    momentum: float = 0.9,
    trust_coefficient: float = 1e-3,
    weight_decay: float = 0.0,
) -> Array:
    """Algorithm 1 of the paper; a rate of zero or over zero is 1, as in TensorFlow's."""
    sizes = norm(theta), norm(g)
    local = 1.0
    if sizes[0] > 0 and sizes[1] > 0:
        local = trust_coefficient * sizes[0] / (sizes[1] + weight_decay * sizes[0])
    v: Array = own.get("v", np.zeros_like(theta))
    v = own["v"] = momentum * v + lr * local * (g + weight_decay * theta)
    return theta - v


def sam(
    theta: Arrays,
    gradient: Gradient,
    kept: list[Kept],
    n: int,
    *,
    lr: float,
    momentum: float = 0.9,
    rho: float = 0.05,
    weight_decay: float = 0.0,
) -> Arrays:
    """The paper's equation 2 with p = 2, over all arrays, followed by momentum as torch's SGD.

    The 1e-12 is that of https://github.com/davda54/sam.  The decay is in the gradient of the
    descent, at its point.  The authors' code decays in both gradients, and the other in neither: it
    adds the decay at the point before the ascent.
    """
    slopes = gradient(theta)
    length = sqrt(sum(float(np.sum(g * g)) for g in slopes))
    climbed = [x + rho * g / (length + 1e-12) for x, g in zip(theta, slopes, strict=True)]
    found = []
    for x, y, g, own in zip(theta, climbed, gradient(climbed), kept, strict=True):
        own["v"] = momentum * own.get("v", np.zeros_like(x)) + g + weight_decay * y
        found.append(x - lr * own["v"])
    return found


def _weight_of_average(own: Kept, lr: float) -> float:
    """The weight c of a new iterate: the squared largest rate so far over the sum of all such."""
    own["largest"] = max(lr, own.get("largest", -1.0))
    weight = own["largest"] ** 2
    own["sum"] = own.get("sum", 0.0) + weight
    return float(weight / own["sum"]) if own["sum"] else 0.0


@by_tensor
def schedule_free_sgd(
    y: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1.0,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Array:
    """The authors' code, which keeps z beside y; the average x is ``own["x"]``."""
    z, c = own.get("z", y), _weight_of_average(own, lr)
    g = g + weight_decay * y
    y = y + c * (z - y) + lr * (momentum * (1 - c) - 1) * g
    own["z"] = z - lr * g
    own["x"] = y + (1 - 1 / momentum) * (own["z"] - y)
    return y


@by_tensor
def schedule_free_adamw(
    y: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 2.5e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Array:
    """The authors' code, which keeps z beside y; the average x is ``own["x"]``.

    In the experiments of the paper the rate had the factor sqrt(1 - beta2^n) and v no correction.
    """
    beta1, beta2 = betas
    z, c = own.get("z", y), _weight_of_average(own, lr)
    v = averaged(own, "v", beta2, g**2) / (1 - beta2**n)
    direction = g / (np.sqrt(v) + eps) + weight_decay * y
    y = y + c * (z - y) + lr * (beta1 * (1 - c) - 1) * direction
    own["z"] = z - lr * direction
    own["x"] = y + (1 - 1 / beta1) * (own["z"] - y)
    return y


@by_tensor
def schedule_free_in_three(
    y: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float,
    betas: Betas,
    weight_decay: float,
    eps: float | None = None,
) -> Array:
    """The paper's equations, with all of x, y and z; without eps that of gradient descent.

    z <- z - lr d, x <- (1 - c) x + c z with c = lr^2/(the sum of all lr^2), y <- (1 - beta) z +
    beta x, where d is the gradient, or that of Adam, and the decay at y.
    """
    x, z = own.get("x", y), own.get("z", y)
    own["sum"] = own.get("sum", 0.0) + lr**2
    c = lr**2 / own["sum"]
    if eps is None:
        direction = g
    else:
        v = averaged(own, "v", betas[1], g**2)
        direction = g / (np.sqrt(v / (1 - betas[1] ** n)) + eps)
    own["z"] = z - lr * (direction + weight_decay * y)
    own["x"] = (1 - c) * x + c * own["z"]
    return np.asarray((1 - betas[0]) * own["z"] + betas[0] * own["x"])


@by_tensor
def lion(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-4,
    betas: Betas = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> Array:
    """Program 1 of the paper: the step from the average before this gradient enters it."""
    beta1, beta2 = betas
    m: Array = own.get("m", np.zeros_like(theta))
    c = beta1 * m + (1 - beta1) * g
    own["signs of"] = [c]
    averaged(own, "m", beta2, g)
    return theta - lr * (np.sign(c) + weight_decay * theta)


@by_tensor
def nadam(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
    weight_decay: float = 0.0,
) -> Array:
    """Dozat's algorithm as torch and Keras have it.

    The paper's average m forgets by mu_t, not by beta1, and its corrected square has a factor
    beta2.
    """
    beta1, beta2 = betas
    g = g + weight_decay * theta
    mu = beta1 * (1 - 0.5 * 0.96 ** (n * momentum_decay))
    following = beta1 * (1 - 0.5 * 0.96 ** ((n + 1) * momentum_decay))
    product: float = own.get("product", 1.0) * mu
    own["product"] = product
    m = averaged(own, "m", beta1, g)
    v = averaged(own, "v", beta2, g**2) / (1 - beta2**n)
    ahead: Array = following * m / (1 - product * following) + (1 - mu) * g / (1 - product)
    return theta - lr * ahead / (np.sqrt(v) + eps)


@by_tensor
def radam(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Array:
    """Algorithm 2 of the paper with the authors' threshold of 5, where the paper has 4; torch's L2.

    Below the threshold the step is that of momentum (``degenerated_to_sgd`` in the authors' code).
    """
    beta1, beta2 = betas
    g = g + weight_decay * theta
    m = averaged(own, "m", beta1, g) / (1 - beta1**n)
    v = averaged(own, "v", beta2, g**2)
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * n * beta2**n / (1 - beta2**n)
    if length < 5:
        return theta - lr * m
    rest = (length - 4) / (longest - 4) * (length - 2) / (longest - 2) * longest / length
    return theta - lr * sqrt(rest) * m * (sqrt(1 - beta2**n) / (np.sqrt(v) + eps))


@by_tensor
def amsgrad(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Array:
    """The paper's largest average, with the corrections and the eps that torch adds."""
    beta1, beta2 = betas
    g = g + weight_decay * theta
    m = averaged(own, "m", beta1, g) / (1 - beta1**n)
    v = averaged(own, "v", beta2, g**2)
    largest = own["largest"] = np.maximum(own.get("largest", np.zeros_like(v)), v)
    return theta - lr * m / (np.sqrt(largest / (1 - beta2**n)) + eps)


@by_tensor
def adamax(
    theta: Array,
    g: Array,
    own: Kept,
    n: int,
    *,
    lr: float = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Array:
    """Algorithm 2 of the paper, which has no eps; torch's is added to the gradient's size."""
    beta1, beta2 = betas
    g = g + weight_decay * theta
    m = averaged(own, "m", beta1, g)
    u: Array = own.get("u", np.zeros_like(theta))
    u = own["u"] = np.maximum(beta2 * u, abs(g) + eps)
    return theta - lr / (1 - beta1**n) * m / u
