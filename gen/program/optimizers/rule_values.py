"""What the assignments of a rule compute, value by value, and at which of its gradients.

In: a :class:`Rule`.  Out: arrays as values that are set once, each in the stage whose gradient it
may read; numbers as lines of the host.  A gradient at another point than the last one begins a new
stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError, Problem, caret
from hamilforge.gen.declare.expression import Expression, Name, walk
from hamilforge.gen.declare.kinds import FLAG, Parameter, Rule
from hamilforge.gen.derive.calculus import (
    FUNCTIONS,
    Coordinate,
    Expr,
    Total,
    coordinates,
    is_host,
    to_sympy,
)
from hamilforge.gen.derive.optimizers.rotation import g, x
from hamilforge.gen.derive.symbols import n, parameter_symbol
from hamilforge.gen.program.optimizers.host import ZERO_IN_DOMAIN

#: What a program calls its point and the gradient at it.
TAKEN = ("x", "x_new", "g")
_INFINITE = (sp.zoo, sp.nan, sp.oo, sp.I)


@dataclass(frozen=True, slots=True)
class ArrayValue:
    """An array that is computed once.

    Attributes:
        symbol: what later values call it.
        stage: the stage in which it is computed.
        value: in symbols of the values before it.
        note: what was typed.
    """

    symbol: Coordinate
    stage: int
    value: Expr
    note: str


@dataclass(slots=True)
class RuleValues:
    """All values of a step.

    Attributes:
        hyper: the symbols of the hyper-parameters.
        old, final: the unknowns before and after the step; the point first.
        arrays: what is computed, by symbol and in order.
        points, gradients: of each stage.
        ahead: the point of the first gradient in the unknowns before the step; None where it is
            the first unknown itself.
        lines: host numbers with a name, in order; of scalars that are kept too.
        memory: for each scalar the symbol of what the last step left, and its new value.
        definitions: for each symbol of a host line what it is.
        start: for each state what it begins at, where that is not zero.
        scalar_start: the same of scalars.
        solution: after a step.
        decays: for each stage, whether L2 decay is added to its gradient.
        requirements: conditions on hyper-parameters, and what is said where one does not hold.
    """

    hyper: dict[str, sp.Symbol] = field(default_factory=dict)
    old: dict[str, Coordinate] = field(default_factory=dict)
    final: dict[str, Expr] = field(default_factory=dict)
    arrays: dict[Coordinate, ArrayValue] = field(default_factory=dict)
    points: list[Coordinate] = field(default_factory=list)
    gradients: list[Coordinate] = field(default_factory=list)
    ahead: Expr | None = None
    lines: dict[sp.Symbol, Expr] = field(default_factory=dict)
    memory: dict[str, tuple[sp.Symbol, Expr]] = field(default_factory=dict)
    start: dict[str, Expr] = field(default_factory=dict)
    scalar_start: dict[str, Expr] = field(default_factory=dict)
    solution: Expr | None = None
    decays: tuple[bool, ...] = ()
    requirements: list[tuple[Expr, str]] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The number of the last stage."""
        return len(self.points) - 1

    def written_out(self, expr: Expr) -> Expr:
        """An expression without the names of host lines."""
        for symbol, value in reversed(self.lines.items()):
            expr = expr.xreplace({symbol: value})
        return expr


def rule_values(rule: Rule) -> RuleValues:
    """The values of a rule.

    Raises:
        DeclarationError: a value is no real number, or has no meaning where it stands.
    """
    return _Reading(rule).values


def _symbol(parameter: Parameter) -> sp.Symbol:
    """A hyper-parameter as a symbol; what is typed is also meant where it is 0."""
    if parameter.domain == FLAG:
        return sp.Symbol(parameter.name, integer=True, nonnegative=True)
    if parameter.domain in ZERO_IN_DOMAIN:
        return sp.Symbol(parameter.name, nonnegative=True)
    return parameter_symbol(parameter)


