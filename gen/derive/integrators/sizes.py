"""The sizes of what an expression adds up, by which its rounding errors are measured.

In: an expression, like the energy ``m*(1 - cos(q))``.  Out: another one, here
``abs(m)*(1 + abs(cos(q)))``.
"""

from __future__ import annotations

import sympy as sp

from hamilforge.gen.derive.calculus import Expr, Total


def size_of_terms(expr: Expr) -> Expr:
    """The sum of the sizes of an expression's terms; in factors, powers and sums over sites too.

    What functions, roots and denominators are taken of counts as exact.
    """
    if expr.is_Add or expr.is_Mul:
        return expr.func(*map(size_of_terms, expr.args))
    if expr.is_Pow and expr.exp.is_Integer and expr.exp > 0:
        return size_of_terms(expr.base) ** expr.exp
    if isinstance(expr, Total):
        return Total(size_of_terms(expr.args[0]))
    return sp.Abs(expr)
