"""Right-hand sides as users of other solvers write them, named after their problems."""

from __future__ import annotations

from typing import Any


def kepler(_: float, y: Any) -> list[Any]:
    """Kepler's problem in the plane."""
    cubed = (y[0] * y[0] + y[1] * y[1]) ** 1.5
    return [y[2], y[3], -y[0] / cubed, -y[1] / cubed]


def henon_heiles(_: float, y: Any) -> list[Any]:
    """The model of Henon and Heiles."""
    return [y[2], y[3], -y[0] - 2 * y[0] * y[1], y[1] * y[1] - y[0] * y[0] - y[1]]
