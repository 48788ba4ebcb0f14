"""Exact real numbers: rationals, and numbers of a field Q(theta).

A number is a :class:`fractions.Fraction` or an :class:`Algebraic`; both know + - * / and mix.  The
sign of an algebraic number is decided by refining an interval around theta, after an exact test
for zero, so a sign is never a rounding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen.declare.errors import ExpressionError
from hamilforge.gen.declare.expression import numerical
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.exact.elimination import row_reduced

Rational = Fraction | int
Number = Any  # Fraction | Algebraic; a union here would only slow every signature down
ZERO, ONE = Fraction(0), Fraction(1)
DIGITS = 50


@dataclass(eq=False, slots=True)
class NumberField:
    """Q(theta) for a real root theta of an irreducible polynomial.

    Attributes:
        modulus: the monic minimal polynomial of theta, rising powers.
        lower: theta lies between this
        upper: and this; the interval shrinks as signs are asked for.
        name: how theta is written.
        expression: theta for those who print it in their own way.
    """

    modulus: tuple[Fraction, ...]
    lower: Fraction
    upper: Fraction
    name: str
    expression: Any = None
    _powers: list[tuple[Fraction, ...]] = field(default_factory=list)

    @property
    def degree(self) -> int:
        """The degree over the rationals."""
        return len(self.modulus) - 1

    def element(self, parts: Iterable[Rational]) -> Algebraic:
        """A polynomial in theta, rising powers, as a number."""
        return Algebraic(self, self.reduced(list(map(Fraction, parts))))

    def reduced(self, parts: Sequence[Fraction]) -> tuple[Fraction, ...]:
        """The remainder of a polynomial modulo the minimal one."""
        degree = self.degree
        result = [*parts[:degree], *([ZERO] * (degree - len(parts)))]
        for excess, coefficient in enumerate(parts[degree:]):
            if coefficient:
                for k, power in enumerate(self._power(excess)):
                    result[k] += coefficient * power
        return tuple(result)

    def _power(self, excess: int) -> tuple[Fraction, ...]:
        """``theta**(degree + excess)`` in the lower powers."""
        while len(self._powers) <= excess:
            if not self._powers:
                self._powers.append(tuple(-part for part in self.modulus[:-1]))
                continue
            *shifted, top = (ZERO, *self._powers[-1])
            first = self._powers[0]
            self._powers.append(tuple(a + top * b for a, b in zip(shifted, first, strict=True)))
        return self._powers[excess]

    def refine(self) -> None:
        """Halve the interval around theta."""
        middle = (self.lower + self.upper) / 2
        at_lower, at_middle = (value(self.modulus, point) for point in (self.lower, middle))
        if at_middle == 0:
            self.lower = self.upper = middle
        elif (at_lower < 0) == (at_middle < 0):
            self.lower = middle
        else:
            self.upper = middle


class Algebraic:
    """A number of a :class:`NumberField`."""

    __slots__ = ("field", "parts")

    def __init__(self, of: NumberField, parts: tuple[Fraction, ...]) -> None:
        self.field, self.parts = of, parts

    def _other(self, other: Any) -> Algebraic | None:
        if isinstance(other, Algebraic):
            if other.field is not self.field:
                raise ValueError("numbers of two fields were mixed")
            return other
        if isinstance(other, Fraction | int):
            return self.field.element([other])
        return None

    def __add__(self, other: Any) -> Any:
        if (right := self._other(other)) is None:
            return NotImplemented
        parts = tuple(a + b for a, b in zip(self.parts, right.parts, strict=True))
        return Algebraic(self.field, parts)

    __radd__ = __add__

    def __neg__(self) -> Algebraic:
        return Algebraic(self.field, tuple(-part for part in self.parts))

    def __sub__(self, other: Any) -> Any:
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Fraction | int):
            return Algebraic(self.field, tuple(part * other for part in self.parts))
        if (right := self._other(other)) is None:
            return NotImplemented
        product = [ZERO] * (2 * self.field.degree - 1)
        for i, a in enumerate(self.parts):
            if a:
                for j, b in enumerate(right.parts):
                    product[i + j] += a * b
        return Algebraic(self.field, self.field.reduced(product))

    __rmul__ = __mul__

    def inverse(self) -> Algebraic:
        """One divided by the number.

        Raises:
            ZeroDivisionError: it is zero.
        """
        if not self:
            raise ZeroDivisionError("division by zero")
        degree = self.field.degree
        basis = [self.field.element([0] * k + [1]) * self for k in range(degree)]
        rows = [[*(element.parts[k] for element in basis), Fraction(k == 0)] for k in range(degree)]
        table, _ = row_reduced(rows, degree)
        return Algebraic(self.field, tuple(row[-1] for row in table))

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Algebraic):
            return self * other.inverse()
        return self * (ONE / other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.inverse() * other

    def __pow__(self, exponent: int) -> Any:
        result: Any = ONE
        base = self if exponent >= 0 else self.inverse()
        for _ in range(abs(exponent)):
            result = base * result
        return result

    def __bool__(self) -> bool:
        return any(self.parts)

    def __eq__(self, other: object) -> bool:
        try:
            return not (self - other)
        except (TypeError, ValueError):
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self.parts[0] if not any(self.parts[1:]) else self.parts)

    def sign(self) -> int:
        """-1, 0 or 1."""
        if not self:
            return 0
        while True:
            low, high = _enclosure(self.parts, self.field.lower, self.field.upper)
            if low > 0:
                return 1
            if high < 0:
                return -1
            self.field.refine()

    def approximately(self, digits: int = DIGITS) -> Fraction:
        """A rational number within a relative error of about ``10**-digits``."""
        while True:
            low, high = _enclosure(self.parts, self.field.lower, self.field.upper)
            if high - low <= abs(high + low) * Fraction(1, 10**digits) or low == high:
                return (low + high) / 2
            if not self:
                return ZERO
            self.field.refine()

    def __float__(self) -> float:
        return float(self.approximately(20))

    def __lt__(self, other: Any) -> bool:
        return sign(self - other) < 0

    def __gt__(self, other: Any) -> bool:
        return sign(self - other) > 0

    def __repr__(self) -> str:
        return written(self)


def sign(number: Number) -> int:
    """-1, 0 or 1, exactly."""
    if isinstance(number, Algebraic):
        return number.sign()
    return (number > 0) - (number < 0)


def as_rational(number: Number) -> Fraction | None:
    """The number if it is rational."""
    if isinstance(number, Algebraic):
        return None if any(number.parts[1:]) else number.parts[0]
    return Fraction(number)


def approximately(number: Number, digits: int = DIGITS) -> Fraction:
    """A rational number nearby."""
    return number.approximately(digits) if isinstance(number, Algebraic) else Fraction(number)


def high_precision(number: Number, digits: int = DIGITS) -> Any:
    """The number as mpmath's, at its working precision."""
    near = approximately(number, digits + 5)
    return mpmath.mpf(near.numerator) / near.denominator


