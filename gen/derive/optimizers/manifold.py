"""A manifold as lines: its projection, retractions, metrics, geodesics.

In: a declared manifold.  Out: for each of its maps the lines, and the array that it gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import PROJECT, Expression
from hamilforge.gen.declare.read_manifolds import GRADIENT, NEW, OTHER, POINT, RANDOM, TANGENT
from hamilforge.gen.derive.arrays import Array, Lines


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


def maps(manifold: kinds.Manifold, spelled: Mapping[str, str]) -> Iterator[tuple[str, Map]]:
    """All maps by name: ``constraint``, ``project``, ``retract_polar``, ``inner_euclidean``, …

    Args:
        manifold: the declaration.
        spelled: what the lines of shorthands are called.
    """
    shorthands = {name: (spelled[name], value) for name, value in manifold.shorthands}

    def of(value: Expression, reads: str, names: Mapping[str, str] | None = None) -> Map:
        lines = Lines(
            (Array(letter, manifold.shape) for letter in reads),
            shorthands=shorthands,
            functions={PROJECT: (TANGENT, manifold.project)},
        )
        lines.names |= names or {}
        piece = lines.read(value)
        return Map(reads, lines, lines.result(piece))

    both = POINT + TANGENT
    yield "constraint", of(manifold.constraint, POINT)
    yield PROJECT, of(manifold.project, both)
    for name, value in manifold.retractions:
        yield f"retract_{name}", of(value, both)
    for metric in manifold.metrics:
        yield f"inner_{metric.name}", of(metric.inner, POINT + OTHER + TANGENT)
        yield f"gradient_{metric.name}", of(metric.gradient, POINT + GRADIENT)
        if metric.geodesic is not None:
            yield f"geodesic_{metric.name}", of(metric.geodesic, both)
    carried = POINT + TANGENT + NEW + OTHER
    if manifold.transport is None:
        yield "transport", of(manifold.project, carried, {POINT: NEW, TANGENT: OTHER})
    else:
        yield "transport", of(manifold.transport, carried)
    for condition in manifold.conditions:
        yield f"condition_{condition.name}", of(condition.value, POINT)
    if manifold.sample is not None:
        yield "sample", of(manifold.sample, RANDOM)
