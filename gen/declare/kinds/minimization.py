"""Functions to try optimizers on."""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.kinds.parts import Head, Parameter, Shape


@dataclass(frozen=True, slots=True)
class Datum:
    """An array that a loss has beside its variables.

    Attributes:
        shape: its dimensions.
        value: an expression in its indices ``i`` and ``j`` from 0, in dimensions, parameters and
            the data before it; None if it is drawn.
        draw: the distribution it is drawn from, one of :data:`DRAWS`; empty if it is not.
        seed: of the generator.
    """

    name: str
    shape: Shape
    value: Expression | None
    draw: str
    seed: int


#: From what data are drawn: independent entries, or a rotation uniform among all.
DRAWS = ("normal", "uniform", "rotation")


@dataclass(frozen=True, slots=True)
class MinimizationProblem:
    """A loss in closed form, with a start and its minimum.

    Attributes:
        variables: each with its shape, of at most two dimensions.
        sizes: each dimension that has a name, and how large it is where nothing else is said.
        data: in order.
        loss: a scalar.
        start: for each variable an expression in its indices, dimensions, parameters and data.
        minimizers: points of least loss, alike; none if none is declared.
        minimum: the least loss; the loss at the first minimizer if None.
        critical: further points where the gradient vanishes, or where 0 is a convex combination of
            its limits.
    """

    head: Head
    variables: tuple[tuple[str, Shape], ...]
    sizes: tuple[tuple[str, int], ...]
    data: tuple[Datum, ...]
    loss: Expression
    parameters: tuple[Parameter, ...]
    start: tuple[tuple[str, Expression], ...]
    minimizers: tuple[tuple[tuple[str, Expression], ...], ...]
    minimum: Expression | None
    critical: tuple[tuple[tuple[str, Expression], ...], ...]

    @property
    def points(self) -> dict[str, tuple[tuple[str, Expression], ...]]:
        """All points: ``start``, ``minimizers.0``, …, ``critical.0``, …"""
        points = {"start": self.start}
        points |= {f"minimizers.{number}": point for number, point in enumerate(self.minimizers)}
        return points | {f"critical.{number}": point for number, point in enumerate(self.critical)}

    @property
    def places(self) -> tuple[str, ...]:
        """The names of all points."""
        return tuple(self.points)
