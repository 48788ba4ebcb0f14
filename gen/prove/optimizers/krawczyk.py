"""Published digits stand for a true solution: an existence proof near decimal coefficients.

In: a splitting whose constants are decimals.  Out: a radius within which a true solution of order
conditions lies.  Of the conditions "the coefficient of a word is 1/n!" as many independent ones are
taken as there are constants that they determine; Krawczyk's operator in interval arithmetic,

    K(X) = m - Y F(m) + (I - Y F'(X)) (X - m),

maps the box X of that radius into its interior, so F has a zero in it.  Derivatives are those of
series truncated after the first power.

R. Krawczyk, Computing 4 (1969) 187-201, doi:10.1007/BF02234767.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import factorial
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from scipy.linalg import qr

from hamilforge.gen.derive.scheme import Scheme
from hamilforge.gen.prove.optimizers.words import Word, in_field, is_lyndon
from hamilforge.gen.prove.series import Field, Irrational, Series

DIGITS = 30
#: Slopes below this are rounding: no condition determines the constant.
NOISE = 1e-20
RADII = (1e-19, 1e-17, 1e-15, 1e-14, 1e-13, 1e-12)


def _refuse(*_: Any) -> Any:
    raise Irrational("no functions of intervals")


def _field(zero: Any) -> Field:
    return Field(
        convert=lambda value: zero(value.numerator) / value.denominator,
        function=_refuse,
        is_zero=lambda value: False,
        embed=_refuse,
        magnitude=lambda value: float(abs(value)),
        name="intervals",
        written=_refuse,
    )


_FLOATS = _field(mpmath.mpf)
_BOXES = _field(mpmath.iv.mpf)


@dataclass(frozen=True, slots=True)
class Existence:
    """A true solution near the published digits.

    Attributes:
        radius: how near, for each constant.
        conditions: the number of order conditions it satisfies exactly.
    """

    radius: float
    conditions: int


def true_solution(scheme: Scheme, order: int) -> Existence | None:
    """A solution of as many order conditions as the constants can meet.

    Args:
        scheme: a composition with published digits.
        order: of the conditions.

    Returns:
        How near it is; None if none is found, or a constant is no rational function of others.
    """
    free = [symbol for symbol, value in scheme.constants.items() if not value.free_symbols]
    letters = sorted({flow.letter for flow in scheme.flows} - {"D"})
    words = [
        word
        for length in range(1, order + 1)
        for word in product(letters, repeat=length)
        if is_lyndon(word)  # the conditions of these words suffice
    ]
    before = mpmath.iv.dps
    mpmath.iv.dps = DIGITS
    try:
        with mpmath.workdps(DIGITS):
            return _existence(scheme, free, words)
    except Irrational:
        return None
    finally:
        mpmath.iv.dps = before


def _existence(scheme: Scheme, free: list[sp.Symbol], words: list[Word]) -> Existence | None:
    digits = [mpmath.mpf(str(sp.N(scheme.constants[symbol], DIGITS))) for symbol in free]
    slopes = np.array(_conditions(scheme, free, digits, words, _FLOATS)[1], dtype=float)
    scale = abs(slopes).max(initial=0.0)
    if scale < NOISE:
        return None
    _, triangle, rows = qr(slopes.T, pivoting=True)
    rank = int((abs(np.diag(triangle)) > 1e-8 * scale).sum())
    chosen = [words[k] for k in rows[:rank]]
    _, _, columns = qr(slopes[rows[:rank]], pivoting=True)
    unknown = sorted(int(k) for k in columns[:rank])
    for radius in RADII:
        if _is_mapped_into_itself(scheme, free, digits, chosen, unknown, radius):
            return Existence(radius, rank)
    return None


def _is_mapped_into_itself(
    scheme: Scheme,
    free: list[sp.Symbol],
    digits: list[Any],
    words: list[Word],
    unknown: list[int],
    radius: float,
) -> bool:
    interval = mpmath.iv.mpf
    middle = [interval(value) for value in digits]
    box = list(middle)
    for k in unknown:
        box[k] = interval([digits[k] - radius, digits[k] + radius])
    residuals, slopes = _conditions(scheme, free, middle, words, _BOXES)
    _, wide = _conditions(scheme, free, box, words, _BOXES)
    rough = np.array([[float(row[k].mid) for k in unknown] for row in slopes])
    inverse = [[interval(float(entry)) for entry in row] for row in np.linalg.inv(rough)]
    size = range(len(unknown))
    for i in size:
        image = interval(0)
        for j in size:
            image -= inverse[i][j] * residuals[j]
            product_ij = sum((inverse[i][k] * wide[k][unknown[j]] for k in size), interval(0))
            image += (int(i == j) - product_ij) * interval([-radius, radius])
        if not (-radius < image.a and image.b < radius):
            return False
    return True


def _conditions(
    scheme: Scheme, free: list[sp.Symbol], point: list[Any], words: list[Word], field: Field
) -> tuple[list[Any], list[list[Any]]]:
    """Residuals of the words' conditions, and their derivatives with respect to the constants."""
    residuals: list[Any] = []
    slopes: list[list[Any]] = [[] for _ in words]
    for index, _ in enumerate(free):
        values: dict[sp.Symbol, Any] = {
            symbol: Series(field, 0, [value, field.convert(Fraction(int(k == index)))], 2)
            for k, (symbol, value) in enumerate(zip(free, point, strict=True))
        }
        dual = _duals(field)
        for symbol, expr in scheme.constants.items():
            if expr.free_symbols:
                values[symbol] = in_field(expr, values, dual)
        weights = [(flow.letter, in_field(flow.weight, values, dual)) for flow in scheme.flows]
        coefficients = [_coefficient(word, weights, dual) for word in words]
        if not index:
            residuals = [
                value[0] - field.convert(Fraction(1, factorial(len(word))))
                for value, word in zip(coefficients, words, strict=True)
            ]
        for row, value in zip(slopes, coefficients, strict=True):
            row.append(value[1])
    return residuals, slopes


def _duals(field: Field) -> Field:
    def convert(value: Fraction) -> Series:
        return Series(field, 0, [field.convert(value)], 2)

    return replace(field, convert=convert)


def _coefficient(word: Word, weights: list[tuple[str, Any]], field: Field) -> Any:
    """The coefficient of one word in the product of exponentials: each flow takes a run of it."""
    one = field.convert(Fraction(1))
    reached: list[Any] = [one, *([None] * len(word))]
    for letter, weight in weights:
        for start in range(len(word) - 1, -1, -1):
            if reached[start] is None:
                continue
            share = reached[start]
            for stop in range(start, len(word)):
                if word[stop] != letter:
                    break
                share = share * weight * field.convert(Fraction(1, stop - start + 1))
                past = reached[stop + 1]
                reached[stop + 1] = share if past is None else past + share
    return reached[-1] if reached[-1] is not None else field.convert(Fraction(0))
