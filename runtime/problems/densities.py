"""Moments of a density known up to a factor, in one and two dimensions, by the trapezoidal rule.

In: the logarithm of a density that falls off in all directions, where it is looked for first, and
how wide it may be.  Out: the logarithm of its integral, and its mean.  The box is widened until
nothing that counts lies outside, then narrowed to what counts; the grid is refined until both agree
with those of the grid before.  For analytic densities that converges faster than any power of the
spacing (L. N. Trefethen and J. A. C. Weideman, SIAM Review 56 (2014)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Logarithms that are so much below the largest count for nothing.
DEEP = 44.0
#: How often a box is widened or narrowed, and nodes along an axis: at first, and by dimension most.
BOXES, FIRST, MOST = 60, 65, {1: 1 << 18, 2: 1 << 11}
#: How much wider than at first a box may become.
FARTHEST = 1e8
#: How far two grids may differ in the end.
CLOSE = 2e-14


@dataclass(frozen=True, slots=True)
class Moments:
    """What a density comes to.

    Attributes:
        log_mass: the logarithm of its integral.
        mean: its mean, `(d,)`.
        error: how far the last two grids differ, in the logarithm and in the mean.
    """

    log_mass: float
    mean: Array
    error: float


def moments(log_density: Callable[[Array], Array], centre: Array, width: float) -> Moments:
    """Integral and mean of a density.

    Args:
        log_density: of points `(n, d)`, with d = 1 or 2: their logarithms `(n,)`.
        centre: where it is looked for first, `(d,)`.
        width: about how wide it is.

    Returns:
        They, and how far the last two grids differ.

    Raises:
        ValueError: it does not fall off.
    """
    low, high = _box(log_density, centre - 8 * width, centre + 8 * width)
    count = FIRST
    last = _on_grid(log_density, low, high, count)
    while True:
        count = 2 * count - 1
        log_mass, mean = _on_grid(log_density, low, high, count)
        error = max(abs(log_mass - last[0]), float(abs(mean - last[1]).max()))
        if error <= CLOSE * max(1.0, abs(log_mass), float(abs(mean).max())):
            break
        if 2 * count > MOST[centre.size]:
            break
        last = log_mass, mean
    return Moments(log_mass, mean, error)


def _box(log_density: Callable[[Array], Array], low: Array, high: Array) -> tuple[Array, Array]:
    """A box with all that counts, and not much more."""
    widest = FARTHEST * (high - low)
    for _ in range(BOXES):
        if (high - low > widest).any():
            break
        points, shape = grid(low, high, FIRST)
        values = log_density(points).reshape(shape)
        counts = values >= values.max() - DEEP
        spacing = (high - low) / (FIRST - 1)
        wider, narrower = [*low], [*high]
        grows = False
        for axis in range(low.size):
            along = counts.any(axis=tuple(k for k in range(low.size) if k != axis))
            inside = np.flatnonzero(along)
            size = high[axis] - low[axis]
            if along[0] or along[-1]:
                grows = True
                wider[axis] = low[axis] - size * along[0]
                narrower[axis] = high[axis] + size * along[-1]
            else:
                wider[axis] = low[axis] + (inside[0] - 1) * spacing[axis]
                narrower[axis] = low[axis] + (inside[-1] + 1) * spacing[axis]
        new_low, new_high = np.array(wider), np.array(narrower)
        settled = not grows and bool((new_high - new_low > 0.7 * (high - low)).all())
        low, high = new_low, new_high
        if settled:
            return low, high
    raise ValueError("the density does not fall off: the loss is not bounded below fast enough")


def grid(low: Array, high: Array, count: int) -> tuple[Array, tuple[int, ...]]:
    """A grid over a box.

    Args:
        low: a corner, `(d,)`.
        high: the opposite one.
        count: points along each axis.

    Returns:
        Its points `(n, d)`, and its shape.
    """
    axes = [np.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
    mesh = np.meshgrid(*axes, indexing="ij")
    return np.stack([part.ravel() for part in mesh], axis=-1), mesh[0].shape


def _on_grid(
    log_density: Callable[[Array], Array], low: Array, high: Array, count: int
) -> tuple[float, Array]:
    """The logarithm of the integral, and the mean; what lies at the ends counts for nothing."""
    points, _ = grid(low, high, count)
    values = log_density(points)
    top = float(values.max())
    weights = np.exp(values - top)
    mass = float(weights.sum())
    cell = float(np.prod((high - low) / (count - 1)))
    centre = points[int(values.argmax())]
    mean: Any = centre + weights @ (points - centre) / mass
    return top + float(np.log(mass * cell)), mean
