"""Whether expressions are zero, in symbols or at drawn values.

In: differences of what two programs compute, in hyper-parameters, entries of arrays, sums over them
and the number of the step.  Out: how they were found to be zero, if they are.

Entries are coordinates: a sum is over some of them, each with values of its own, and over another
number of them at another point.  Where an expression chooses, each of its pieces is looked at.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import sympy as sp
from sympy.core.evalf import PrecisionExhausted
from sympy.core.function import AppliedUndef

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import SCOPES
from hamilforge.gen.derive.calculus import Coordinate, Expr, derivative, written
from hamilforge.gen.prove.optimizers.choices import (
    between_0_and_1,
    pieces,
    with_bounds,
    with_numbers,
)
from hamilforge.gen.prove.optimizers.symbolic_steps import number

#: At how many drawn points differences are looked at, and to how many digits they vanish.
POINTS, DIGITS = 8, 40
IN_SYMBOLS = "in symbols"
DRAWN = f"at drawn points, on both sides of every choice, to {DIGITS} digits"
#: What has no digit by then is not told from 0.
_MOST_DIGITS = 5 * DIGITS
#: The denominator of drawn values, of which few are numbers that formulas have in them.
_UNDER = 101
#: How many powers of ten drawn values span on either side of 1 and of what numbers are compared
#: with, and how many digits the number of a step has, without powers in it and with them.
_SPAN, _STEPS, _POWERS = 8, 9, 2
#: How many points are drawn in search of some that lie in a region.
_SEARCHED = 600
#: How many coordinates sums are over, each scope as many of its own: drawn from these.
_COUNTS = range(1, 13)
_SUMS = {f"sum_over_{scope}": scope for scope in SCOPES}


def unknown_sum(scope: str, array: Expr) -> Expr:
    """A sum over the coordinates of a scope, of which nothing is known but what it adds up."""
    (name,) = (name for name, over in _SUMS.items() if over == scope)
    return sp.Function(name, real=True)(sp.expand(array))


def with_equal_entries(expr: Expr) -> Expr:
    """An expression whose unknown sums are of entries that are alike, in each scope as many."""
    counts = {name: 3 + 2 * place for place, name in enumerate(_SUMS)}
    return expr.replace(
        lambda part: isinstance(part, AppliedUndef),
        lambda part: counts[part.func.__name__] * part.args[0],
    )


def how_zero(expressions: Iterable[Expr], unit: Set[Expr]) -> str:
    """How expressions were found to be zero; nothing if one of them is not.

    Args:
        expressions: their symbols are positive, or any real numbers; n is a whole one.  Entries of
            arrays are a :class:`Coordinate`.
        unit: symbols between 0 and 1.

    Returns:
        :data:`IN_SYMBOLS`; or :data:`DRAWN` where symbols do not decide it.

    Raises:
        NotDerivableError: a function in them has no values here, or they differ where no state was
            found that is met.
    """
    left = [with_numbers(sp.sympify(value)) for value in expressions if value != 0]
    if any(value.has(sp.zoo, sp.nan, sp.oo) for value in left):
        return ""
    if not all(_is_zero_at_usual_points(value, unit) for value in left):
        return ""
    undecided = [value for value in left if not _is_zero_in_symbols(value, unit)]
    if not all(_is_zero_in_pieces(value, unit) for value in undecided):
        return ""
    return DRAWN if undecided else IN_SYMBOLS


# --- in symbols -----------------------------------------------------------------------------------


def _is_zero_in_symbols(value: Expr, unit: Set[Expr]) -> bool:
    return sp.simplify(value) == 0 or sp.simplify(_in_positive_symbols(value, unit)) == 0


def _in_positive_symbols(expr: Expr, unit: Set[Expr]) -> Expr:
    """An expression in which SymPy knows the sign of ``1 - a`` and ``1 - a**n`` for a in (0, 1).

    Both a and a**n are written as b/(1 + b) with a positive b, each with one of its own.
    """

    def grows(part: Expr) -> bool:
        return bool(part.is_Pow and part.base in unit and derivative(part.exp, number).is_number)

    def power(part: Expr) -> Expr:
        rate = derivative(part.exp, number)
        return (
            between_0_and_1(f"{part.base}__n") ** rate
            * part.base ** (part.exp - rate * number).expand()
        )

    shown = with_bounds(expr.replace(grows, power), unit)
    return shown.replace(
        lambda part: part.is_Pow and part.exp.is_Rational and not part.exp.is_Integer,
        lambda part: sp.expand_power_base(sp.factor(part.base) ** part.exp),
    )


# --- at drawn points ------------------------------------------------------------------------------


def _is_zero_at_usual_points(expr: Expr, unit: Set[Expr]) -> bool:
    """Whether an expression is zero at values of usual size; of all sizes where it has none there.

    Raises:
        NotDerivableError: it has no value at any point that was drawn.
    """
    symbols = _Symbols([expr], unit)
    for span in (0, _SPAN + _largest_power([expr])):
        values = [*itertools.islice(_values(expr, _points(symbols, span)), POINTS)]
        if values:
            return all(value == 0 for value in values)
    raise NotDerivableError("no state was found at which both have a value")


def _is_zero_in_pieces(expr: Expr, unit: Set[Expr]) -> bool:
    """Whether each piece of an expression is zero at values of all sizes in its region.

    Raises:
        NotDerivableError: a piece is not zero, and no point was found in its region.
    """
    for piece in pieces(expr, unit):
        parts = (piece.formula, *piece.positive)
        points = _points(_Symbols(parts, unit), _SPAN + _largest_power(parts))
        values = [*itertools.islice(_values(piece.formula, points, piece.positive), POINTS)]
        if any(value != 0 for value in values):
            return False
        if not values and not _is_zero_at_usual_points(piece.formula, unit):
            region = " and ".join(f"{written(part)} > 0" for part in piece.positive)
            raise NotDerivableError(f"no state was found with {region}, where both differ")
    return True


def _largest_power(parts: Iterable[Expr]) -> int:
    """The largest power of ten, in size, in the numbers of some expressions."""
    numbers = {abs(value) for part in parts for value in part.atoms(sp.Rational) if value != 0}
    return max((abs(int(sp.log(value, 10).evalf())) for value in numbers), default=0)


class _Symbols:
    """What values are drawn of.

    Args:
        parts: expressions.
        unit: symbols between 0 and 1.
    """

    def __init__(self, parts: Sequence[Expr], unit: Set[Expr]) -> None:
        whole = sp.Tuple(*parts)
        self._unit = unit
        self._in_powers = any(power.exp.has(number) for power in whole.atoms(sp.Pow))
        self.all = sorted(whole.free_symbols, key=str)

    def values(self, symbol: Expr, span: int, generator: random.Random) -> Iterator[Expr]:
        """Values of a symbol, all of one size; positive ones, or such of both signs.

        Args:
            symbol: one of them.
            span: how many powers of ten its size may be from 1.
            generator: of random numbers.
        """
        if symbol == number:
            digits = _POWERS if self._in_powers or not span else generator.randint(1, _STEPS)
            yield sp.Integer(generator.randint(2, 10**digits))
            return
        bounded = symbol in self._unit
        scale = sp.Integer(10) ** generator.randint(-span, 0 if bounded else span)
        from_one = bounded and generator.random() < 0.5
        signs = (1,) if symbol.is_positive or generator.random() < 1 / 3 else (-1, 1)
        while True:
            size = generator.randint(1, _UNDER - 1 if bounded else 2 * _UNDER)
            value = sp.Rational(generator.choice(signs) * size, _UNDER) * scale
            yield 1 - value if from_one else value


@dataclass(frozen=True)
class _Point:
    """Drawn values of scalars, and of entries at each coordinate; how many there are in a sum."""

    scalars: Mapping[Expr, Expr]
    coordinates: Sequence[Mapping[Expr, Expr]]
    counts: Mapping[str, int]

    def value(self, expr: Expr) -> Expr | None:
        """A number, 0 where it has no digit that is known; None where it is not real.

        Raises:
            NotDerivableError: a function in it has no values here.
        """
        exact = self._exact(expr, 0)
        try:
            value = exact.evalf(DIGITS, maxn=_MOST_DIGITS, strict=True)
        except PrecisionExhausted:
            return sp.Integer(0) if exact.is_real else None
        if value.has(sp.Function):
            raise NotDerivableError(f"no number is known of {value.atoms(sp.Function).pop().func}")
        return value if value.is_real and value.is_finite else None

    def _exact(self, expr: Expr, place: int) -> Expr:
        """An expression at one of the coordinates."""
        shown = expr.replace(
            lambda part: isinstance(part, AppliedUndef),
            lambda part: sp.Add(
                *(self._exact(part.args[0], k) for k in range(self.counts[part.func.__name__]))
            ),
        )
        return shown.subs({**self.scalars, **self.coordinates[place]})


def _points(symbols: _Symbols, span: int) -> Iterator[_Point]:
    """Points drawn one after another, of values that span so many powers of ten around 1."""
    generator = random.Random(1)
    while True:
        scalars: dict[Expr, Expr] = {}
        coordinates: list[dict[Expr, Expr]] = [{} for _ in _COUNTS]
        for symbol in symbols.all:
            homes = coordinates if isinstance(symbol, Coordinate) else [scalars]
            for home, value in zip(homes, symbols.values(symbol, span, generator), strict=False):
                home[symbol] = value
        counts = generator.sample(_COUNTS, len(_SUMS))
        yield _Point(scalars, coordinates, dict(zip(_SUMS, counts, strict=True)))


def _values(expr: Expr, points: Iterable[_Point], positive: Sequence[Expr] = ()) -> Iterator[Expr]:
    """An expression at those points at which it has a value and others are positive.

    Raises:
        NotDerivableError: a function in one of them has no values here.
    """
    for point in itertools.islice(points, _SEARCHED):
        if all((point.value(part) or 0) > 0 for part in positive):
            value = point.value(expr)
            if value is not None:
                yield value
