"""Points in the plane in two classes, as in the papers on networks as optimal control.

In: a name, a number of points, a seed.  Out: points in [-1, 1]^2 and labels 0 and 1, as many of
each as the number allows.  The papers print pictures and no formulas; these are shapes like theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Generator = np.random.Generator


def _donut1d(random: Generator, labels: Floats) -> Floats:
    """On a line: one class in the middle, the other on both sides."""
    side = random.choice((-1.0, 1.0), labels.size)
    middle = random.uniform(-0.25, 0.25, labels.size)
    outer = side * random.uniform(0.45, 0.95, labels.size)
    return np.stack([np.where(labels == 1, outer, middle), np.zeros(labels.size)], 1)


def _donut2d(random: Generator, labels: Floats) -> Floats:
    """A disc of radius 0.35 within a ring from 0.55 to 0.9, even over the area."""
    angle = random.uniform(0, 2 * np.pi, labels.size)
    disc = 0.35 * np.sqrt(random.uniform(0, 1, labels.size))
    ring = np.sqrt(random.uniform(0.55**2, 0.9**2, labels.size))
    radius = np.where(labels == 1, ring, disc)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def _spiral(random: Generator, labels: Floats) -> Floats:
    """Two arms of one turn, half a turn apart."""
    along = np.sqrt(random.uniform(0.01, 1, labels.size))
    angle = 2 * np.pi * along + np.pi * labels
    points = 0.9 * along[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    noisy: Floats = points + 0.02 * random.standard_normal(points.shape)
    return np.clip(noisy, -1, 1)


def _squares(random: Generator, labels: Floats) -> Floats:
    """Opposite quadrants, with a gap of 0.1 between them."""
    sign = random.choice((-1.0, 1.0), labels.size)
    x = sign * random.uniform(0.05, 1, labels.size)
    y = sign * np.where(labels == 1, 1, -1) * random.uniform(0.05, 1, labels.size)
    return np.stack([x, y], 1)


DATA_SETS: Mapping[str, Callable[[Generator, Floats], Floats]] = {
    "donut1d": _donut1d,
    "donut2d": _donut2d,
    "spiral": _spiral,
    "squares": _squares,
}


def points(name: str, count: int, seed: int) -> tuple[Floats, Floats]:
    """Points `(count, 2)` and labels `(count, 1)`.

    Raises:
        ValueError: there is no such data set.
    """
    if name not in DATA_SETS:
        raise ValueError(f"no data set '{name}'; there are: {', '.join(DATA_SETS)}")
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype(float)
    return DATA_SETS[name](random, labels), labels[:, None]
