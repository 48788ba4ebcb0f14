"""A rule for matrices as lines: its assignments, with the maps of its manifold written out.

In: a declared rule.  Out: lines, what each unknown becomes, and what each scalar of the step is
worth in hyper-parameters: everything that no array enters is computed on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import GRADIENT, RETRACT, TRANSPORT
from hamilforge.gen.declare.read_manifolds import GRADIENT as SLOPES
from hamilforge.gen.declare.read_manifolds import TANGENT
from hamilforge.gen.declare.read_matrix_rules import COUNT
from hamilforge.gen.declare.shapes import POINT
from hamilforge.gen.derive.arrays import Array, Line, Map, Piece, symbol
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.derive.optimizers.manifold import ManifoldLines


@dataclass(frozen=True, slots=True)
class MatrixStep:
    """A step as lines.

    Attributes:
        arrays: point, state and gradient.
        lines: in the order of computation; scalars from the host are symbols.
        ends: the array that point and state become, by unknown.
        scalars: what each scalar of the host is worth.
    """

    arrays: tuple[Array, ...]
    lines: tuple[Line, ...]
    ends: Mapping[str, Array]
    scalars: Mapping[str, Expr]


def matrix_step(rule: kinds.MatrixRule, spelled: Mapping[str, str]) -> MatrixStep:
    """The step of a rule.

    Args:
        rule: the declaration.
        spelled: what hyper-parameters, unknowns, locals and shorthands are called.
    """
    lines = _RuleLines(rule, spelled)
    for assignment in rule.assignments:
        target = assignment.target
        name = f"{target}_new" if target in rule.unknowns else spelled[target]
        lines.assign(target, lines.read(assignment.value), name)
    ends = {name: lines.arrays[lines.names[name]] for name in rule.unknowns}
    hoist = _Hoist(lines.scalars)
    made = []
    for line in lines.lines:
        if not isinstance(line.op, Map):
            made.append(line)
        elif line.target.is_scalar and hoist.is_scalar(line.op.value):
            hoist.settle(line.target.name, line.op.value)
        else:
            made.append(Line(line.target, Map(hoist(line.op.value))))
    arrays = tuple(array for array in lines.inputs if not array.is_scalar)
    return MatrixStep(arrays, tuple(made), ends, hoist.scalars)


class _RuleLines(ManifoldLines):
    """The lines of a rule."""

    def __init__(self, rule: kinds.MatrixRule, spelled: Mapping[str, str]) -> None:
        self._rule = rule
        point, *states = rule.unknowns
        self._gradient = Array(SLOPES, rule.shape)
        numbers = [spelled[entry.name] for entry in rule.hyperparameters]
        self.inputs = (
            Array(point, rule.shape),
            *(Array(spelled[name], rule.shape) for name in states),
            self._gradient,
            *map(Array, (*numbers, COUNT)),
        )
        #: The names of scalars that are given.
        self.scalars = {*numbers, COUNT}
        super().__init__(self.inputs, rule.manifold, spelled)
        self.names = {name: spelled[name] for name in rule.unknowns}
        self.names |= {entry.name: spelled[entry.name] for entry in rule.hyperparameters}
        self._step = ""
        self.functions["grad"] = self._slopes
        if rule.manifold is not None:
            self._metric = next(m for m in rule.manifold.metrics if m.name == rule.metric)
            self._retraction = dict(rule.manifold.retractions)[rule.retraction]
            self.functions |= {
                GRADIENT: self._riemannian,
                RETRACT: self._retracted,
                TRANSPORT: self._transported,
            }

    def assign(self, target: str, piece: Piece, name: str) -> None:
        """Let a name mean what an expression gives.

        Args:
            target: the name.
            piece: what the expression gives.
            name: what its line is to be called.
        """
        array = self.named(piece, name)
        if array in {one.name for one in self.inputs}:
            array = self.copy(array, name)
        self.names[target] = array

    def _slopes(self, _: str) -> Piece:
        return self.piece(self._gradient.name)

    def _riemannian(self, slopes: str) -> Piece:
        letters = {POINT: self.names[POINT], SLOPES: slopes}
        return self.mapped_by(self._metric.gradient, **letters)

    def _retracted(self, step: str) -> Piece:
        self._step = step
        letters = {POINT: self.names[POINT], TANGENT: step}
        return self.mapped_by(self._retraction, **letters)

    def _transported(self, vector: str) -> Piece:
        return self.carried(self._rule.unknowns[0], self._step, self.names[POINT], vector)


class _Hoist:
    """Scalars out of expressions: what no array enters becomes a symbol of the host's.

    Args:
        given: the names of scalars that are given.
    """

    def __init__(self, given: set[str]) -> None:
        #: What each symbol of the host's is worth in scalars that are given.
        self.scalars: dict[str, Expr] = {}
        self._given = set(map(symbol, given))
        self._values: dict[sp.Symbol, Expr] = {}

    def is_scalar(self, value: Expr) -> bool:
        """Whether no array enters an expression."""
        return not value.free_symbols - self._given - self._values.keys()

    def settle(self, name: str, value: Expr) -> None:
        """Note the value of a line that no array enters."""
        self._values[symbol(name)] = value.xreplace(self._values)

    def __call__(self, value: Expr) -> Expr:
        """An expression in arrays and symbols of the host's."""
        if self.is_scalar(value):
            return self._named(value.xreplace(self._values))
        if value.is_Atom:
            return value
        if isinstance(value, sp.Add | sp.Mul):
            alone = [arg for arg in value.args if self.is_scalar(arg)]
            others = [self(arg) for arg in value.args if arg not in alone]
            together = [self(value.func(*alone))] if alone else []
            return value.func(*together, *others)
        return value.func(*map(self, value.args))

    def _named(self, value: Expr) -> Expr:
        """A scalar as a number, or as a symbol with its sign."""
        if value.is_number:
            return value
        if value.could_extract_minus_sign():
            return -self._named(-value)
        for name, known in self.scalars.items():
            if known == value:
                return symbol(name)
        name, number = value.name if value.is_Symbol else "factor", 2
        while name in self.scalars or (symbol(name) in self._given and not value.is_Symbol):
            name, number = f"factor{number}", number + 1
        self.scalars[name] = value
        return symbol(name)
