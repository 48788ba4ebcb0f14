"""The scalars of a rule's step after many steps.

In: the program of a rule.  Out: what its host computes as n goes to infinity, in the
hyper-parameters, and those of which it leaps, for which it holds at their defaults alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.memory import remembered_with_refusals
from hamilforge.gen.derive.calculus import FUNCTIONS, Expr
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.symbolic_steps import (
    SymbolicSteps,
    is_steady,
    limit,
    number,
)

#: Numbers of steps after many: many in a row, and others; and the digits that tell them apart.
DIGITS = 60
LATE = tuple(10**30 + k for k in (*range(64), *(k**4 for k in range(9, 41))))


@dataclass(frozen=True)
class LateScalars:
    """The scalars of the host after many steps.

    Attributes:
        values: by line.
        fixed: hyper-parameters for which they are limits at their defaults.
    """

    values: Mapping[str, Expr]
    fixed: Mapping[sp.Symbol, Expr]


@remembered_with_refusals
def late_scalars(program: Program) -> LateScalars:
    """The scalars of a program after many steps, without weight decay.

    Raises:
        NotDerivableError: one has no limit that is known.
    """
    steps = LateSteps(program)
    values = steps.late()
    return LateScalars(values, steps.fixed)


class LateSteps(SymbolicSteps):
    """Steps whose host is looked at by itself, powers of n as they are.

    Args:
        program: of a rule.

    Attributes:
        fixed: hyper-parameters for which the limits so far are those at their defaults.
    """

    def __init__(self, program: Program) -> None:
        self.fixed: dict[sp.Symbol, Expr] = {}
        super().__init__(program, sp.Integer(0))
        if program.own_decay:
            self.hyper["weight_decay"] = sp.Integer(0)
        functions: dict[str, Any] = dict(self.algebra.functions)
        functions |= {name: partial(self._extreme, name) for name in ("max", "min")}
        self.algebra = type(self.algebra)(
            self.algebra.constant, functions, self.algebra.total, self.algebra.select
        )
        self.n = number

    def _extreme(self, name: str, x: Expr, y: Expr) -> Expr:
        return FUNCTIONS[name](x, y)

    def lines(self, lines: Any, values: dict[str, Expr]) -> dict[str, Expr]:
        """Scalars as they are: powers of n stay apart."""
        for line in lines:
            values[line.name] = sp.sympify(evaluate(line.value, values, self.algebra))
        return values

    def _vanishes(self, difference: Expr) -> bool:
        """A choice by scalars; by an entry of an array or of a gradient there is no one step."""
        if difference.free_symbols - {*self.known, number}:
            raise NotDerivableError("a step chooses by entries: it has no linear part")
        if not difference.has(number):
            return super()._vanishes(difference)
        usual = difference.subs(self.known)
        late = (sp.Float(n, DIGITS) for n in LATE)  # exact powers of them would not fit
        decisions = {super(LateSteps, self)._vanishes(usual.subs(number, n)) for n in late}
        if len(decisions) > 1:
            raise NotDerivableError("a choice depends on the number of the step, however late")
        return decisions.pop()

    def late(self) -> dict[str, Expr]:
        """The host scalars after many steps.

        Raises:
            NotDerivableError: what is kept from step to step has no limit that is known.
        """
        host = self.program.host
        if not host.memory:
            rows = {line for row in host.rows for line in row}
            return {line: self._limit(value) for line, value in self.host().items() if line in rows}
        used = {line for row in host.rows for line in row} | {line for _, line in host.memory}
        for guess in (self._after(2), self.memory):
            self.memory, self.fixed = dict(guess), {}
            values = {
                line: self._limit(value) for line, value in self.host().items() if line in used
            }
            kept = {name: values[line] for name, line in self.program.host.memory}
            if all(sp.simplify(kept[name] - guess[name]) == 0 for name in kept):
                return values
            self.memory = {name: sp.Integer(0) for name in guess}
        raise NotDerivableError("the numbers that it keeps have no limit that is known")

    def _after(self, count: int) -> dict[str, Expr]:
        """What is kept after some steps."""
        zero = {name: sp.Integer(0) for name, _ in self.program.host.memory}
        self.memory, kept = zero, zero
        for n in range(1, count + 1):
            self.n = sp.Integer(n)
            values = self.host()
            kept = {name: values[line] for name, line in self.program.host.memory}
            self.memory = kept
        self.n, self.memory = number, zero
        return kept

    def _limit(self, value: Expr) -> Expr:
        """A scalar after many steps, at the defaults of those on which it depends in leaps."""
        value = sp.sympify(value)
        if not value.has(number):
            return value
        known = {s: default for s, default in self.known.items() if s in value.free_symbols}
        powers = (power for power in value.atoms(sp.Pow) if power.base == number)
        rates = {symbol for power in powers for symbol in power.exp.free_symbols & {*known}}
        fixed = {symbol: known[symbol] for symbol in sorted(rates, key=str)}
        if not is_steady(value, fixed, known, self.unit):
            fixed = dict(known)
            for symbol in known:
                fewer = {s: default for s, default in fixed.items() if s != symbol}
                if symbol not in rates and is_steady(value, fewer, known, self.unit):
                    fixed = fewer
        self.fixed |= fixed
        return limit(value.subs(fixed), self.unit)

    def scalars_of(self, n: int) -> dict[str, Expr]:
        """The scalars of the host in one of the steps."""
        self.memory, self.n = self._after(n - 1), sp.Integer(n)
        scalars = self.host()
        self.memory, self.n = {name: sp.Integer(0) for name in self.memory}, number
        return scalars
