"""Truncated Laurent series in the step h, over any field: a program run to all orders at once.

A number is ``sum_k c_k h^k`` with the coefficients below ``h^precision`` known. The field is
that of exact rationals, a number field, or high-precision floating point; a root or a
transcendental function that leaves it raises :class:`Irrational`. Functions follow from the
differential equations they satisfy (Knuth, The Art of Computer Programming 2, 4.7).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.functions import PRIMITIVE
from hamilforge.gen.derive.calculus import declared_derivative
from hamilforge.gen.program.algebra import Algebra, evaluate
from hamilforge.gen.program.ir import Expr
from hamilforge.gen.program.lower import lower


class Irrational(NotDerivableError, ArithmeticError):
    """A value is not in the field."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of numbers.

    Attributes:
        convert: an exact rational as a number of the field.
        function: ``function(name, value)`` for roots and transcendental functions.
        is_zero: the zero test.
        embed: an algebraic number, written in SymPy, as a number of the field.
        magnitude: the absolute value of a number, for reports.
        name: for evidence.
        written: a number of the field in SymPy, for reports.
    """

    convert: Callable[[Fraction], Any]
    function: Callable[[str, Any], Any]
    is_zero: Callable[[Any], bool]
    embed: Callable[[sp.Expr], Any]
    magnitude: Callable[[Any], float]
    name: str
    written: Callable[[Any], Any]


def _rational_function(name: str, value: Fraction) -> Fraction:
    trivial: dict[tuple[str, Any], int] = {
        ("exp", 0): 1,
        ("log", 1): 0,
        ("sqrt", 0): 0,
        ("sqrt", 1): 1,
        ("tanh", 0): 0,
    }
    if (name, value) in trivial:
        return Fraction(trivial[name, value])
    if name == "sqrt" and value > 0:
        over, under = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if over * over == value.numerator and under * under == value.denominator:
            return Fraction(over, under)
    raise Irrational(f"{name}({value})")


def _not_rational(value: sp.Expr) -> Any:
    raise Irrational(str(value))


RATIONALS = Field(
    convert=lambda value: value,
    function=_rational_function,
    is_zero=lambda value: value == 0,
    embed=_not_rational,
    magnitude=lambda value: abs(float(value)),
    name="exact rationals",
    written=lambda value: sp.Rational(value.numerator, value.denominator),
)


def number_field(radicals: Sequence[sp.Expr]) -> Field:
    """The rationals with algebraic numbers adjoined."""
    return _number_field(tuple(radicals))


@functools.lru_cache(maxsize=64)
def _number_field(radicals: tuple[sp.Expr, ...]) -> Field:
    domain = sp.QQ.algebraic_field(*radicals)

    def function(name: str, value: Any) -> Any:
        exact = domain.to_sympy(value)
        if exact.is_Rational:
            root = _rational_function(name, Fraction(int(exact.p), int(exact.q)))
            return domain.convert(sp.Rational(root.numerator, root.denominator))
        raise Irrational(f"{name}({exact})")

    def convert(value: Fraction) -> Any:
        return domain.convert_from(sp.QQ(value.numerator, value.denominator), sp.QQ)

    return Field(
        convert=convert,
        function=function,
        is_zero=lambda value: not value,
        embed=functools.lru_cache(maxsize=256)(domain.from_sympy),  # by a minimal polynomial
        magnitude=lambda value: abs(float(sp.N(domain.to_sympy(value)))),
        name=f"exact arithmetic in Q({', '.join(map(str, radicals))})",
        written=lambda value: sp.expand(domain.to_sympy(value)),
    )


DIGITS = 60
#: What is smaller beside 1 is rounding.
ROUNDING = mpmath.mpf(10) ** (-DIGITS // 2)
_CONTEXT = mpmath.mp.clone()
_CONTEXT.dps = DIGITS


def _float_function(name: str, value: Any) -> Any:
    if name == "pi":
        return +_CONTEXT.pi
    if (name == "sqrt" and value < 0) or (name == "log" and value <= 0):
        raise Irrational(f"{name}({_CONTEXT.nstr(value, 10)})")
    result = getattr(_CONTEXT, name)(value)
    if isinstance(result, _CONTEXT.mpc):
        raise Irrational(f"{name}({value}) is not real")
    return result


FLOATS = Field(
    convert=lambda value: _CONTEXT.mpf(value.numerator) / value.denominator,
    function=_float_function,
    is_zero=lambda value: abs(value) < ROUNDING,
    embed=lambda value: _CONTEXT.mpf(str(sp.N(value, DIGITS))),
    magnitude=lambda value: abs(float(value)),
    name=f"{DIGITS}-digit arithmetic",
    written=lambda value: sp.Float(str(value), DIGITS),
)


class Series:
    """A truncated Laurent series; immutable.

    Attributes:
        low: the exponent of the first coefficient.
        coefficients: from ``h^low`` up.
        precision: coefficients of this power and above are unknown.
    """

    __slots__ = ("coefficients", "field", "low", "precision")

    def __init__(self, field: Field, low: int, coefficients: Sequence[Any], precision: int) -> None:
        keep = list(coefficients)[: max(0, precision - low)]
        while keep and field.is_zero(keep[0]):
            keep.pop(0)
            low += 1
        while keep and field.is_zero(keep[-1]):
            keep.pop()
        self.field, self.low, self.precision = field, low if keep else precision, precision
        self.coefficients = tuple(keep)

    def __getitem__(self, power: int) -> Any:
        """The coefficient of ``h^power``."""
        index = power - self.low
        if 0 <= index < len(self.coefficients):
            return self.coefficients[index]
        return self.field.convert(Fraction(0))

    def _lift(self, other: Any) -> Series:
        if isinstance(other, Series):
            return other
        value = self.field.convert(Fraction(other)) if isinstance(other, int | Fraction) else other
        return Series(self.field, 0, [value], max(self.precision, 1))

    def __add__(self, other: Any) -> Series:
        if isinstance(other, np.ndarray):
            return NotImplemented
        other = self._lift(other)
        precision = min(self.precision, other.precision)
        low = min(self.low, other.low)
        values = [self[k] + other[k] for k in range(low, precision)]
        return Series(self.field, low, values, precision)

    __radd__ = __add__

    def __neg__(self) -> Series:
        return Series(self.field, self.low, [-c for c in self.coefficients], self.precision)

    def __sub__(self, other: Any) -> Series:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return self + (-self._lift(other))

    def __rsub__(self, other: Any) -> Series:
        return -self + other

    def __mul__(self, other: Any) -> Series:
        if isinstance(other, np.ndarray):
            return NotImplemented
        other = self._lift(other)
        precision = min(self.precision + other.low, other.precision + self.low)
        low = self.low + other.low
        zero = self.field.convert(Fraction(0))
        longest = len(self.coefficients) + len(other.coefficients)
        values = [zero] * max(0, min(precision - low, longest))
        for i, left in enumerate(self.coefficients[: len(values)]):
            for j, right in enumerate(other.coefficients[: len(values) - i]):
                values[i + j] = values[i + j] + left * right
        return Series(self.field, low, values, precision)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Series:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return self * self._lift(other).inverse()

    def __rtruediv__(self, other: Any) -> Series:
        return self._lift(other) * self.inverse()

    def inverse(self) -> Series:
        """The reciprocal."""
        if not self.coefficients:
            raise ZeroDivisionError("a series that vanishes to the known order")
        count = self.precision - self.low
        lead = self.field.convert(Fraction(1)) / self.coefficients[0]
        values = [lead]
        for k in range(1, count):
            total = self.field.convert(Fraction(0))
            for i in range(1, min(k, len(self.coefficients) - 1) + 1):
                total = total + self.coefficients[i] * values[k - i]
            values.append(-lead * total)
        return Series(self.field, -self.low, values, count - self.low)

    def integral(self) -> Series:
        """The integral from 0, of a power series."""
        values = [self[k] * self.field.convert(Fraction(1, k + 1)) for k in range(self.precision)]
        return Series(self.field, 1, values, self.precision + 1)

    def truncated(self, precision: int) -> Series:
        """The same, known to fewer orders."""
        return Series(self.field, self.low, self.coefficients, min(precision, self.precision))

    def derivative(self) -> Series:
        """The derivative, of a power series."""
        values = [self[k] * self.field.convert(Fraction(k)) for k in range(1, self.precision)]
        return Series(self.field, 0, values, self.precision - 1)

    def _solve(self, value: Any, slope: Callable[[Series], Series]) -> Series:
        """f(self), from f at the constant term and f' as a function of f(self)."""
        result = Series(self.field, 0, [value], 1)
        inner = self.derivative()
        for precision in range(2, self.precision + 1):
            partial = Series(self.field, 0, result.coefficients, precision - 1)
            if result.low > 0:
                partial = result.truncated(precision - 1)
            result = (slope(partial) * inner).truncated(precision - 1).integral() + value
        return result

    def exp(self) -> Series:
        """E to this power."""
        return self._solve(self.field.function("exp", self._constant()), lambda y: y)

    def log(self) -> Series:
        """The natural logarithm."""
        value = self.field.function("log", self._constant())
        return (self.derivative() / self).truncated(self.precision - 1).integral() + value

    def tanh(self) -> Series:
        """The hyperbolic tangent."""
        return self._solve(self.field.function("tanh", self._constant()), lambda y: 1 - y * y)

    def sin_cos(self) -> tuple[Series, Series]:
        """Sine and cosine, together."""
        value = self._constant()
        start = [self.field.function(name, value) for name in ("sin", "cos")]
        sine, cosine = (Series(self.field, 0, [entry], 1) for entry in start)
        inner = self.derivative()
        for precision in range(2, self.precision + 1):
            slopes = (cosine * inner, -sine * inner)
            sine, cosine = (
                slope.truncated(precision - 1).integral() + entry
                for slope, entry in zip(slopes, start, strict=True)
            )
        return sine, cosine

    def integrated(self, name: str, slope: Series) -> Series:
        """A function by name, from its slope at this series."""
        value = self.field.function(name, self._constant())
        product = slope * self.derivative()
        return product.truncated(self.precision - 1).integral() + value

    def sqrt(self) -> Series:
        """The square root, of a series with an even lowest power."""
        return self.power(Fraction(1, 2))

    def power(self, exponent: Any) -> Series:
        """A power with an exponent in the field, or a rational one."""
        one = self.field.convert(Fraction(1))
        if not self.coefficients:
            if isinstance(exponent, Fraction) and exponent > 0:
                return self
            raise Irrational("a power of zero")
        rational = exponent if isinstance(exponent, Fraction) else None
        if rational is not None and rational.denominator == 1:
            base = self if rational >= 0 else self.inverse()
            result = Series(
                self.field,
                0,
                [one],
                max(base.precision - base.low, 1)
                + max(base.low, 0)
                + abs(int(rational)) * abs(base.low),
            )
            for _ in range(abs(int(rational))):
                result = result * base
            return result
        lead = self.coefficients[0]
        if rational is not None and rational.denominator == 2:
            if self.low % 2:
                raise Irrational("the root of an odd power of h")
            root = self.field.function("sqrt", lead)
            value = one
            for _ in range(abs(rational.numerator)):
                value = value * root
            value = value if rational > 0 else one / value
            shift = self.low * rational
        elif lead == one and self.low == 0:
            value, shift = one, Fraction(0)
        else:
            value = self.field.function(
                "exp", self._scaled(exponent, self.field.function("log", lead))
            )
            shift = self.low * rational if rational is not None else Fraction(0)
            if shift.denominator != 1:
                raise Irrational("a root of a power of h")
        factor = self.field.convert(exponent) if isinstance(exponent, Fraction) else exponent
        unit = Series(self.field, 0, self.coefficients, self.precision - self.low) / lead
        ratio = unit.derivative() / unit
        grown = (ratio * factor).truncated(unit.precision - 1).integral().exp() * value
        return Series(
            self.field, grown.low + int(shift), grown.coefficients, grown.precision + int(shift)
        )

    def _scaled(self, exponent: Any, value: Any) -> Any:
        factor = self.field.convert(exponent) if isinstance(exponent, Fraction) else exponent
        return factor * value

    def _constant(self) -> Any:
        if self.low < 0:
            raise Irrational("a function of a series with negative powers of h")
        return self[0]


