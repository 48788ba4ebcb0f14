"""Order of a composition: words in the free associative algebra over the letters.

The composition of exact flows ``exp(s_1 h X_1) exp(s_2 h X_2) ...`` has order p if and only if
the coefficient of every word of length n <= p is that of ``exp(h (A + B + D))``, which is
``1/n!``. This holds for any K, J, friction and dimension; a friction that depends on time is a
flow of the clock.  The letters are Lie derivatives: the flow applied first stands first in a word.

Treves, Un algorithme pour les conditions d'ordre; Munthe-Kaas and Owren, Phil. Trans. R. Soc. A 357
(1999) 957-981, doi:10.1098/rsta.1999.0361.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import factorial
from typing import Any

import mpmath
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.derive.scheme import Scheme, constant_values
from hamilforge.gen.prove.series import FLOATS, RATIONALS, ROUNDING, Field, Irrational, number_field

Word = tuple[str, ...]
MAX_ORDER = 10
#: A residual of decimal coefficients below this is rounding of published digits.
DECIMAL = mpmath.mpf(10) ** -11


@dataclass(frozen=True, slots=True)
class WordOrder:
    """The order of a composition.

    Attributes:
        order: the order.
        letters: the letters of the words.
        field: where the coefficients live.
        residuals: the largest residual among words of length 1, 2, ..., order + 1.
        words: the number of words examined.
        differences: the coefficients less 1/n! of the words of lengths n to order + 1, where they
            are not zero.
    """

    order: int
    letters: tuple[str, ...]
    field: Field
    residuals: tuple[float, ...]
    words: int
    differences: Mapping[Word, Any]


def field_of(scheme: Scheme) -> Field:
    """The smallest of the fields that holds the constants."""
    if not scheme.exact:
        return FLOATS
    values = constant_values(scheme.constants)
    return field_with((*values.values(), *(flow.weight.xreplace(values) for flow in scheme.flows)))


def field_with(exprs: Sequence[Expr]) -> Field:
    """The smallest of the fields that holds some numbers written in SymPy."""
    if any(expr.atoms(sp.NumberSymbol, sp.Function) for expr in exprs):
        return FLOATS  # pi is in no number field
    roots = {power for expr in exprs for power in expr.atoms(sp.Pow) if not power.exp.is_Integer}
    if any(not root.exp.is_Rational for root in roots):
        return FLOATS  # 2**sqrt(2) neither
    return number_field(sorted(roots, key=sp.default_sort_key)) if roots else RATIONALS


def in_field(expr: Expr, values: Mapping[sp.Symbol, Any], field: Field) -> Any:
    """An expression in constants as a number of the field.

    Args:
        expr: rational numbers, constants and numbers of the field, in sums, products and whole
            powers.
        values: the constants, as numbers of the field.
        field: where the numbers live.

    Returns:
        The number.

    Raises:
        Irrational: it is no rational function of its constants.
        ZeroDivisionError: it is a quotient by zero.
    """
    if expr.is_Rational:
        return field.convert(Fraction(int(expr.p), int(expr.q)))
    if expr.is_Symbol:
        return values[expr]
    if expr.is_Add:
        parts = [in_field(arg, values, field) for arg in expr.args]
        return sum(parts[1:], parts[0])
    if expr.is_Mul:
        result = field.convert(Fraction(1))
        for arg in expr.args:
            result = result * in_field(arg, values, field)
        return result
    if expr.is_Pow and expr.exp.is_Integer:
        base = in_field(expr.base, values, field)
        result = field.convert(Fraction(1))
        for _ in range(abs(int(expr.exp))):
            result = result * base
        if expr.exp > 0:
            return result
        if field.is_zero(result):
            raise ZeroDivisionError(str(expr))
        return field.convert(Fraction(1)) / result
    if expr.free_symbols:
        raise Irrational(str(expr))
    return field.embed(expr)


def field_values(constants: Mapping[sp.Symbol, Expr], field: Field) -> dict[sp.Symbol, Any]:
    """The constants as numbers of a field."""
    values = constant_values(constants)
    return {symbol: in_field(expr, {}, field) for symbol, expr in values.items()}


def word_order(scheme: Scheme, letters: tuple[str, ...] | None = None) -> WordOrder:
    """The order of a splitting.

    Args:
        scheme: a composition of flows.
        letters: the letters of the system; without them A, B and D, or A and BD where kick and
            friction are always one flow.

    Returns:
        The order as a composition for the flow of the sum of the letters.

    Raises:
        ValueError: the scheme is not a composition of flows.
        NotDerivableError: the order is higher than any looked for.
    """
    if not scheme.flows:
        raise ValueError("not a composition of exact flows")
    field = field_of(scheme)
    values = constant_values(scheme.constants)
    joint = is_joint(scheme)
    flows = [
        (_expand(flow.letter, joint), in_field(flow.weight.xreplace(values), {}, field))
        for flow in scheme.flows
    ]
    return product_order(flows, letters or (("A", "BD") if joint else ("A", "B", "D")), field)


def letters_moved(scheme: Scheme) -> tuple[str, ...]:
    """The letters whose flows a splitting has: without D where it has no friction."""
    joint = is_joint(scheme)
    return tuple(sorted({one for flow in scheme.flows for one in _expand(flow.letter, joint)}))


def is_joint(scheme: Scheme) -> bool:
    """Whether kick and friction are always one flow, and so one letter."""
    return {flow.letter for flow in scheme.flows} <= {"A", "BD"}


def product_order(
    flows: Sequence[tuple[tuple[str, ...], Any]], letters: tuple[str, ...], field: Field
) -> WordOrder:
    """The order of a product of exponentials as one of the exponential of a sum of letters.

    Args:
        flows: for each factor the letters in its sum, and its weight.
        letters: those of the sum.
        field: where the weights live.

    Returns:
        The order, with what was examined.

    Raises:
        NotDerivableError: the order is higher than any looked for, or hidden by rounding.
    """
    limit = float(DECIMAL) if field is FLOATS else 0.0
    whole = sum(field.magnitude(weight) for _, weight in flows)
    residuals: list[float] = []
    found: dict[Word, Any] = {}
    count = 0
    for order in range(1, MAX_ORDER + 1):
        if field is FLOATS and whole**order * float(ROUNDING) ** 2 > limit:
            raise NotDerivableError("its weights are so large that rounding hides the order")
        differences = _differences(word_coefficients(flows, order, field), letters, order, field)
        count += len(letters) ** order
        residuals.append(max(map(field.magnitude, differences.values()), default=0.0))
        found |= differences
        if residuals[-1] > limit:
            return WordOrder(order - 1, letters, field, tuple(residuals), count, found)
    raise NotDerivableError(f"an order above {MAX_ORDER}")


def _expand(letter: str, joint: bool) -> tuple[str, ...]:
    return (letter,) if joint or letter != "BD" else ("B", "D")


def word_coefficients(
    flows: Sequence[tuple[tuple[str, ...], Any]], length: int, field: Field
) -> dict[Word, Any]:
    """The coefficients of all words up to a length in a product of exponentials.

    Args:
        flows: for each factor the letters in its sum, and its weight.
        length: the greatest length.
        field: where the weights live.

    Returns:
        The coefficient of each word that has one, the empty word included.
    """
    series: dict[Word, Any] = {(): field.convert(Fraction(1))}
    for letters, weight in flows:
        grown: dict[Word, Any] = {}
        powers = [field.convert(Fraction(1))]
        for k in range(1, length + 1):
            powers.append(powers[-1] * weight * field.convert(Fraction(1, k)))
        tails: list[list[Word]] = [[()]]
        for _ in range(length):
            tails.append([(*tail, letter) for tail in tails[-1] for letter in letters])
        for word, coefficient in series.items():
            for k in range(length - len(word) + 1):
                scaled = coefficient * powers[k]
                for tail in tails[k]:
                    key = word + tail
                    grown[key] = grown[key] + scaled if key in grown else scaled
        series = grown
    return series


def is_lyndon(word: Word) -> bool:
    """Whether a word is smaller than all its rotations."""
    return all(word < word[k:] + word[:k] for k in range(1, len(word)))


def _differences(
    coefficients: Mapping[Word, Any], letters: tuple[str, ...], length: int, field: Field
) -> dict[Word, Any]:
    """The deviations from 1/n! of the words of one length, where there are any."""
    wanted = field.convert(Fraction(1, factorial(length)))
    zero = field.convert(Fraction(0))
    found = {
        word: coefficients.get(word, zero) - wanted for word in product(letters, repeat=length)
    }
    return {word: value for word, value in found.items() if not field.is_zero(value)}
