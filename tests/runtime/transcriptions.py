"""The methods again, by hand: plain NumPy, from the papers, one position after each step.

Each scheme maps a gradient, a start and hyper-parameters to positions q_1, q_2, ... of shape
`(steps, d)`.  Nothing here looks at a declaration or at generated code.  The mass is 1 throughout.

References:
    G. Franca, J. Sulam, D. P. Robinson, R. Vidal, arXiv:1903.04100 (friction, leapfrog, RGD).
    C. J. Maddison et al., arXiv:1809.05042 (power kinetic energy, explicit schemes).
    A. Bhatt, D. Floyd, B. E. Moore, doi:10.1007/s10915-015-0062-z (conformal Verlet).
    H. Yoshida, doi:10.1016/0375-9601(90)90092-3; S. Blanes, P. C. Moan,
    doi:10.1016/S0377-0427(01)00492-7; R. I. McLachlan, doi:10.1137/0916010 (compositions).
    W. Su, S. Boyd, E. J. Candes, arXiv:1503.01243 (Nesterov with 3/t and (n - 1)/(n + 2)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, sqrt

import numpy as np

from .problems import Gradient, Vector

Velocity = Callable[[Vector], Vector]
Letters = Sequence[tuple[str, float]]


def classical(p: Vector) -> Vector:
    """The velocity of K = |p|^2/2."""
    return p


def relativistic(kappa: float) -> Velocity:
    """The velocity of K = (sqrt(1 + kappa |p|^2) - 1)/kappa, kappa = 1/c^2."""
    return lambda p: p / sqrt(1 + kappa * float(p @ p))


def relativistic_by_coordinate(kappa: float) -> Velocity:
    """The velocity of the sum of (sqrt(1 + kappa p_i^2) - 1)/kappa."""
    return lambda p: p / np.sqrt(1 + kappa * p * p)


def power(a: float, big_a: float) -> Velocity:
    """The velocity of K = ((|p|^a + 1)^(A/a) - 1)/A."""

    def velocity(p: Vector) -> Vector:
        r = float(np.linalg.norm(p))
        if r == 0:
            return np.zeros_like(p)
        return p * (r ** (a - 2) * (r**a + 1) ** (big_a / a - 1))

    return velocity


def compose(
    letters: Letters,
    velocity: Velocity,
    gamma: float,
    h: float,
    gradient: Gradient,
    q: Vector,
    n: int,
) -> Vector:
    """Exact flows in turn: A drifts, B kicks, D is friction, BD kicks under friction."""
    q, p = q.copy(), np.zeros_like(q)
    found = []
    for _ in range(n):
        for letter, weight in letters:
            s = weight * h
            fade = np.exp(-gamma * s)
            if letter == "A":
                q = q + s * velocity(p)
            elif letter == "B":
                p = p - s * gradient(q)
            elif letter == "D":
                p = fade * p
            else:
                p = fade * p - (1 - fade) / gamma * gradient(q)
        found.append(q)
    return np.array(found)


EULER = (("D", 1.0), ("B", 1.0), ("A", 1.0))
LEAPFROG = (("D", 0.5), ("A", 0.5), ("B", 1.0), ("A", 0.5), ("D", 0.5))
VERLET = (("D", 0.5), ("B", 0.5), ("A", 1.0), ("B", 0.5), ("D", 0.5))
BADAB = (("B", 0.5), ("A", 0.5), ("D", 1.0), ("A", 0.5), ("B", 0.5))


def yoshida_letters() -> Letters:
    """Three leapfrogs with the weights w1, w0, w1."""
    w1 = 1 / (2 - 2 ** (1 / 3))
    return [(letter, w * weight) for w in (w1, 1 - 2 * w1, w1) for letter, weight in LEAPFROG]


def blanes_moan_letters() -> Letters:
    """The six-stage method of order 4; the gradients are kicks under friction."""
    a = [0.0792036964311957, 0.353172906049774, -0.0420650803577195]
    b = [0.209515106613362, -0.143851773179818]
    a4, b3 = 1 - 2 * sum(a), 0.5 - sum(b)
    drifts = [*a, a4, *reversed(a)]
    kicks = [*b, b3, b3, *reversed(b)]
    letters: list[tuple[str, float]] = [("A", drifts[0])]
    for kick, drift in zip(kicks, drifts[1:], strict=True):
        letters += [("BD", kick), ("A", drift)]
    return letters


def mclachlan_letters() -> Letters:
    """The two-stage method of order 2 with the smallest error constant."""
    a = 0.1931833275037836
    return [("A", a), ("BD", 0.5), ("A", 1 - 2 * a), ("BD", 0.5), ("A", a)]


def _classical_composition(letters: Letters, lr_of_h_squared: float = 1.0) -> Callable[..., Vector]:
    def scheme(gradient: Gradient, q: Vector, n: int, lr: float, momentum: float) -> Vector:
        h = sqrt(lr_of_h_squared * lr)
        return compose(letters, classical, -log(momentum) / h, h, gradient, q, n)

    return scheme


def _with_step(letters: Letters, velocity: Velocity) -> Callable[..., Vector]:
    def scheme(gradient: Gradient, q: Vector, n: int, lr: float, momentum: float) -> Vector:
        return compose(letters, velocity, -log(momentum) / lr, lr, gradient, q, n)

    return scheme


def heavy_ball(gradient: Gradient, q: Vector, n: int, lr: float, momentum: float) -> Vector:
    """v <- mu v - eps grad f(q), q <- q + v."""
    v, found = np.zeros_like(q), []
    for _ in range(n):
        v = momentum * v - lr * gradient(q)
        q = q + v
        found.append(q)
    return np.array(found)


def torch_buffer(gradient: Gradient, q: Vector, n: int, lr: float, momentum: float) -> Vector:
    """b <- mu b + grad f(q), q <- q - lr b."""
    b, found = np.zeros_like(q), []
    for _ in range(n):
        b = momentum * b + gradient(q)
        q = q - lr * b
        found.append(q)
    return np.array(found)


def nesterov(gradient: Gradient, q: Vector, n: int, lr: float, momentum: float) -> Vector:
    """v <- mu v - eps grad f(q + mu v), q <- q + v."""
    v, found = np.zeros_like(q), []
    for _ in range(n):
        v = momentum * v - lr * gradient(q + momentum * v)
        q = q + v
        found.append(q)
    return np.array(found)


def nesterov_vanishing(gradient: Gradient, q: Vector, n: int, lr: float) -> Vector:
    """Nesterov's with mu = (t/(t + h))^3, the exact factor of the friction 3/t from t = 1."""
    h, v, found = sqrt(lr), np.zeros_like(q), []
    for step in range(n):
        t = 1 + step * h
        mu = (t / (t + h)) ** 3
        v = mu * v - lr * gradient(q + mu * v)
        q = q + v
        found.append(q)
    return np.array(found)


