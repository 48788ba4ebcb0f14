"""Coordinates at points, in which a step of a discrete gradient is taken: those of R^n itself.

In: points, a row each.  Out: frames: what coordinates of a step stand for which point.  On a
manifold they are those of a tangent vector (:mod:`tangent_frames`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.optimizers.evaluation import Vector

Flags = NDArray[np.bool_]


class Frame(Protocol):
    """Coordinates at points, `(problems, d)`.

    They are rounded as the points are.
    """

    @property
    def origin(self) -> Vector:
        """The coordinates of the points themselves."""

    def points(self, coordinates: Vector) -> tuple[Vector, Flags]:
        """Points `(problems, n)`, and which of them there are; in the place of others stays u."""

    def vector(self, components: Vector) -> Vector:
        """A vector of these components in R^n, `(problems, n)`."""

    def slopes(self, coordinates: Vector, gradient: Vector) -> Vector:
        """Derivatives by coordinates of what has a gradient at their point, `(problems, n)`."""


class Space(Protocol):
    """Where points lie, which have frames.

    Attributes:
        rounds: whether a point of a batch may be rounded otherwise where others have moved.
    """

    rounds: bool

    def refuse(self, x0: Vector, batched: bool) -> None:
        """Refuse a start of another shape, or that is no point.

        Args:
            x0: the start.
            batched: whether its first axis counts problems.

        Raises:
            ValueError: what is wrong with it.
        """

    def frame(self, points: Vector) -> Frame:
        """Orthonormal coordinates."""

    def line(self, points: Vector, generator: np.random.Generator) -> tuple[Frame, Vector]:
        """A frame, and in it drawn unit vectors `(1, problems, d)`."""


@dataclass(frozen=True, slots=True)
class FlatFrame:
    """In R^n coordinates are the point.

    Args:
        origin: the points.
    """

    origin: Vector

    def points(self, coordinates: Vector) -> tuple[Vector, Flags]:
        """They are all there."""
        return coordinates, np.ones(len(coordinates), bool)

    def vector(self, components: Vector) -> Vector:
        """The same."""
        return components

    def slopes(self, coordinates: Vector, gradient: Vector) -> Vector:
        """The same."""
        del coordinates
        return gradient


class FlatSpace:
    """R^n."""

    rounds = False

    def refuse(self, x0: Vector, batched: bool) -> None:
        """One problem may have any shape."""
        if batched and x0.ndim != 2:
            raise ValueError(
                f"x0 has the shape {x0.shape}; with batched = True (problems, n) was expected"
            )

    def frame(self, points: Vector) -> Frame:
        """Its own coordinates."""
        return FlatFrame(points)

    def line(self, points: Vector, generator: np.random.Generator) -> tuple[Frame, Vector]:
        """A direction in which all are equally likely."""
        drawn: Any = generator.standard_normal((1, *points.shape))
        return FlatFrame(points), drawn / np.sqrt((drawn**2).sum(axis=2, keepdims=True))
