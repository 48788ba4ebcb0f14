"""Stochastic gradient descent and its optimal control, as densities on an interval.

    dx = -f'(x) dt + sqrt(2/beta) dW,    dx = (-f'(x) - a(x, t)) dt + sqrt(2/beta) dW,  a = u_x,
    -u_t = -f' u_x - u_x^2/2 + u_xx/beta,  u(., T) = V:

the control that makes E V(x(T)) + E int a^2/2 dt least.  So E V of the controlled path is at most
that of the other less E int a^2/2 dt (P. Chaudhari et al., Deep relaxation, Res. Math. Sci. 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp, trapezoid

from hamilforge.runtime.core.numbers import positive_number, whole_number
from hamilforge.runtime.problems.densities import Array

Function = Callable[[Any], Any]
TOLERANCE = 1e-8
#: Times at which the control is kept.
_TIMES = 201


@dataclass(frozen=True, slots=True)
class Controlled:
    """Both densities at the end.

    Attributes:
        x: the points, `(n,)`.
        plain: the density without control, `(n,)`.
        steered: the density with it, `(n,)`.
        value: u at the beginning, `(n,)`: what is left to pay from each point.
        effort: E int a^2/2 dt of the controlled path.
    """

    x: Array
    plain: Array
    steered: Array
    value: Array
    effort: float

    def mean(self, density: Array, of: Function) -> float:
        """The mean of a function under one of the densities."""
        return float(np.asarray(of(self.x[:, None])) @ density * (self.x[1] - self.x[0]))


def controlled_descent(
    f: Function,
    slope: Function,
    interval: tuple[float, float],
    time: float,
    beta: float,
    *,
    begin: Function,
    cost: Function | None = None,
    points: int = 400,
) -> Controlled:
    """Densities with and without the control, by finite volumes of order two.

    Args:
        f: the loss, of points `(n, 1)`; returns `(n,)`.
        slope: its derivative, of points `(n,)`; it leads into the interval at both ends.
        interval: so wide that nothing comes to its ends.
        time: positive, the end.
        beta: positive, the inverse temperature.
        begin: the density at the beginning up to a factor, of points `(n,)`.
        cost: V, as f; the loss if None.
        points: how many, at least 16.

    Returns:
        Both densities at the end, the value at the beginning, and the effort.

    Raises:
        ValueError: an argument is out of its domain, or an equation could not be integrated.
    """
    low, high = map(float, interval)
    count = whole_number("points", points, least=16)
    time, beta = positive_number("time", time), positive_number("beta", beta)
    if not -np.inf < low < high < np.inf:
        raise ValueError("an interval (low, high) was expected")
    h = (high - low) / count
    x = low + h * (np.arange(count) + 0.5)
    own = np.asarray(slope(x), np.float64)
    if own[0] > 0 or own[-1] < 0:
        raise ValueError("the loss falls towards an end of the interval; take a wider one")
    final = np.asarray((cost or f)(x[:, None]), np.float64)

    def backward(_: float, u: Array) -> Array:
        first = np.gradient(u, h, edge_order=2)
        second = np.empty_like(u)
        second[1:-1] = (u[2:] - 2 * u[1:-1] + u[:-2]) / h**2
        second[0], second[-1] = second[1], second[-2]
        return np.asarray(-own * first - first**2 / 2 + second / beta)

    times = np.linspace(0.0, time, _TIMES)
    values = _integrated(backward, final, times)[:, ::-1]  # in the time of the path
    controls = np.gradient(values, h, axis=0, edge_order=2)
    density = np.asarray(begin(x), np.float64)
    if not (density >= 0).all() or not 0 < density.sum() < np.inf:
        raise ValueError("begin is no density: nonnegative numbers with a sum were expected")
    density = density / (density.sum() * h)

    def forward(drift: Callable[[float], Array]) -> Callable[[float, Array], Array]:
        def rate(t: float, rho: Array) -> Array:
            velocity = drift(t)
            middle = (velocity[1:] * rho[1:] + velocity[:-1] * rho[:-1]) / 2
            flux = np.zeros(count + 1)
            flux[1:-1] = middle - (rho[1:] - rho[:-1]) / (h * beta)
            return -(flux[1:] - flux[:-1]) / h

        return rate

    def control(t: float) -> Array:
        place = t / time * (_TIMES - 1)
        k = min(int(place), _TIMES - 2)
        part = place - k
        return np.asarray((1 - part) * controls[:, k] + part * controls[:, k + 1])

    plain = _integrated(forward(lambda _: -own), density, times)[:, -1]
    steered = _integrated(forward(lambda t: -own - control(t)), density, times)
    power = (controls**2 * steered).sum(0) * h / 2
    effort = float(trapezoid(power, times))
    return Controlled(np.asarray(x, np.float64), plain, steered[:, -1], values[:, 0], effort)


def _integrated(rate: Callable[[float, Array], Array], begin: Array, times: Array) -> Array:
    """The solution at some times, `(n, times)`."""
    solved = solve_ivp(
        rate, (times[0], times[-1]), begin, method="LSODA", t_eval=times, rtol=TOLERANCE,
        atol=TOLERANCE, lband=4, uband=4,
    )  # fmt: skip
    if not solved.success:
        raise ValueError(f"an equation could not be integrated: {solved.message}")
    return np.asarray(solved.y)
