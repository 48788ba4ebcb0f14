"""A minimization problem as lines: its data and points from their formulas, its loss and gradient.

In: a declared problem.  Out: two computations.  One makes data, start and minimizers of indices,
sizes, parameters and what is drawn; the other the loss of the variables and data, and the
derivatives of the loss, by the reverse rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.functions import CHOICE
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.read_minimization import INDICES
from hamilforge.gen.derive.adjoint import derivable, gradient
from hamilforge.gen.derive.arrays import Array, Map, symbol
from hamilforge.gen.derive.calculus import FUNCTIONS
from hamilforge.gen.derive.lines import Lines


@dataclass(frozen=True, slots=True)
class Index:
    """The row or the column of each entry of an array: ``axis`` is 0 or 1."""

    array: Array
    axis: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is computed once.

    Attributes:
        lines: in the order of computation.
        indices: those that they read.
        results: the array of each datum by ``data.A``, of each point by ``start.x``,
            ``minimizers.0.x``, ``critical.0.x``, and of the minimum by ``minimum``.
    """

    lines: Lines
    indices: tuple[Index, ...]
    results: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss and its derivatives.

    Attributes:
        lines: in the order of computation.
        value: the array of the loss.
        derivatives: by each variable that it depends on.
    """

    lines: Lines
    value: str
    derivatives: Mapping[str, str]


def prepared(problem: kinds.MinimizationProblem, names: Mapping[str, str]) -> Prepared:
    """The lines of data and points.

    Args:
        problem: with its formulas.
        names: how declared names are spelled.
    """
    drawn = [Array(names[d.name], d.shape) for d in problem.data if d.value is None]
    lines = Lines((*_scalars(problem, names), *drawn))
    lines.names |= names
    indices: dict[tuple[Shape, int], Index] = {}

    def index(shape: Shape, axis: int) -> str:
        if (shape, axis) not in indices:
            side = ("row", "column")[axis]
            called = lines.given(f"{side}_of_{'_'.join(shape)}", shape, False)
            indices[shape, axis] = Index(lines.arrays[called], axis)
        return indices[shape, axis].array.name

    def entries(value: Expression, shape: Shape, name: str) -> str:
        for axis, letter in enumerate(INDICES[: len(shape)]):
            if letter in value.names():
                lines.names[letter] = index(shape, axis)
        return lines.named(lines.read(value), name)

    results = {}
    for datum in problem.data:
        name = names[datum.name]
        if datum.value is not None:
            made = entries(datum.value, datum.shape, f"{name}_data")
            piece = lines.piece(made)
            if piece.shape != datum.shape:  # one number for all entries, as many as its index has
                everywhere = FUNCTIONS["at_least"](symbol(index(datum.shape, 0)), 0)
                filled = Map(FUNCTIONS[CHOICE](everywhere, piece.value, 0))
                made = lines.add(filled, datum.shape, False, f"{name}_data")
            lines.names[datum.name] = made
            name = made
        results[f"data.{datum.name}"] = name
    shapes = dict(problem.variables)
    for place, point in problem.points.items():
        for variable, value in point:
            label = f"{names[variable]}_{place.replace('.', '_')}"
            results[f"{place}.{variable}"] = entries(value, shapes[variable], label)
    if problem.minimum is not None:
        results["minimum"] = lines.named(lines.read(problem.minimum), "minimum")
    return Prepared(lines, tuple(indices.values()), results)


def loss(problem: kinds.MinimizationProblem, names: Mapping[str, str]) -> Loss:
    """The lines of the loss and of its derivatives.

    Args:
        problem: with its loss.
        names: how declared names are spelled.

    Raises:
        DeclarationError: the loss has no derivative.
    """
    variables = [Array(names[name], shape) for name, shape in problem.variables]
    data = [Array(names[datum.name], datum.shape) for datum in problem.data]
    lines = Lines((*variables, *_scalars(problem, names), *data))
    lines.names |= names
    with derivable(problem):
        piece = lines.read(problem.loss)
        if piece.value.has(sp.zoo, sp.nan):
            message = f"{problem.loss.text}: divides by zero"
            raise DeclarationError.at(problem.head.source, message, "loss")
        value = lines.named(piece, "loss")
        derivatives = gradient(lines, value, tuple(array.name for array in variables))
    return Loss(lines, value, derivatives)


def _scalars(problem: kinds.MinimizationProblem, names: Mapping[str, str]) -> Iterable[Array]:
    """Sizes and parameters."""
    for name in (*dict(problem.sizes), *(entry.name for entry in problem.parameters)):
        yield Array(names[name], ())
