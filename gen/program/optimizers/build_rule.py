"""A rule becomes a program: one stage, an array of the state for each unknown but the point.

In: a :class:`Rule`.  Out: a :class:`Program` whose function has a line for each assignment to an
array; what is a number before any array is read is computed on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import sympy as sp

from hamilforge.gen.declare.budget import at
from hamilforge.gen.declare.errors import DeclarationError, Problem, caret
from hamilforge.gen.declare.kinds import Assignment, Parameter, Rule
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.calculus import Coordinate, Expr, Total, coordinates, tidy, to_sympy
from hamilforge.gen.derive.optimizers.rotation import g, x
from hamilforge.gen.derive.symbols import n, parameter_symbol
from hamilforge.gen.program.ir import Function, Host, Line, Program, entries
from hamilforge.gen.program.limits import finish
from hamilforge.gen.program.optimizers.functions import ArrayWriter, Hoist
from hamilforge.gen.program.optimizers.host import ZERO_IN_DOMAIN

#: What a program calls its point and the gradient at it.
_TAKEN = ("x", "x_new", "g")


@dataclass(frozen=True, slots=True)
class RuleDerivation:
    """A rule and its program; proofs, documents and templates read them."""

    optimizer: Rule
    program: Program


@remembered
def derive_rule(rule: Rule) -> RuleDerivation:
    """Derive the program of a rule.

    Raises:
        DeclarationError: a scalar is infinite on the domain of the hyper-parameters.
    """
    with at("the program of its step"):
        return RuleDerivation(rule, _Builder(rule).program())


def _symbol(parameter: Parameter) -> sp.Symbol:
    """A hyper-parameter as a symbol; what is typed is also meant where it is 0."""
    if parameter.domain in ZERO_IN_DOMAIN:
        return sp.Symbol(parameter.name, nonnegative=True)
    return parameter_symbol(parameter)


class _Builder:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._states = tuple(self._free(name) for name in rule.unknowns[1:])
        self._arrays = dict(zip(rule.unknowns, ("x", *self._states), strict=True))
        symbols = {"x": x, **{name: Coordinate(name) for name in self._states}, "g": g}
        self._hyper = {entry.name: _symbol(entry) for entry in rule.hyperparameters}
        self._known: dict[str, Expr] = {
            **self._hyper,
            "n": n,
            **{name: symbols[array] for name, array in self._arrays.items()},
        }
        names: dict[Coordinate, str] = {symbol: name for name, symbol in symbols.items()}
        self._writer = ArrayWriter(names)

    def _free(self, name: str) -> str:
        return f"{name}_" if name in _TAKEN else name

    def program(self) -> Program:
        """The program."""
        function, scalars = self._function()
        host = self._host(scalars)
        return Program(
            name=self._rule.head.name,
            hyperparameters=self._rule.hyperparameters,
            settings=(),
            states=self._states,
            scope=self._rule.scope if function.sums else "coordinate",
            host=host,
            functions=(function,),
            stages=(0,),
            solution=Function("solution", (entries("x"),), (), ()),
            shifted=False,
            boundary=None,
            start_time=Fraction(0),
        )

    def _function(self) -> tuple[Function, dict[str, Expr]]:
        arrays = ("x", *self._states, "g")
        hoist = Hoist((*arrays, *(f"{name}_new" for name in ("x", *self._states)), "n"))
        body: list[Line] = []
        results: dict[str, str] = {}
        for assignment in self._rule.assignments:
            value = to_sympy(assignment.value, self._known, {"grad": lambda _: g})
            if value.has(sp.zoo, sp.nan, sp.oo, sp.I):
                raise self._refused(assignment, "divides by zero, or is no real number")
            if self._rule.scope == "coordinate":
                value = value.replace(Total, lambda entry: entry)
            if assignment.target in self._arrays and not coordinates(value):
                raise self._refused(
                    assignment, f"'{assignment.target}' becomes the number {value}, without entries"
                )
            if not coordinates(value):  # a number: of the host, or after sums
                self._known[assignment.target] = value
                continue
            array = self._arrays.get(assignment.target)
            fresh = self._target(f"{array}_new" if array else assignment.target, hoist, body)
            lowered = self._writer.line(hoist, body, value, fresh.removesuffix("_new"))
            body.append(Line(entries(fresh), lowered, assignment.value.text))
            self._known[assignment.target] = self._writer.named(fresh)
            if array:
                results[array] = fresh
        ordered = tuple((array, entries(results[array])) for array in (*self._states, "x"))
        inputs = (*map(entries, arrays), *map(Array, hoist.named))
        function = Function("update", inputs, tuple(body), ordered)
        return function, hoist.named

    def _refused(self, assignment: Assignment, message: str) -> DeclarationError:
        source, text = self._rule.head.source, assignment.value.text
        line, key = source.line("assign", assignment.number), f"assign[{assignment.number + 1}]"
        excerpt = caret(text, 0, len(text))
        return DeclarationError((Problem(source.where, line, key, message, excerpt),))

    @staticmethod
    def _target(name: str, hoist: Hoist, body: list[Line]) -> str:
        """A name of a line; those of points and states are kept for them."""
        taken = {*hoist.named, *(line.name for line in body)}
        taken |= set() if name.endswith("_new") and name in hoist.taken else hoist.taken
        while name in taken:
            name += "_"
        hoist.taken.add(name)
        return name

    def _host(self, scalars: Mapping[str, Expr]) -> Host:
        lines: dict[str, Expr] = {}
        row = []
        for name, value in scalars.items():
            value = tidy(value)
            if value.is_Symbol:
                row.append(value.name)
                continue
            lines[name] = value
            row.append(name)
        zeros = [
            self._hyper[entry.name]
            for entry in self._rule.hyperparameters
            if entry.domain in ZERO_IN_DOMAIN
        ]
        where = self._rule.head.source.where
        body = tuple(
            Line(Array(name), finish(value, zeros, {}, where)) for name, value in lines.items()
        )
        used = {symbol for value in scalars.values() for symbol in value.free_symbols}
        inputs = (*self._hyper, *(("n",) if n in used else ()))
        return Host(inputs, (), body, (tuple(row),), (), (), (), "")