class _Reading:
    def __init__(self, rule: Rule) -> None:
        self._rule, self.values = rule, RuleValues()
        values = self.values
        values.hyper = {entry.name: _symbol(entry) for entry in rule.hyperparameters}
        point, *states = rule.unknowns
        values.old = {point: x} | {name: Coordinate(_free(name)) for name in states}
        self._known: dict[str, Expr] = {**values.hyper, "n": n, **values.old}
        self._taken = {*TAKEN, *values.hyper, "n", *rule.unknowns, *rule.scalars}
        self._taken |= {assignment.target for assignment in rule.assignments}
        for name in rule.scalars:
            last = sp.Symbol(self._unused(f"last_{name}"), real=True)
            values.memory[name] = (last, last)
            self._known[name] = last
        self._uses = _uses(rule)
        self._read_start()
        for assignment in rule.assignments:
            self._read(assignment.target, assignment.value, ("assign", assignment.number))
        values.final = {name: self._known[name] for name in rule.unknowns}
        if rule.solution:
            at: tuple[str | int, ...] = ("solution",)
            values.solution = self._converted(rule.solution, self._known, at)
        self._read_decay()
        for condition, message in rule.requirements:
            test = self._converted(condition, values.hyper, ("require", condition.text))
            values.requirements.append((test, message))

    def _unused(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _read_start(self) -> None:
        values, point = self.values, self._rule.unknowns[0]
        known: dict[str, Expr] = {**values.hyper, point: x}
        for name, expression in self._rule.start:
            value = self._converted(expression, known, ("start", name))
            if value == 0:
                continue
            if name in self._rule.scalars:
                values.scalar_start[name] = value
                started = sp.Symbol(self._unused(f"old_{name}"), real=True)
                first = values.memory[name][0]
                values.lines[started] = _where_first(value, first)
                self._known[name] = started
            else:
                values.start[name] = value

    def _read(self, target: str, expression: Expression, at: tuple[str | int, ...]) -> None:
        value = self._converted(expression, self._known, at)
        values, rule = self.values, self._rule
        if target in values.old and not coordinates(value):
            raise self._refused(
                expression, f"'{target}' becomes the number {value}, without entries", at
            )
        if target in rule.scalars:
            if not is_host(value):
                message = f"'{target}' follows from a sum; a number that is kept must not"
                raise self._refused(expression, message, at)
            self._known[target] = self._line(target, value)
            values.memory[target] = (values.memory[target][0], self._known[target])
        elif coordinates(value):
            name = values.old[target].name if target in values.old else target
            symbol = Coordinate(f"{name}_new" if target in values.old else name)
            stage = max(values.last, 0)
            values.arrays[symbol] = ArrayValue(symbol, stage, value, expression.text)
            self._known[target] = symbol
        elif is_host(value) and not value.is_Atom and self._uses[target] > 1:
            self._known[target] = self._line(target, value)
        else:
            self._known[target] = value

    def _line(self, name: str, value: Expr) -> sp.Symbol:
        """A host number with a name of its own."""
        symbol = sp.Symbol(name, real=True)
        self.values.lines[symbol] = value
        return symbol

    def _gradient(self, point: Expr) -> Expr:
        """The gradient at a point, which may begin a new stage."""
        values, first = self.values, self.values.old[self._rule.unknowns[0]]
        if point in values.points:
            return values.gradients[values.points.index(point)]
        if not values.points and point != first:
            values.ahead = self._in_old(point)
        if not isinstance(point, Coordinate):
            symbol = Coordinate(self._unused("point"))
            stage = max(values.last, 0)
            values.arrays[symbol] = ArrayValue(symbol, stage, point, "where the gradient is taken")
            point = symbol
        values.points.append(point)
        number = len(values.points)
        values.gradients.append(g if number == 1 else Coordinate(f"g_{number}"))
        return values.gradients[-1]

    def _in_old(self, point: Expr) -> Expr:
        """A point in the unknowns before the step."""
        for symbol, array in reversed(self.values.arrays.items()):
            point = point.xreplace({symbol: array.value})
        return self.values.written_out(point)

    def _read_decay(self) -> None:
        values, rule = self.values, self._rule
        if rule.decay_at is None:
            return
        at = ("options", "decay_at")
        olds: dict[str, Expr] = {**self._known, **values.old}
        points = [self._converted(rule.decay_at, known, at) for known in (self._known, olds)]
        values.decays = tuple(point in points for point in values.points)
        if not any(values.decays):
            raise self._refused(rule.decay_at, "no gradient is taken there", at)

    def _converted(
        self, expression: Expression, known: Mapping[str, Expr], at: tuple[str | int, ...]
    ) -> Expr:
        value = to_sympy(expression, known, {"grad": self._gradient})
        if value.has(*_INFINITE):
            raise self._refused(expression, "divides by zero, or is no real number", at)
        if self._rule.scope == "coordinate":
            value = value.replace(Total, lambda entry: entry)
        return value

    def _refused(
        self, expression: Expression, message: str, at: tuple[str | int, ...]
    ) -> DeclarationError:
        source, text = self._rule.head.source, expression.text
        key = f"{at[0]}[{at[1] + 1}]" if isinstance(at[-1], int) else str(at[-1])
        excerpt = caret(text, 0, len(text))
        return DeclarationError((Problem(source.where, source.line(*at), key, message, excerpt),))


def _free(name: str) -> str:
    return f"{name}_" if name in TAKEN else name


def _where_first(first: Expr, later: Expr) -> Expr:
    """One value in the first step, and another one after it."""
    value: Expr = FUNCTIONS["where"](FUNCTIONS["equal"](n, 1), first, later)
    return value


def _uses(rule: Rule) -> Counter[str]:
    """How often each name is read."""
    values = [assignment.value for assignment in rule.assignments]
    values += [rule.solution] if rule.solution else []
    return Counter(
        node.name for value in values for node in walk(value.tree) if isinstance(node, Name)
    )