def written(number: Number) -> str:
    """The number as a person would write it."""
    if not isinstance(number, Algebraic):
        return str(number)
    terms = []
    for power, part in enumerate(number.parts):
        if not part:
            continue
        grouped = _grouped(number.field.name)
        theta = grouped if power == 1 else f"{grouped}**{power}"
        if power == 0:
            text = str(abs(part))
        elif abs(part) == 1:
            text = theta
        elif abs(part.numerator) == 1:
            text = f"{theta}/{part.denominator}"
        else:
            over = f"{abs(part.numerator)}*{theta}"
            text = over if part.denominator == 1 else f"{over}/{part.denominator}"
        terms.append(("-" if part < 0 else "+", text))
    if not terms:
        return "0"
    first, *rest = terms
    head = ("-" if first[0] == "-" else "") + first[1]
    whole = head + "".join(f" {mark} {text}" for mark, text in rest)
    _assert_reads_as(whole, number)
    return whole


def _assert_reads_as(text: str, number: Algebraic) -> None:
    """A text that is not the number beside it is a fault of ours, and never printed."""
    name = number.field.name
    if re.fullmatch(r"[A-Za-z_]\w*", name) or not _is_expression(name):
        text = text.replace(_grouped(name), "theta")

    with mpmath.workdps(DIGITS):
        theta, exact = high_precision(number.field.element([0, 1])), high_precision(number)
        read = numerical(parse(text).tree, {"theta": theta})
        if not abs(read - exact) <= abs(exact) * mpmath.mpf(10) ** -20:
            raise AssertionError(f"{text} is not {mpmath.nstr(exact, 20)}")


def _is_expression(text: str) -> bool:
    """Whether a name of a generator can be read, as ``sqrt(2)`` can."""
    try:
        return not {*parse(text).functions()} - {"sqrt"}
    except ExpressionError:
        return False


def _grouped(name: str) -> str:
    """A name that may stand beside any operator."""
    return name if re.fullmatch(r"\w+(\([^()]*\))?", name) else f"({name})"


def value(polynomial: Sequence[Number], point: Number) -> Number:
    """The value of a polynomial, rising powers, by Horner's rule."""
    result: Number = ZERO
    for coefficient in reversed(polynomial):
        result = result * point + coefficient
    return result


def _enclosure(
    polynomial: Sequence[Fraction], lower: Fraction, upper: Fraction
) -> tuple[Fraction, Fraction]:
    """An interval that holds the values of a polynomial on an interval, by Horner's rule."""
    low = high = ZERO
    for coefficient in reversed(polynomial):
        products = (low * lower, low * upper, high * lower, high * upper)
        low, high = min(products) + coefficient, max(products) + coefficient
    return low, high
