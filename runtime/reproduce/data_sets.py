"""Points in the plane in two classes, as in the papers on networks as optimal control.

In: a name, a number of points, a seed.  Out: points and labels 0 and 1.  The densities and the
noise are those of the code that its authors published with arXiv:1904.05657; the noise carries a
few points beyond [-1, 1]^2, and some to the wrong side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Generator = np.random.Generator
#: The middle of the outer class of a donut, and the width of both.
RING, WIDTH = 0.5, 0.1


def _halves(count: int) -> Floats:
    return (np.arange(count) < (count + 1) // 2).astype(float)


def _donut1d(random: Generator, count: int) -> tuple[Floats, Floats]:
    """Around a line: one third in the middle, the others on both sides."""
    labels = (np.arange(count) < -(-count // 3)).astype(float)
    sides = RING * random.choice((-1.0, 1.0), count)
    x = np.where(labels == 1, 0, sides) + WIDTH * random.standard_normal(count)
    places = np.stack([x, np.zeros(count)], 1)
    return places + 0.1 * random.standard_normal(places.shape), labels


def _donut2d(random: Generator, count: int) -> tuple[Floats, Floats]:
    """A normal distribution, and a ring: densities exp(-(|y| - m)^2 / (2 WIDTH^2)), m = 0, RING."""
    labels = _halves(count)
    radii = np.linspace(0, 1, 2001)
    drawn_radii = []
    for middle in (RING, 0.0):
        density = radii * np.exp(-((radii - middle) ** 2) / (2 * WIDTH**2))
        drawn_radii.append(random.choice(radii, count, p=density / density.sum()))
    radius = np.where(labels == 1, drawn_radii[1], drawn_radii[0])
    angle = random.uniform(0, 2 * np.pi, count)
    places = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return places + 0.1 * random.standard_normal(places.shape), labels


def _spiral(random: Generator, count: int) -> tuple[Floats, Floats]:
    """Two arms of one turn, half a turn apart; the radius grows from 0.1 to 1."""
    labels = _halves(count)
    arms = [
        np.linspace((0.1, 0.1 + shift), (1.0, 2 * np.pi + shift), size)
        for size, shift in ((int(labels.sum()), np.pi), (int(count - labels.sum()), 0.0))
    ]
    radius, angle = np.concatenate(arms).T
    places = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return places + 0.05 * random.standard_normal(places.shape), labels


def _squares(random: Generator, count: int) -> tuple[Floats, Floats]:
    """Opposite quadrants of [-0.7, 0.7]^2."""
    places = random.uniform(-0.7, 0.7, (count, 2))
    labels = (places[:, 0] * places[:, 1] > 0).astype(float)
    return places + 0.1 * random.standard_normal(places.shape), labels


DATA_SETS: Mapping[str, Callable[[Generator, int], tuple[Floats, Floats]]] = {
    "donut1d": _donut1d,
    "donut2d": _donut2d,
    "spiral": _spiral,
    "squares": _squares,
}


def points(name: str, count: int, seed: int) -> tuple[Floats, Floats]:
    """Points `(count, 2)` in any order, and labels `(count, 1)`.

    Args:
        name: ``donut1d``, ``donut2d``, ``spiral`` or ``squares``.
        count: how many points.
        seed: of the random numbers; the same seed gives the same points.

    Returns:
        The points, and a label 0 or 1 for each.

    Raises:
        ValueError: there is no such data set.
    """
    if name not in DATA_SETS:
        raise ValueError(f"no data set '{name}'; there are: {', '.join(DATA_SETS)}")
    random = np.random.default_rng(seed)
    places, labels = DATA_SETS[name](random, count)
    order = random.permutation(count)
    return places[order], labels[order, None]
