"""Smoothed losses: local entropy, and the heat equation's.

With y = x + sqrt(s) xi, xi standard normal in d dimensions,

    f_gamma(x) = -log E exp(-beta f(y))/beta,  s = gamma/beta,
    grad f_gamma(x) = (x - <y>)/gamma,  <y> under exp(-beta (f(y) + |x - y|^2/(2 gamma))),

solves u_gamma + |grad u|^2/2 = lap u/(2 beta) from u = f (P. Chaudhari et al., Deep relaxation,
Res. Math. Sci. 5 (2018)); and the heat equation's is E f(y) with s = gamma.  Means are taken by
quadrature in one and two dimensions, and of samples above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hamilforge.runtime.core.numbers import positive_number, whole_number
from hamilforge.runtime.problems.densities import Array, grid, moments, refined

#: Dimensions above are sampled.
LARGEST = 2
SAMPLES = 100_000
#: For how many samples the loss is asked at once.
_BATCH = 1 << 16
#: Normal numbers further out count for nothing.
_HALF = 9.5
Loss = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Smoothed:
    """A smoothed loss at a point.

    Attributes:
        value: of the loss.
        gradient: of the loss, shaped as the point.
        error: of the value: how far the last two grids of the quadrature differ, or a standard
            error of samples.
        gradient_error: the largest of the gradient's entries, alike.
    """

    value: float
    gradient: Array
    error: float
    gradient_error: float


def local_entropy(
    f: Loss,
    x: Any,
    gamma: float,
    beta: float = 1.0,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Smoothed:
    """The local entropy of a loss and its gradient, which need no gradient of the loss.

    In one and two dimensions a valley beyond ten standard deviations of the smoothing, with nothing
    between that counts, is not seen, and neither is one that is much narrower than a thousandth, or
    in two dimensions a tenth, of it.

    Args:
        f: the loss, of points `(n, d)`; returns `(n,)`.
        x: where, `(d,)`, or a number for d = 1.
        gamma: positive; beta times the variance of the smoothing.
        beta: positive, the inverse temperature.
        samples: how many points are drawn for d > 2; half of them, and their mirror images.
        seed: of these.

    Returns:
        Value and gradient with their errors.

    Raises:
        ValueError: gamma or beta is not positive, the loss has another shape or no finite values,
            or it falls so fast that there is no integral.
    """
    point, shape = _point(x)
    gamma, beta = positive_number("gamma", gamma), positive_number("beta", beta)
    loss = _checked(f, may_be_infinite=True)
    if point.size > LARGEST:
        return _sampled(loss, point, shape, gamma, beta, samples, seed)

    def log_density(points: Array) -> Array:
        values: Array = -beta * (loss(points) + ((points - point) ** 2).sum(1) / (2 * gamma))
        return values

    known = moments(log_density, point, float(np.sqrt(gamma / beta)))
    value = -known.log_mass / beta + point.size * np.log(2 * np.pi * gamma / beta) / (2 * beta)
    gradient = ((point - known.mean) / gamma).reshape(shape)
    return Smoothed(float(value), gradient, known.error / beta, known.error / gamma)


def _sampled(
    loss: Loss,
    point: Array,
    shape: tuple[int, ...],
    gamma: float,
    beta: float,
    samples: int,
    seed: int,
) -> Smoothed:
    """Means of samples, with weights; errors by the delta method."""
    pairs = whole_number("samples", samples, least=4) // 2
    generator = np.random.default_rng(whole_number("seed", seed, least=0))
    steps = np.sqrt(gamma / beta) * generator.standard_normal((pairs, point.size))
    logs = np.stack(
        [
            np.concatenate(
                [
                    -beta * loss(point + sign * steps[k : k + _BATCH])
                    for k in range(0, pairs, _BATCH)
                ]
            )
            for sign in (1, -1)
        ]
    )
    top = logs.max()
    weights = np.exp(logs - top)
    mass = weights.mean(0)  # of each pair
    mean = mass.mean()
    moved = (weights[0] - weights[1])[:, None] * steps / 2
    drift = moved.mean(0) / mean
    rest = (moved - mass[:, None] * drift) / mean
    error = mass.std(ddof=1) / mean / np.sqrt(pairs) / beta
    gradient_error = rest.std(0, ddof=1).max() / np.sqrt(pairs) / gamma
    value = -(top + np.log(mean)) / beta
    gradient = (-drift / gamma).reshape(shape)
    return Smoothed(float(value), gradient, float(error), float(gradient_error))


def heat_smoothing(f: Loss, x: Any, gamma: float) -> Smoothed:
    """A loss smoothed by the heat equation u_gamma = lap u/2, and its gradient.

    E f(y) and E (y - x) f(y)/gamma with y normal around x with variance gamma, by quadrature.

    Args:
        f: the loss, of points `(n, d)`; returns `(n,)`.
        x: where, `(d,)` with d = 1 or 2, or a number for d = 1.
        gamma: positive, the variance.

    Returns:
        Value and gradient with their errors.

    Raises:
        ValueError: gamma is not positive, the point has more dimensions, or the loss has another
            shape or no finite values.
    """
    point, shape = _point(x)
    gamma = positive_number("gamma", gamma)
    loss = _checked(f)
    if point.size > LARGEST:
        raise ValueError(f"{point.size} dimensions; quadrature is for one and two")

    def on_grid(count: int) -> Array:
        unit, _ = grid(np.full(point.size, -_HALF), np.full(point.size, _HALF), count)
        weights = np.exp(-(unit**2).sum(1) / 2)
        weights /= weights.sum()
        values = weights * loss(point + np.sqrt(gamma) * unit)
        return np.array([values.sum(), *(values @ unit / np.sqrt(gamma))])

    now, errors = refined(on_grid, point.size)
    gradient = now[1:].reshape(shape)
    return Smoothed(float(now[0]), gradient, float(errors[0]), float(errors[1:].max()))


def _point(x: Any) -> tuple[Array, tuple[int, ...]]:
    """A point as a vector, and the shape it came in."""
    array = np.asarray(x, np.float64)
    if array.ndim > 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"x has the shape {array.shape}; a finite vector or number was expected")
    return array.reshape(-1), array.shape


def _checked(f: Loss, may_be_infinite: bool = False) -> Loss:
    """A loss whose values are looked at; where it is infinite, nobody is."""

    def loss(points: Array) -> Array:
        values = np.asarray(f(points), np.float64)
        if values.shape != points.shape[:1]:
            raise ValueError(
                f"the loss of points {points.shape} has the shape {values.shape}; "
                f"({len(points)},) was expected, a number for each point"
            )
        fine = values > -np.inf if may_be_infinite else np.isfinite(values)
        if not fine.all():
            raise ValueError("the loss is not finite at a point where it is needed")
        return values

    return loss
