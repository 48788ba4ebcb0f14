"""Moments of a density known up to a factor, in one and two dimensions, by the trapezoidal rule.

In: the logarithm of a density, where it is looked for, and how wide it may be.  Out: the logarithm
of its integral, and its mean.  It is looked for within some widths, and further wherever it has not
fallen off there; what lies apart, beyond a gap in which there is nothing, is not found.  The box is
narrowed to what counts, and the grid refined until two that follow each other agree.  For analytic
densities that converges faster than any power of the spacing (L. N. Trefethen and J. A. C.
Weideman, SIAM Review 56 (2014)); what is narrower than the first spacing of the box may be missed.
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
#: How often a box is widened or narrowed, and at how many widths from the centre it ends at first.
BOXES, REACH = 60, 10.0
#: Points along an axis, by dimension: to look for the box, and the fewest and most of a grid.
LOOK, FIRST, MOST = {1: 4097, 2: 129}, {1: 4097, 2: 129}, {1: 1 << 19, 2: 1 << 11}
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
    low, high = _box(log_density, centre - REACH * width, centre + REACH * width)

    def on_grid(count: int) -> Array:
        log_mass, mean = _on_grid(log_density, low, high, count)
        return np.array([log_mass, *mean])

    values, errors = refined(on_grid, centre.size)
    return Moments(float(values[0]), values[1:], float(errors.max()))


def refined(on_grid: Callable[[int], Array], dimension: int) -> tuple[Array, Array]:
    """What grids come to, and how far the last two differ.

    Args:
        on_grid: by the number of points along an axis, some numbers `(k,)`.
        dimension: 1 or 2.

    Returns:
        The numbers of the last grid, and differences `(k,)`.
    """
    count = FIRST[dimension]
    last = on_grid(count)
    while True:
        count = 2 * count - 1
        now = on_grid(count)
        errors = abs(now - last)
        if errors.max() <= CLOSE * max(1.0, float(abs(now).max())) or 2 * count > MOST[dimension]:
            return now, errors
        last = now


def _box(log_density: Callable[[Array], Array], low: Array, high: Array) -> tuple[Array, Array]:
    """A box with all that counts around its middle, and not much more."""
    widest = FARTHEST * (high - low)
    look = LOOK[low.size]
    for _ in range(BOXES):
        if (high - low > widest).any():
            break
        points, shape = grid(low, high, look)
        values = log_density(points).reshape(shape)
        counts = values >= values.max() - DEEP
        size, spacing = high - low, (high - low) / (look - 1)
        new_low, new_high = low.copy(), high.copy()
        grows = False
        for axis in range(low.size):
            along = counts.any(axis=tuple(k for k in range(low.size) if k != axis))
            inside = np.flatnonzero(along)
            if along[0] or along[-1]:
                grows = True
                new_low[axis] -= size[axis] * along[0]
                new_high[axis] += size[axis] * along[-1]
            else:
                new_low[axis] = low[axis] + (inside[0] - 1) * spacing[axis]
                new_high[axis] = low[axis] + (inside[-1] + 1) * spacing[axis]
        settled = not grows and bool((new_high - new_low > 0.7 * size).all())
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
