"""Whether expressions are zero, in symbols or at drawn values.

In: differences of what two programs compute, in hyper-parameters, entries of arrays, sums over them
and the number of the step.  Out: how they were found to be zero, if they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Set
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import SCOPES
from hamilforge.gen.derive.calculus import Expr, derivative
from hamilforge.gen.prove.optimizers.symbolic_steps import number

#: At how many drawn points differences are looked at, and to how many digits they vanish.
POINTS, DIGITS = 4, 40
IN_SYMBOLS, DRAWN = "in symbols", f"at drawn points, to {DIGITS} digits"
#: Of drawn values; no sum or product of a few of them is a number that formulas have in them.
_UNDER = 101


def unknown_sum(scope: str, array: Expr) -> Expr:
    """A sum over the coordinates of a scope, of which nothing is known but what it adds up."""
    return sp.Function(f"sum_over_{scope}", real=True)(sp.expand(array))


def with_drawn_sums(expr: Expr) -> Expr:
    """An expression whose unknown sums are of entries that are alike, in each scope as many."""
    counts = {f"sum_over_{scope}": 3 + 2 * place for place, scope in enumerate(SCOPES)}
    return expr.replace(
        lambda part: isinstance(part, AppliedUndef),
        lambda part: counts[part.func.__name__] * part.args[0],
    )


def how_zero(expressions: Iterable[Expr], unit: Set[Expr]) -> str:
    """How expressions were found to be zero; nothing if one of them is not.

    Args:
        expressions: their symbols are positive, or any real numbers; n is a whole one.
        unit: symbols between 0 and 1.

    Returns:
        :data:`IN_SYMBOLS`; or :data:`DRAWN` where symbols do not decide it.

    Raises:
        NotDerivableError: a function in them has no values here.
    """
    left = [value for value in map(sp.sympify, expressions) if value != 0]
    if not all(_is_zero_where_drawn(value, unit) for value in left):
        return ""
    for value in left:
        if sp.simplify(value) != 0 and sp.simplify(_in_positive_symbols(value, unit)) != 0:
            return DRAWN
    return IN_SYMBOLS


def _in_positive_symbols(expr: Expr, unit: Set[Expr]) -> Expr:
    """An expression in which SymPy knows the sign of ``1 - a`` and ``1 - a**n`` for a in (0, 1).

    Both a and a**n are written as b/(1 + b) with a positive b, each with one of its own.
    """

    def own(name: str) -> Expr:
        symbol = sp.Symbol(name, positive=True)
        return symbol / (1 + symbol)

    def grows(part: Expr) -> bool:
        return bool(part.is_Pow and part.base in unit and derivative(part.exp, number).is_number)

    def power(part: Expr) -> Expr:
        rate = derivative(part.exp, number)
        return own(f"{part.base}__n") ** rate * part.base ** (part.exp - rate * number).expand()

    shown = expr.replace(grows, power).subs({symbol: own(f"{symbol}__") for symbol in unit})
    return shown.replace(
        lambda part: part.is_Pow and part.exp.is_Rational and not part.exp.is_Integer,
        lambda part: sp.expand_power_base(sp.factor(part.base) ** part.exp),
    )


def _is_zero_where_drawn(expr: Expr, unit: Set[Expr]) -> bool:
    """Whether an expression is zero at drawn values."""
    generator = random.Random(1)
    plain = with_drawn_sums(expr)
    for _ in range(POINTS):
        drawn: dict[Expr, Any] = {}
        for symbol in sorted(plain.free_symbols, key=str):
            size = generator.randint(1, _UNDER - 1 if symbol in unit else 2 * _UNDER)
            sign = 1 if symbol.is_positive else generator.choice((-1, 1))
            drawn[symbol] = sp.Rational(sign * size, _UNDER)
        if number in drawn:
            drawn[number] = sp.Integer(generator.randint(2, 20))
        value = sp.N(plain.subs(drawn), DIGITS + 10)
        if not value.is_real:  # a root of what is not negative in any state that is met
            drawn = {symbol: abs(size) for symbol, size in drawn.items()}
            value = sp.N(plain.subs(drawn), DIGITS + 10)
        if value.has(sp.Function):
            raise NotDerivableError(f"no number is known of {value.atoms(sp.Function).pop().func}")
        if not value.is_finite or abs(value) > sp.Float(10) ** -DIGITS:
            return False
    return True