def _entrywise(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        if not any(isinstance(value, np.ndarray) for value in values):
            return function(*values)
        arrays = np.broadcast_arrays(*map(_boxed, values))
        result = np.empty_like(arrays[0])
        for index in np.ndindex(result.shape):
            result[index] = function(*(array[index] for array in arrays))
        return result

    return apply


def _boxed(value: Any) -> Any:
    """A series as an array of one, which NumPy does not take apart."""
    if isinstance(value, np.ndarray):
        return value
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def _positive(series: Series) -> bool:
    """The sign of a series for small h > 0."""
    if not series.coefficients:
        raise Irrational("the sign of zero")
    return bool(series.coefficients[0] > 0)


def _is_zero(series: Series) -> bool:
    """Whether a series is zero; one that is so only as far as it goes is not known to be."""
    if series.coefficients:
        return False
    raise Irrational("whether two series are equal")


def _pow(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, Series):
        if exponent.coefficients and (exponent.low, len(exponent.coefficients)) != (0, 1):
            return _entrywise(lambda entry: (entry.log() * exponent).exp())(base)
        exponent = exponent[0]
    return _entrywise(lambda entry: entry.power(exponent))(base)


def series_algebra(field: Field, precision: int) -> Algebra:
    """Series in h over a field as an algebra for programs."""

    def constant(value: Fraction) -> Series:
        return Series(field, 0, [field.convert(value)], precision)

    zero, one, third = field.convert(Fraction(0)), constant(Fraction(1)), Fraction(1, 3)
    functions: dict[str, Callable[..., Any]] = {
        "pi": lambda: Series(field, 0, [field.function("pi", zero)], precision),
        "sqrt": _entrywise(lambda z: z.sqrt()),
        "exp": _entrywise(lambda z: z.exp()),
        "expm1": _entrywise(lambda z: z.exp() - one),
        "log": _entrywise(lambda z: z.log()),
        "log1p": _entrywise(lambda z: (z + one).log()),
        "tanh": _entrywise(lambda z: z.tanh()),
        "cosh": _entrywise(lambda z: (z.exp() + (-z).exp()) / 2),
        "sinh": _entrywise(lambda z: (z.exp() - (-z).exp()) / 2),
        "logistic": _entrywise(lambda z: one / ((-z).exp() + one)),
        "abs": _entrywise(lambda z: z if _positive(z) else -z),
        "sign": _entrywise(lambda z: one if _positive(z) else -one),
        "pow": _pow,
        "sin": _entrywise(lambda z: z.sin_cos()[0]),
        "cos": _entrywise(lambda z: z.sin_cos()[1]),
        "tan": _entrywise(lambda z: z.sin_cos()[0] / z.sin_cos()[1]),
        "softplus": _entrywise(lambda z: (one + z.exp()).log()),
        "max": _entrywise(lambda x, y: x if _positive(x - y) else y),
        "min": _entrywise(lambda x, y: y if _positive(x - y) else x),
        "log_cosh": _entrywise(lambda z: ((z.exp() + (-z).exp()) / 2).log()),
        "greater": _entrywise(lambda x, y: one if _positive(x - y) else one * 0),
        "at_least": _entrywise(lambda x, y: one if _positive(x - y) else one * 0),
        "equal": _entrywise(lambda x, y: one if _is_zero(x - y) else one * 0),
        "relu": _entrywise(lambda z: z if _positive(z) else z * 0),
        "step": _entrywise(lambda z: one if _positive(z) else one * 0),
        "elu": _entrywise(lambda z: z if _positive(z) else z.exp() - one),
        "leaky_relu": _entrywise(lambda z: z if _positive(z) else z / 100),
        "cbrt": _entrywise(lambda z: z.power(third) if _positive(z) else -(-z).power(third)),
        "inverse": _entrywise(lambda z: one / z),
        "root": _entrywise(lambda z: z.sqrt()),
    }

    algebra = Algebra(constant, functions, _total, _select)
    for name in set(PRIMITIVE) - set(functions):
        functions[name] = _entrywise(partial(_from_slope, name, algebra))
    return algebra


def _from_slope(name: str, algebra: Algebra, z: Series) -> Series:
    """A function by the derivative that the table of functions has for it."""
    return z.integrated(name, evaluate(_slope(name), {"x": z}, algebra))


@cache
def _slope(name: str) -> Expr:
    return lower(declared_derivative(name, sp.Symbol("x", real=True)))


def _total(array: Any) -> Any:
    return sum(array[1:], array[0])


def _select(
    subject: Any, value: Fraction, then: Callable[[], Any], otherwise: Callable[[], Any]
) -> Any:
    entries = _boxed(subject)
    if value == 0:
        if any(not entry.coefficients for entry in entries.ravel()):
            raise Irrational("a choice at its boundary")
        return otherwise()
    chosen = [not (entry - value).coefficients for entry in entries.ravel()]
    if all(chosen):
        return then()
    if not any(chosen):
        return otherwise()
    mask = np.reshape(chosen, entries.shape)
    return np.where(mask, _boxed(then()), _boxed(otherwise()))
