"""Antiderivatives: what is given is one, and what is not known is None."""

from __future__ import annotations

import pytest
import sympy as sp

from hamilforge.gen.derive.calculus import FUNCTIONS, primitive

t, r, b = sp.symbols("t r b", positive=True)
a = sp.Symbol("a", real=True)
KNOWN = [
    sp.Integer(0),
    sp.Integer(3),
    r + b,
    t,
    r * t**3 - 2 / t**2 + b,
    t**r,
    b * t**r + 1,
    sp.sqrt(t) / b,
    t**-r * t**r,
    sp.exp(r * (sp.log(t) - sp.log(b))),
    sp.exp(r * sp.log(t) + b) + t,
    (t + 1) * t**r,
    1 / t,
    sp.exp(-r * t),
    t * sp.exp(-t),
    sp.sin(r * t),
    1 / (t + b),
]
UNKNOWN = [t**a, r**t, sp.exp(sp.exp(t)) * sp.sin(t), FUNCTIONS["step"](t - 1), sp.Abs(t - 1)]


@pytest.mark.parametrize("expr", KNOWN, ids=str)
def test_its_derivative_is_the_expression(expr: sp.Expr) -> None:
    whole = primitive(expr, t)
    assert whole is not None
    back = sp.diff(whole, t) - expr
    for number in (0.3, 1.7, 5.2):
        assert abs(back.subs({t: number, r: 1.3, b: 0.6}).evalf()) < 1e-12


@pytest.mark.parametrize("expr", UNKNOWN, ids=str)
def test_what_has_none_or_has_cases_is_not_known(expr: sp.Expr) -> None:
    """An exponent that may be -1, a base that may be 1, no elementary function, jumps, kinks."""
    assert primitive(expr, t) is None
