"""The sizes of what an expression adds up."""

from __future__ import annotations

import pytest
import sympy as sp

from hamilforge.gen.derive.calculus import Total
from hamilforge.gen.derive.integrators.sizes import size_of_terms

m, q, p = sp.symbols("m q p", real=True)


@pytest.mark.parametrize(
    ("expr", "size"),
    [
        (m * (1 - sp.cos(q)), abs(m) * (1 + abs(sp.cos(q)))),
        (p**2 / 2 - sp.cos(q), p**2 / 2 + abs(sp.cos(q))),
        ((q - p) ** 3, (abs(q) + abs(p)) ** 3),
        (1 / (q - p), abs(1 / (q - p))),
        (sp.exp(q - p), abs(sp.exp(q - p))),
        (m * Total(q - p), abs(m) * Total(abs(q) + abs(p))),
    ],
)
def test_terms_are_those_of_sums_inside_too(expr: sp.Expr, size: sp.Expr) -> None:
    assert size_of_terms(expr) == size
