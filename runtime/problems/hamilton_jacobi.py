"""The viscous Hamilton-Jacobi equation on a periodic interval, by differences.

    u_gamma + u_x^2/2 = u_xx/(2 beta),    u = f at gamma = 0:

what :func:`smoothing.local_entropy` is by its integral, found another way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from hamilforge.runtime.core.numbers import positive_number, whole_number
from hamilforge.runtime.problems.densities import Array

#: Of the integration in gamma; the error of the differences is larger.
TOLERANCE = 1e-12


def viscous_hamilton_jacobi(
    f: Callable[[Any], Any],
    interval: tuple[float, float],
    gamma: float,
    beta: float = 1.0,
    *,
    points: int = 200,
) -> tuple[Array, Array]:
    """The solution at gamma, from a loss that is periodic on an interval.

    Central differences of order four in x; in gamma SciPy's DOP853.

    Args:
        f: the loss, of points `(n, 1)`; returns `(n,)`.
        interval: a period.
        gamma: nonnegative, the time of the equation.
        beta: positive, the inverse temperature.
        points: how many, at least 8.

    Returns:
        The points `(n,)` and the solution there `(n,)`.

    Raises:
        ValueError: an argument is out of its domain, or the equation could not be integrated.
    """
    low, high = map(float, interval)
    count = whole_number("points", points, least=8)
    beta = positive_number("beta", beta)
    if not (-np.inf < low < high < np.inf and 0 <= gamma < np.inf):
        raise ValueError("an interval (low, high) and a finite gamma >= 0 were expected")
    x = low + (high - low) / count * np.arange(count)
    h = (high - low) / count

    def rate(_: float, u: Array) -> Array:
        ahead, behind = np.roll(u, -1), np.roll(u, 1)
        ahead_2, behind_2 = np.roll(u, -2), np.roll(u, 2)
        slope = (8 * (ahead - behind) - (ahead_2 - behind_2)) / (12 * h)
        bend = (16 * (ahead + behind) - (ahead_2 + behind_2) - 30 * u) / (12 * h**2)
        return np.asarray(bend / (2 * beta) - slope**2 / 2)

    begin = np.asarray(f(x[:, None]), np.float64)
    solved = solve_ivp(
        rate, (0.0, float(gamma)), begin, method="DOP853", rtol=TOLERANCE, atol=TOLERANCE
    )
    if not solved.success:
        raise ValueError(f"the equation could not be integrated: {solved.message}")
    return np.asarray(x, np.float64), np.asarray(solved.y[:, -1], np.float64)