def nesterov_sequence(gradient: Gradient, q: Vector, n: int, lr: float) -> Vector:
    """x_k = y_{k-1} - s grad f(y_{k-1}), y_k = x_k + (k - 1)/(k + 2) (x_k - x_{k-1}).

    In Su, Boyd and Candes' numbering y_0 = x_0, so the step number n uses (n - 1)/(n + 2)
    between x_{n-1} and x_{n-2}: nothing at n = 1, where there is no earlier point.
    """
    x_before, x, found = q, q, []
    for number in range(1, n + 1):
        y = x + (number - 1) / (number + 2) * (x - x_before)
        x_before, x = x, y - lr * gradient(y)
        found.append(x)
    return np.array(found)


def rgd(
    gradient: Gradient,
    q: Vector,
    n: int,
    lr: float,
    momentum: float,
    delta: float,
    alpha: float = 1.0,
) -> Vector:
    """Relativistic gradient descent as its authors write it."""
    x, v, root, found = q, np.zeros_like(q), sqrt(momentum), []
    for _ in range(n):
        half = x + root * v / sqrt(1 + momentum * delta * float(v @ v))
        v = root * v - lr * gradient(half)
        x = alpha * half + (1 - alpha) * x + v / sqrt(1 + delta * float(v @ v))
        v = root * v
        found.append(x)
    return np.array(found)


