"""A manifold as lines: its projection, retractions, metrics, geodesics.

In: a declared manifold.  Out: for each of its maps the lines, and the array that it gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import PROJECT, Expression
from hamilforge.gen.declare.read_manifolds import GRADIENT, NEW, OTHER, POINT, RANDOM, TANGENT
from hamilforge.gen.derive.arrays import Array, Piece, Product
from hamilforge.gen.derive.lines import Lines

#: The longest name that is made of those of the factors of a product.
LONGEST = 24


@dataclass(frozen=True, slots=True)
class Map:
    """A map of a manifold.

    Attributes:
        reads: the letters of its arguments.
        lines: in the order of computation.
        value: the array that it gives.
    """

    reads: str
    lines: Lines
    value: str


class ManifoldLines(Lines):
    """Lines that may hold the maps of a manifold.

    Args:
        inputs: arrays that are given.
        manifold: the declaration; None for matrices without a constraint.
        spelled: what the lines of its shorthands are called.
    """

    def __init__(
        self,
        inputs: Iterator[Array] | tuple[Array, ...],
        manifold: kinds.Manifold | None,
        spelled: Mapping[str, str],
    ) -> None:
        super().__init__(inputs)
        self._manifold = manifold
        #: The retractions so far that have not a value everywhere, with point and vector.
        self._limits: list[tuple[kinds.Retraction, str, str]] = []
        if manifold is not None:
            self._own = {name: (spelled[name], value) for name, value in manifold.shorthands}
            self.functions[PROJECT] = self._projected

    def mapped_by(self, value: Expression, **letters: str) -> Piece:
        """A map of the manifold.

        Args:
            value: its expression.
            letters: the array of each letter in it.

        Returns:
            What it gives.
        """
        return self.within(value, letters, self._own)

    def _projected(self, array: str) -> Piece:
        """An array in the tangent space at what X means here."""
        assert self._manifold is not None
        return self.mapped_by(self._manifold.project, **{POINT: self.names[POINT], TANGENT: array})

    def product(self, op: Product) -> Piece:
        """The product of two arrays; one of many factors has a short name."""
        piece = super().product(op)
        line = self.lines[-1]
        if line.target.name != str(piece.value) or len(line.target.name) <= LONGEST:
            return piece
        return self.piece(self.renamed_last("product"))

    def moved(self, retraction: kinds.Retraction, point: str, step: str) -> Piece:
        """The point to which a retraction leads.

        Args:
            retraction: the declaration.
            point: from where.
            step: the tangent vector.

        Returns:
            It.
        """
        self.limited(retraction, point, step)
        return self.mapped_by(retraction.value, **{POINT: point, TANGENT: step})

    def limited(self, retraction: kinds.Retraction, point: str, step: str) -> None:
        """Note what is positive where a retraction has a value.

        Args:
            retraction: the declaration.
            point: from where.
            step: the tangent vector.
        """
        if retraction.where is not None:
            self._limits.append((retraction, point, step))

    def reach(self) -> tuple[Array, ...]:
        """Lines of what is positive, or positive definite, where all retractions have a value."""
        pieces = (
            self.mapped_by(retraction.where, **{POINT: point, TANGENT: step})
            for retraction, point, step in self._limits
            if retraction.where is not None
        )
        return tuple(self.arrays[self.result(piece)] for piece in pieces)

    def carried(
        self, point: str, step: str, new: str, vector: str, transport: str = kinds.PROJECTION
    ) -> Piece:
        """A tangent vector at the new point.

        Args:
            point: where it was.
            step: the tangent vector that led to the new point.
            new: the new point.
            vector: what is carried.
            transport: the name of a further one, instead of the manifold's own, which is projection
                where none is declared.

        Returns:
            What it becomes.
        """
        manifold = self._manifold
        assert manifold is not None
        declared = manifold.transport
        if transport != kinds.PROJECTION:
            declared = dict(manifold.transports)[transport]
        if declared is None:
            return self.mapped_by(manifold.project, **{POINT: new, TANGENT: vector})
        letters = {POINT: point, TANGENT: step, NEW: new, OTHER: vector}
        return self.mapped_by(declared, **letters)


def maps(manifold: kinds.Manifold, spelled: Mapping[str, str]) -> Iterator[tuple[str, Map]]:
    """All maps by name: ``constraint``, ``project``, ``retract_polar``, ``inner_euclidean``, …

    Args:
        manifold: the declaration.
        spelled: what the lines of shorthands are called.
    """

    def started(reads: str) -> ManifoldLines:
        arrays = (Array(letter, manifold.shape) for letter in reads)
        return ManifoldLines(arrays, manifold, spelled)

    def of(value: Expression, reads: str) -> Map:
        lines = started(reads)
        letters = {letter: letter for letter in reads}
        return Map(reads, lines, lines.result(lines.mapped_by(value, **letters)))

    both = POINT + TANGENT
    yield "constraint", of(manifold.constraint, POINT)
    yield PROJECT, of(manifold.project, both)
    for retraction in manifold.retractions:
        yield f"retract_{retraction.name}", of(retraction.value, both)
        if retraction.where is not None:
            yield f"where_{retraction.name}", of(retraction.where, both)
    for metric in manifold.metrics:
        yield f"inner_{metric.name}", of(metric.inner, POINT + OTHER + TANGENT)
        yield f"gradient_{metric.name}", of(metric.gradient, POINT + GRADIENT)
        if metric.geodesic is not None:
            yield f"geodesic_{metric.name}", of(metric.geodesic, both)
    reads = (POINT, TANGENT, NEW, OTHER)
    for name in (kinds.PROJECTION, *(name for name, _ in manifold.transports)):
        lines = started("".join(reads))
        key = "transport" if name == kinds.PROJECTION else f"transport_{name}"
        yield key, Map("".join(reads), lines, lines.result(lines.carried(*reads, name)))
    for condition in manifold.conditions:
        yield f"condition_{condition.name}", of(condition.value, POINT)
    if manifold.sample is not None:
        yield "sample", of(manifold.sample, RANDOM)
