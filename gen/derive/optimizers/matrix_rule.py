"""A rule for matrices as lines: its assignments, with the maps of its manifold written out.

In: a declared rule.  Out: lines, what each unknown becomes, and what each scalar of the step is
worth in hyper-parameters: everything that no array enters is computed on the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.choices import EPSILON
from hamilforge.gen.declare.expression import (
    GRADIENT,
    INNER,
    RETRACT,
    TRANSPORT,
    Name,
    Node,
    Operation,
)
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.matrix_functions import dimensions
from hamilforge.gen.declare.read_manifolds import GRADIENT as SLOPES
from hamilforge.gen.declare.read_manifolds import OTHER, TANGENT
from hamilforge.gen.declare.read_matrix_rules import COUNT, NUMBER
from hamilforge.gen.declare.shapes import POINT
from hamilforge.gen.derive.arrays import (
    Array,
    Epsilon,
    Line,
    Map,
    MatrixCall,
    Piece,
    Repeat,
    symbol,
)
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
        reach: what is positive, or positive definite, where retractions have a value.
        unit: V by momentum, of a step whose state is the way of a step; None of others.
        left: what a step leaves for the next one to do, by name, and what does nothing; scalars
            read that of the step before by :func:`before`.
    """

    arrays: tuple[Array, ...]
    lines: tuple[Line, ...]
    ends: Mapping[str, Array]
    scalars: Mapping[str, Expr]
    reach: tuple[Array, ...] = ()
    unit: Expr | None = None
    left: Mapping[str, tuple[Expr, int]] = field(default_factory=dict)


#: V in this step's unit by V in that of the step before; no declared name has a blank in it.
CHANGE_OF_UNIT = "change of unit"


def before(name: str) -> str:
    """What a scalar calls what the step before has left; what does nothing before the first."""
    return f"{name} before"


def matrix_steps(
    rule: kinds.MatrixRule, spelled: Mapping[str, str]
) -> tuple[MatrixStep, MatrixStep | None]:
    """The step of a rule, and that of parameters with one axis if there is one.

    Args:
        rule: the declaration.
        spelled: what hyper-parameters, unknowns, locals and shorthands are called.

    Returns:
        Both; a scalar of the host that both need is one, and has one name.
    """
    scalars: dict[str, Expr] = {}
    whole = _step(rule, rule.assignments, rule.shapes, spelled, scalars)
    if not rule.of_vectors:
        return whole, None
    return whole, _step(rule, rule.of_vectors, rule.shapes_of_vectors, spelled, scalars)


def violation_steps(
    rule: kinds.MatrixRule, spelled: Mapping[str, str]
) -> Iterator[tuple[str, MatrixStep]]:
    """What is claimed of the constraint after a step, by the name of the claim.

    Args:
        rule: the declaration.
        spelled: what hyper-parameters, unknowns, locals and shorthands are called.

    Yields:
        The name, and a step whose only end is what is claimed.
    """
    for name, claim in rule.violations:
        lines = _RuleLines(rule, rule.shapes, spelled)
        before = dict(lines.names)
        lines.take(rule.assignments, spelled)
        lines.names |= {unknown: before[unknown] for unknown in rule.unknowns[:1]}
        value = lines.result(lines.read(claim))
        yield name, lines.step({"value": lines.arrays[value]}, {})


def squared_gradient(rule: kinds.MatrixRule, spelled: Mapping[str, str]) -> MatrixStep:
    """The square of the norm of the gradient, in the metric of the rule.

    Args:
        rule: the declaration, on a manifold.
        spelled: what hyper-parameters, unknowns, locals and shorthands are called.

    Returns:
        A step whose only end is the number.
    """
    lines = _RuleLines(rule, rule.shapes, spelled)
    return lines.step({"value": lines.arrays[lines.squared()]}, {})


def _step(
    rule: kinds.MatrixRule,
    assignments: Iterable[kinds.Assignment],
    shapes: Sequence[Shape],
    spelled: Mapping[str, str],
    scalars: dict[str, Expr],
) -> MatrixStep:
    """A step.

    Args:
        rule: the declaration.
        assignments: of the step.
        shapes: of the unknowns.
        spelled: what hyper-parameters, unknowns, locals and shorthands are called.
        scalars: what scalars of the host are worth; further ones are noted.
    """
    lines = _RuleLines(rule, shapes, spelled)
    lines.take(assignments, spelled)
    ends = {name: lines.arrays[lines.names[name]] for name in rule.unknowns}
    return lines.step(ends, scalars)


