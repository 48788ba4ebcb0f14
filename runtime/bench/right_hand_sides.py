"""Right-hand sides as users of other solvers write them, named after their problems."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

#: Of the outer solar system: gravity, and the masses of its bodies.
GRAVITY = 2.95912208286e-4
MASSES = (
    1.00000597682, 0.000954786104043, 0.000285583733151, 0.0000437273164546, 0.0000517759138449,
    1 / 130000000,
)  # fmt: skip


def kepler(_: float, y: Any) -> list[Any]:
    """Kepler's problem in the plane."""
    cubed = (y[0] * y[0] + y[1] * y[1]) ** 1.5
    return [y[2], y[3], -y[0] / cubed, -y[1] / cubed]


def henon_heiles(_: float, y: Any) -> list[Any]:
    """The model of Henon and Heiles."""
    return [y[2], y[3], -y[0] - 2 * y[0] * y[1], y[1] * y[1] - y[0] * y[0] - y[1]]


def damped_pendulum(_: float, y: Any) -> list[Any]:
    """A pendulum with friction 1/10."""
    return [y[1], -0.1 * y[1] - _sin(y[0])]


def outer_solar_system(_: float, y: Any) -> list[Any]:
    """The sun and five bodies by Newton's law: places, then momenta."""
    count = len(MASSES)
    places = [y[3 * i : 3 * i + 3] for i in range(count)]
    velocities = [y[3 * count + k] / MASSES[k // 3] for k in range(3 * count)]
    forces: list[Any] = [0.0] * (3 * count)
    for i in range(count):
        for j in range(i + 1, count):
            away = [places[i][k] - places[j][k] for k in range(3)]
            squared = away[0] * away[0] + away[1] * away[1] + away[2] * away[2]
            strength = GRAVITY * MASSES[i] * MASSES[j] * squared**-1.5
            for k in range(3):
                forces[3 * i + k] = forces[3 * i + k] - strength * away[k]
                forces[3 * j + k] = forces[3 * j + k] + strength * away[k]
    return [*velocities, *forces]


def heyoka_system(problem: str, size: int) -> list[tuple[Any, Any]]:
    """A problem's components with their right-hand sides, as heyoka takes them.

    Args:
        problem: its name.
        size: how many components it has.

    Returns:
        Pairs of a variable and an expression.
    """
    symbols = importlib.import_module("heyoka").make_vars(*(f"y{k}" for k in range(size)))
    return list(zip(symbols, globals()[problem](0.0, list(symbols)), strict=True))


def _sin(x: Any) -> Any:
    """The sine of numbers, or of what a peer computes with."""
    modules = {"heyoka": "heyoka", "jax": "jax.numpy", "jaxlib": "jax.numpy", "mpmath": "mpmath"}
    module = modules.get(type(x).__module__.partition(".")[0])
    return importlib.import_module(module).sin(x) if module else np.sin(x)
