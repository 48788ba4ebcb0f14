"""Expressions that choose, piece by piece.

In: an expression with ``max``, ``abs``, ``where`` and their like.  Out: the formulas that it is on
either side of each choice, with what is positive there.  Edges, which are no region, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.functions import CHOICE, CONDITIONS
from hamilforge.gen.derive.calculus import FUNCTIONS, Expr

ZERO, ONE = sp.Integer(0), sp.Integer(1)
#: Up to how many pieces of an expression are looked at.
MOST = 256


@dataclass(frozen=True)
class Piece:
    """What an expression is in a region.

    Attributes:
        positive: expressions that are positive in it, and nowhere else all of them.
        formula: the expression there, without choices.
    """

    positive: tuple[Expr, ...]
    formula: Expr


#: For each function that chooses: the number on whose sign it depends, and its value where that is
#: positive, where it is negative and where it is 0.
_SIDES: Mapping[str, Callable[..., tuple[Expr, Expr, Expr, Expr]]] = {
    "abs": lambda x: (x, x, -x, ZERO),
    "sign": lambda x: (x, ONE, -ONE, ZERO),
    "relu": lambda x: (x, x, ZERO, ZERO),
    "step": lambda x: (x, ONE, ZERO, ZERO),
    "leaky_relu": lambda x: (x, x, x / 100, ZERO),
    "elu": lambda x: (x, x, sp.exp(x) - 1, ZERO),
    "max": lambda x, y: (x - y, x, y, x),
    "min": lambda x, y: (x - y, y, x, x),
    "clip": lambda x, y, z: (x - y, *(FUNCTIONS["min"](bound, z) for bound in (x, y, x))),
    CHOICE: lambda x, y, z: (x, y, z, z),
    "greater": lambda x, y: (x - y, ONE, ZERO, ZERO),
    "at_least": lambda x, y: (x - y, ONE, ZERO, ONE),
    "equal": lambda x, y: (x - y, ZERO, ZERO, ONE),
}
_BY_FUNCTION = {FUNCTIONS[name]: sides for name, sides in _SIDES.items()}
CHOICES: tuple[Any, ...] = tuple(_BY_FUNCTION)
#: Those that jump.
JUMPS: tuple[Any, ...] = tuple(FUNCTIONS[name] for name in ("sign", "step", CHOICE, *CONDITIONS))


def with_numbers(expr: Expr) -> Expr:
    """An expression in which every function that chooses has numbers at numbers."""
    for name in ("leaky_relu", "elu"):
        for call in expr.atoms(FUNCTIONS[name]):
            difference, above, below, _ = _SIDES[name](*call.args)
            expr = expr.xreplace({call: FUNCTIONS[CHOICE](difference, above, below)})
    return expr


def pieces(expr: Expr, unit: Set[Expr]) -> Iterator[Piece]:
    """The pieces of an expression, those of contradictory regions left out where that is plain.

    Args:
        expr: may choose.
        unit: symbols in it that are between 0 and 1.

    Raises:
        NotDerivableError: there are more than :data:`MOST`, or a sum has choices in it, of which
            each coordinate has its own.
    """
    todo, done = [Piece((), sp.sympify(expr))], 0
    while todo:
        piece = todo.pop()
        choice = _innermost(piece.formula)
        if choice is None:
            done += 1
            yield piece
        else:
            todo += _sides(piece, choice, unit)
        if done + len(todo) > MOST:
            raise NotDerivableError(f"steps choose in more than {MOST} ways")


def decided(expr: Expr, unit: Set[Expr]) -> Expr:
    """An expression without its choices, if there is one way in which they fall.

    Args:
        expr: may choose.
        unit: symbols in it that are between 0 and 1.
    """
    found = [*pieces(expr, unit)]
    return found[0].formula if len(found) == 1 else sp.sympify(expr)


def with_bounds(expr: Expr, unit: Set[Expr]) -> Expr:
    """An expression with b/(1 + b), b positive, for each symbol between 0 and 1."""
    return expr.subs({symbol: between_0_and_1(f"{symbol}__") for symbol in unit})


def between_0_and_1(name: str) -> Expr:
    """What takes all values between 0 and 1, as a positive symbol takes all of its own."""
    symbol = sp.Symbol(name, positive=True)
    return symbol / (1 + symbol)


def _innermost(expr: Expr) -> Expr | None:
    """A choice whose arguments make none."""
    if any(total.has(*CHOICES) for total in expr.atoms(AppliedUndef)):
        raise NotDerivableError("a sum is over choices, of which each coordinate has its own")
    choices = [call for call in expr.atoms(*CHOICES) if not any(a.has(*CHOICES) for a in call.args)]
    return min(choices, key=sp.default_sort_key, default=None)


def _sides(piece: Piece, choice: Expr, unit: Set[Expr]) -> Iterator[Piece]:
    """A piece on either side of a choice; at its edge where that is everywhere."""
    difference, above, below, edge = _BY_FUNCTION[choice.func](*choice.args)
    condition = _without_positive_factors(difference)
    if condition == 0:
        yield Piece(piece.positive, piece.formula.xreplace({choice: edge}))
        return
    for positive, value in ((condition, above), (-condition, below)):
        sums = (positive + other for other in (0, *piece.positive))
        if any(sp.factor(with_bounds(total, unit)).is_nonpositive for total in sums):
            continue
        formula = piece.formula.xreplace({choice: value})
        yield Piece(tuple(dict.fromkeys((*piece.positive, positive))), formula)


def _without_positive_factors(expr: Expr) -> Expr:
    """An expression of the same sign, in a form in which sums of two of them may cancel."""
    factors = sp.Mul.make_args(sp.factor(expr))
    kept = sp.expand(sp.Mul(*(factor for factor in factors if not factor.is_positive)))
    return kept if kept.is_number else kept.primitive()[1]