def rgd_euler(
    gradient: Gradient, q: Vector, n: int, lr: float, momentum: float, delta: float
) -> Vector:
    """Friction, kick, relativistic drift, with c = 1/(sqrt(delta) h)."""
    h = sqrt(lr)
    return compose(EULER, relativistic(delta * h * h), -log(momentum) / h, h, gradient, q, n)


def relativistic_coordinate(
    gradient: Gradient, q: Vector, n: int, lr: float, momentum: float, delta: float
) -> Vector:
    """Conformal leapfrog with a speed limit c = 2/(sqrt(delta) h) in each coordinate."""
    h = sqrt(2 * lr)
    velocity = relativistic_by_coordinate(delta * h * h / 4)
    return compose(LEAPFROG, velocity, -log(momentum) / h, h, gradient, q, n)


def heavy_ball_implicit(
    gradient: Gradient, q: Vector, n: int, lr: float, momentum: float
) -> Vector:
    """p <- (p - h grad f(q))/(1 + gamma h), q <- q + h p, with 1/(1 + gamma h) = mu."""
    h = sqrt(lr / momentum)
    gamma = (1 / momentum - 1) / h
    return maddison_first(gradient, q, n, h, gamma, velocity=classical)


def maddison_first(
    gradient: Gradient,
    q: Vector,
    n: int,
    lr: float,
    gamma: float,
    a: float = 2.0,
    A: float = 1.0,
    velocity: Velocity | None = None,
) -> Vector:
    """p <- (p - h grad f(q))/(1 + gamma h), q <- q + h grad K(p)."""
    speed, p, found = velocity or power(a, A), np.zeros_like(q), []
    for _ in range(n):
        p = (p - lr * gradient(q)) / (1 + gamma * lr)
        q = q + lr * speed(p)
        found.append(q)
    return np.array(found)


def maddison_second(
    gradient: Gradient, q: Vector, n: int, lr: float, gamma: float, a: float = 2.0, A: float = 1.0
) -> Vector:
    """q <- q + h grad K(p), p <- (1 - gamma h) p - h grad f(q)."""
    speed, p, found = power(a, A), np.zeros_like(q), []
    for _ in range(n):
        q = q + lr * speed(p)
        p = (1 - gamma * lr) * p - lr * gradient(q)
        found.append(q)
    return np.array(found)


SCHEMES: dict[str, Callable[..., Vector]] = {
    "heavy ball": heavy_ball,
    "D B A": _classical_composition(EULER),
    "A B D": _classical_composition(tuple(reversed(EULER))),
    "D/2 A/2 B A/2 D/2": _classical_composition(LEAPFROG, 2.0),
    "D/2 B/2 A B/2 D/2": _classical_composition(VERLET),
    "B/2 A/2 D A/2 B/2": _classical_composition(BADAB),
    "three leapfrogs": _classical_composition(yoshida_letters()),
    "six stages": _classical_composition(blanes_moan_letters()),
    "two stages": _classical_composition(mclachlan_letters()),
    "leapfrog with log cosh": _with_step(LEAPFROG, np.tanh),
    "leapfrog with quartic": _with_step(LEAPFROG, lambda p: float(p @ p) * p),
    "torch's buffer": torch_buffer,
    "Nesterov": nesterov,
    "Nesterov with 3/t": nesterov_vanishing,
    "Nesterov with (n - 1)/(n + 2)": nesterov_sequence,
    "relativistic leapfrog": rgd,
    "relativistic Euler": rgd_euler,
    "relativistic leapfrog by coordinate": relativistic_coordinate,
    "implicit friction": heavy_ball_implicit,
    "Maddison's first": maddison_first,
    "Maddison's second": maddison_second,
}
