"""How long noise takes over a barrier: Kramers' formula, and what is exact in one dimension.

dx = -grad f(x) dt + sqrt(2/beta) dW,    x <- x - h f'(x) + sqrt(2 h/beta) xi  (sgld).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.integrate import cumulative_simpson, simpson

from hamilforge.runtime.core.numbers import positive_number
from hamilforge.runtime.problems.densities import DEEP, Array

Function = Callable[[Any], Any]
#: Points of the double integral; nodes in a panel of two standard deviations of a step.
_POINTS, _NODES = 40_001, 18
#: Steps of differences, relative to the size of a point: near the sixth root of rounding.
_DIFFERENCE = 2e-3


def kramers_time(
    f: Function, minimum: Any, saddle: Any, beta: float, *, hess: Function | None = None
) -> float:
    """Kramers' formula for the mean time from a minimum over a saddle to the one beyond.

    ``2 pi/|l| sqrt(|det H(saddle)|/det H(minimum)) exp(beta (f(saddle) - f(minimum)))``, H the
    second derivatives and l the negative eigenvalue at the saddle.  The ratio of the mean time to
    it tends to 1 as beta grows (H. A. Kramers, Physica 7 (1940); A. Bovier et al., J. Eur. Math.
    Soc. 6 (2004)).

    Args:
        f: the loss, of points `(n, d)`; returns `(n,)`.
        minimum: `(d,)`, or a number for d = 1.
        saddle: alike.
        beta: positive, the inverse temperature.
        hess: the second derivatives at a point `(d,)`, `(d, d)`; by differences if None.

    Returns:
        The time.

    Raises:
        ValueError: the minimum has a direction that does not rise, or the saddle not exactly one
            that falls.
    """
    beta = positive_number("beta", beta)
    ends = [np.atleast_1d(np.asarray(point, np.float64)) for point in (minimum, saddle)]
    curvatures = [
        _second(f, point) if hess is None else np.atleast_2d(np.asarray(hess(point), np.float64))
        for point in ends
    ]
    low, high = (np.linalg.eigvalsh(matrix) for matrix in curvatures)
    if low.min() <= 0:
        raise ValueError(f"the loss does not rise in all directions from {minimum}")
    if (high < 0).sum() != 1 or not high.all():
        raise ValueError(f"at {saddle} {int((high < 0).sum())} directions fall; one was expected")
    bottom, top = (float(np.asarray(f(point[None, :])).item()) for point in ends)
    ratio = np.sqrt(abs(high.prod()) / low.prod())
    return float(2 * np.pi / abs(high.min()) * ratio * np.exp(beta * (top - bottom)))


def mean_passage_time(f: Function, start: float, end: float, beta: float) -> float:
    """The mean time of the stochastic equation from one point until it first passes another.

    ``beta int_start^end exp(beta f(y)) int_-oo^y exp(-beta f(z)) dz dy`` for start < end, mirrored
    otherwise (C. W. Gardiner, Handbook of stochastic methods, 5.2.7); by Simpson's rule.

    Args:
        f: the loss, of points `(n, 1)`; returns `(n,)`.
        start: where it begins.
        end: what it passes.
        beta: positive, the inverse temperature.

    Returns:
        The time.

    Raises:
        ValueError: the loss does not rise behind the start.
    """
    beta = positive_number("beta", beta)
    height, _, span, far = _path(f, start, end, beta)
    s = np.linspace(-far, span, _POINTS)
    values = height(s)
    low = float(values.min())
    inner = cumulative_simpson(np.exp(-beta * (values - low)), x=s, initial=0.0)
    inside = s >= 0
    # the start is made a point of the grid of the outer integral
    grid = np.linspace(0.0, span, _POINTS)
    top = float(values[inside].max())
    outer = np.exp(beta * (height(grid) - top)) * np.interp(grid, s, inner)
    return float(beta * np.exp(beta * (top - low)) * simpson(outer, x=grid))


def sgld_passage_time(
    f: Function, slope: Function, start: float, end: float, beta: float, h: float
) -> float:
    """The mean time, h times the mean number of steps, until steps of sgld first pass a point.

    T = h + P T on the points not yet past the end, P the normal density of a step, on the nodes of
    Gauss and Legendre, in panels two standard deviations wide.

    Args:
        f: the loss, of points `(n, 1)`; returns `(n,)`: it says how far behind the start counts.
        slope: its derivative, of points `(n,)`.
        start: where it begins.
        end: what it passes.
        beta: positive, the inverse temperature.
        h: positive, the step.

    Returns:
        The time.

    Raises:
        ValueError: the loss does not rise behind the start.
    """
    beta, h = positive_number("beta", beta), positive_number("h", h)
    _, sign, span, far = _path(f, start, end, beta)
    deviation = np.sqrt(2 * h / beta)
    panels = int(np.ceil((far + span) / (2 * deviation)))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    ends = np.linspace(-far, span, panels + 1)[:-1]
    size = (far + span) / panels
    s = (ends[:, None] + (nodes + 1) * size / 2).ravel()
    weights = np.tile(weights * size / 2, panels)

    def moved(s: Array) -> Array:
        return s - h * sign * np.asarray(slope(start + sign * s), np.float64)

    def density(here: Array) -> Array:
        away = (s[None, :] - here[:, None]) / deviation
        return np.exp(-(away**2) / 2) / (deviation * np.sqrt(2 * np.pi)) * weights

    times = np.linalg.solve(np.eye(s.size) - density(moved(s)), np.full(s.size, h))
    return float(h + (density(moved(np.zeros(1))) @ times)[0])


def _path(
    f: Function, start: float, end: float, beta: float
) -> tuple[Callable[[Array], Array], float, float, float]:
    """The way from the start: the loss by distance, its sign and length, and what counts behind."""
    sign = 1.0 if end > start else -1.0

    def height(s: Array) -> Array:
        return np.asarray(f((start + sign * s)[:, None]), np.float64)

    span = abs(end - start)
    return height, sign, span, _far(height, span, beta)


def _far(height: Callable[[Array], Array], span: float, beta: float) -> float:
    """How far behind the start the density counts."""
    far = max(span, 1.0)
    for _ in range(60):
        s = np.linspace(-far, span, 2001)
        values = height(s)
        if values[0] > values.min() + DEEP / beta and values[0] > values[1]:
            return far
        far *= 1.3
    raise ValueError("the loss does not rise behind the start, so nothing holds the walker there")


def _second(f: Function, point: Array) -> Array:
    """Second derivatives by differences of order four."""
    size = point.size
    h = _DIFFERENCE * np.maximum(1.0, abs(point))
    offsets = np.array([-2, -1, 1, 2])
    first = np.array([1, -8, 8, -1]) / 12  # of the first derivative

    def values(points: Array) -> Array:
        return np.asarray(f(points), np.float64)

    matrix = np.zeros((size, size))
    centre = float(values(point[None, :]).item())
    unit = np.eye(size)
    for i in range(size):
        line = values(point + np.outer(offsets * h[i], unit[i]))
        second = np.array([-1, 16, 16, -1]) / 12
        matrix[i, i] = (second @ line - 2.5 * centre) / h[i] ** 2
        for j in range(i):
            steps = [(a, b) for a in range(4) for b in range(4)]
            moves = [offsets[a] * h[i] * unit[i] + offsets[b] * h[j] * unit[j] for a, b in steps]
            weights = np.array([first[a] * first[b] for a, b in steps])
            mixed = weights @ values(point + np.array(moves)) / (h[i] * h[j])
            matrix[i, j] = matrix[j, i] = mixed
    return matrix