class _RuleLines(ManifoldLines):
    """The lines of a rule."""

    def __init__(
        self, rule: kinds.MatrixRule, shapes: Sequence[Shape], spelled: Mapping[str, str]
    ) -> None:
        self._rule = rule
        self._gradient = Array(SLOPES, shapes[0])
        numbers = [spelled[entry.name] for entry in rule.hyperparameters]
        self.inputs = (
            *(Array(spelled[name], own) for name, own in zip(rule.unknowns, shapes, strict=True)),
            self._gradient,
            *map(Array, (*numbers, COUNT)),
        )
        #: The names of scalars that are given.
        self.scalars = {*numbers, COUNT}
        super().__init__(self.inputs, rule.manifold, spelled)
        self.names = {name: spelled[name] for name in rule.unknowns}
        self.names |= {entry.name: spelled[entry.name] for entry in rule.hyperparameters}
        self.sizes = dimensions(shapes[0])
        self._step = ""
        self.functions["grad"] = self._slopes
        if rule.manifold is not None:
            self._metric = rule.manifold.metric(rule.metric)
            self.functions[GRADIENT] = self._riemannian
            if rule.retraction != kinds.FREE:
                self._retraction = rule.manifold.retraction(rule.retraction)
                self.functions |= {RETRACT: self._retracted, TRANSPORT: self._transported}

    def take(self, assignments: Iterable[kinds.Assignment], spelled: Mapping[str, str]) -> None:
        """Lines of assignments.

        Args:
            assignments: in order.
            spelled: what their targets are called.
        """
        for line in assignments:
            unknown = line.target in self._rule.unknowns
            name = f"{line.target}_new" if unknown else spelled[line.target]
            self._assign(line.target, self.read(line.value), name)

    def step(self, ends: Mapping[str, Array], scalars: dict[str, Expr]) -> MatrixStep:
        """The lines as a step.

        Args:
            ends: what unknowns become.
            scalars: what scalars of the host are worth; further ones are noted.
        """
        arrays = tuple(array for array in self.inputs if not array.is_scalar)
        reach = self.reach()
        lines = tuple(_Hoist(self.scalars, scalars).lines(self.lines))
        return MatrixStep(arrays, lines, ends, scalars, reach)

    def squared(self) -> str:
        """The array of <grad, grad>."""
        gradient = self.named(self._riemannian(SLOPES), "gradient")
        letters = {POINT: self.names[POINT], OTHER: gradient, TANGENT: gradient}
        return self.result(self.mapped_by(self._metric.inner, **letters))

    def _assign(self, target: str, piece: Piece, name: str) -> None:
        """Let a name mean what an expression gives."""
        if not piece.shape and target in self._rule.unknowns:
            piece = replace(piece, shape=NUMBER)
        array = self.named(piece, name)
        if array in {own.name for own in self.inputs}:
            array = self.copy(array, name)
        self.names[target] = array

    def _visit(self, node: Node) -> Piece:
        if isinstance(node, Name) and node.name == EPSILON:
            return self.piece(self.add(Epsilon(self._gradient.name), (), False, "epsilon"))
        if isinstance(node, Operation) and node.op == INNER:
            left, right = (self.named(self._visit(arg), "vector") for arg in node.args)
            letters = {POINT: self.names[POINT], OTHER: left, TANGENT: right}
            return self.mapped_by(self._metric.inner, **letters)
        return super()._visit(node)

    def _slopes(self, _: str) -> Piece:
        return self.piece(self._gradient.name)

    def _riemannian(self, slopes: str) -> Piece:
        letters = {POINT: self.names[POINT], SLOPES: slopes}
        return self.mapped_by(self._metric.gradient, **letters)

    def _retracted(self, step: str) -> Piece:
        self._step = step
        return self.moved(self._retraction, self.names[POINT], step)

    def _transported(self, vector: str) -> Piece:
        return self.carried(self._rule.unknowns[0], self._step, self.names[POINT], vector)


class _Hoist:
    """Scalars out of expressions: what no array enters becomes a symbol of the host's.

    Args:
        given: the names of scalars that are given.
        scalars: what each symbol of the host's is worth in these; further ones are noted.
    """

    def __init__(self, given: set[str], scalars: dict[str, Expr]) -> None:
        self.scalars = scalars
        self._given = set(map(symbol, given))
        self._values: dict[sp.Symbol, Expr] = {}

    def lines(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Lines without those that no array enters."""
        for line in lines:
            match line.op:
                case Map(value) if line.target.is_scalar and self._is_scalar(value):
                    self._values[symbol(line.target.name)] = value.xreplace(self._values)
                case Map(value):
                    yield Line(line.target, Map(self._hoisted(value)))
                case MatrixCall(of=of):
                    yield Line(line.target, replace(line.op, of=tuple(map(self._operand, of))))
                case Repeat(count=count, lines=inside):
                    inner = tuple(self.lines(inside))
                    op = replace(line.op, count=self._operand(count), lines=inner)
                    yield Line(line.target, op)
                case _:
                    yield line

    def _is_scalar(self, value: Expr) -> bool:
        """Whether no array enters an expression."""
        return not value.free_symbols - self._given - self._values.keys()

    def _operand(self, name: str) -> str:
        """The name of an operand; of one of the host's that it has there."""
        own = symbol(name)
        if own not in self._given | self._values.keys():
            return name
        return str(self._noted(own.xreplace(self._values)).name)

    def _hoisted(self, value: Expr) -> Expr:
        """An expression in arrays and symbols of the host's."""
        if self._is_scalar(value):
            return self._named(value.xreplace(self._values))
        if value.is_Atom:
            return value
        if isinstance(value, sp.Add | sp.Mul):
            alone = [arg for arg in value.args if self._is_scalar(arg)]
            others = [self._hoisted(arg) for arg in value.args if arg not in alone]
            together = [self._hoisted(value.func(*alone))] if alone else []
            return value.func(*together, *others)
        return value.func(*map(self._hoisted, value.args))

    def _named(self, value: Expr) -> Expr:
        """A scalar as a number, or as a symbol with its sign."""
        if value.is_number:
            return value
        if value.could_extract_minus_sign():
            return -self._named(-value)
        return self._noted(value)

    def _noted(self, value: Expr) -> sp.Symbol:
        """The symbol of a scalar."""
        for name, known in self.scalars.items():
            if known == value:
                return symbol(name)
        name, number = value.name if value.is_Symbol else "factor", 2
        while name in self.scalars or (symbol(name) in self._given and not value.is_Symbol):
            name, number = f"factor{number}", number + 1
        self.scalars[name] = value
        return symbol(name)
