"""Polynomials in the numbers that a step draws, as coefficients of its series, and their means.

In: names of letters.  Out: their polynomials over the rationals as numbers of a series; arrays of
letters; the mean of a polynomial, where the letters are independent standard normal numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.prove.optimizers.order import DIMENSION
from hamilforge.gen.prove.series import RATIONALS, Field, Series

Polynomial = Any
#: By how much more powers letters are known than what is compared.
MARGIN = 16


def field_of_letters(called: Sequence[str]) -> tuple[Field, Any]:
    """The polynomials in some letters over the rationals, as numbers of a series.

    Each name stands for a letter in each coordinate; numbers without letters are rationals.  They
    are no field: what divides by a letter, or takes a root of one, is refused.

    Returns:
        The field, and SymPy's ring.
    """
    named = [f"{name}__{k}" for name in called for k in range(DIMENSION)]
    ring = sp.ring(named or ["none"], sp.QQ)[0]

    def convert(value: Fraction) -> Polynomial:
        return sp.QQ(value.numerator, value.denominator)

    def function(name: str, value: Polynomial) -> Polynomial:
        polynomial = ring(value)
        if not polynomial.is_ground:
            raise NotDerivableError("a function of what is drawn is no polynomial")
        number = polynomial.coeff(1)
        exact = Fraction(int(number.numerator), int(number.denominator))
        return convert(RATIONALS.function(name, exact))

    return Field(
        convert=convert,
        function=function,
        is_zero=lambda value: not value,
        embed=lambda value: (
            convert(Fraction(*sp.Rational(value).as_numer_denom()))
            if value.is_Rational
            else RATIONALS.embed(value)
        ),
        magnitude=lambda value: max(map(abs, ring(value).coeffs()), default=0),
        name="exact polynomials in the numbers drawn",
        written=lambda value: ring(value).as_expr(),
    ), ring


def arrays_of_letters(
    field: Field, ring: Any, called: Sequence[str], precision: int
) -> dict[str, Any]:
    """Arrays of the letters of a ring.

    Args:
        field: of series.
        ring: with a letter for each name in each coordinate.
        called: the names.
        precision: the first power that is not compared.

    Returns:
        The arrays by name, `(2,)`, constant series.
    """
    letters = iter(ring.gens)
    arrays = {}
    for name in called:
        array = np.empty(DIMENSION, dtype=object)
        for index in range(DIMENSION):
            array[index] = Series(field, 0, [next(letters)], precision + MARGIN)
        arrays[name] = array
    return arrays


def slope(polynomial: Polynomial, place: int) -> Polynomial:
    """The derivative of a polynomial by the letter at some place of its ring."""
    lowered = {}
    for exponents, coefficient in polynomial.iterterms():
        if exponents[place]:
            key = tuple(e - (k == place) for k, e in enumerate(exponents))
            lowered[key] = coefficient * exponents[place]
    return polynomial.ring(lowered)


def mean(polynomial: Polynomial) -> Any:
    """The mean of a polynomial in independent standard normal numbers."""
    if not hasattr(polynomial, "iterterms"):  # a number
        return polynomial
    total = sp.QQ(0)
    for exponents, coefficient in polynomial.iterterms():
        if all(exponent % 2 == 0 for exponent in exponents):
            total += coefficient * math.prod(math.prod(range(1, e, 2)) for e in exponents)
    return total
