"""Exact numbers as SymPy's."""

from __future__ import annotations

from typing import Any

import sympy as sp

from hamilforge.gen.exact.numbers import Algebraic, Number


def in_sympy(number: Number) -> Any:
    """A rational or algebraic number as a SymPy expression."""
    if isinstance(number, Algebraic):
        theta = number.field.expression
        return sp.Add(*(in_sympy(part) * theta**k for k, part in enumerate(number.parts)))
    return sp.Rational(number.numerator, number.denominator)
