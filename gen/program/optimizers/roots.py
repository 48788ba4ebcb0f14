"""Roots of products: the scalar of the host comes before the root.

In: an array expression.  Out: the same with ``sqrt(c)*sqrt(v)`` for ``sqrt(c*v)``, where the scalar
c is seen to be at least 0 (of ``1/sqrt(c*v)``: to be positive): the product may be out of range
where the root is not, as the squares of large gradients over ``1 - beta**n`` are.
"""

from __future__ import annotations

from collections.abc import Set

import sympy as sp

from hamilforge.gen.derive.calculus import Expr, is_host


def is_root(expr: Expr) -> bool:
    """Whether an expression is a square root or one over it."""
    return bool(expr.is_Pow and abs(expr.exp) == sp.Rational(1, 2))


def roots_apart(expr: Expr, fractions: Set[str]) -> Expr:
    """An array expression whose roots are of arrays alone, where signs allow it.

    Args:
        expr: in arrays, sums, numbers and scalars of the host.
        fractions: the names of scalars between 0 and 1.

    Returns:
        An expression of equal value.
    """

    def outside(root: Expr) -> Expr:
        fits = (
            _is_nonnegative if root.exp > 0 else _is_positive
        )  # 1/sqrt(0*v) has a value in arrays
        return sp.Mul(*(f for f in root.base.args if is_host(f) and fits(f, fractions)))

    def matches(part: Expr) -> bool:
        return is_root(part) and bool(part.base.is_Mul)

    def apart(root: Expr) -> Expr:
        scalar = outside(root)
        return scalar**root.exp * (root.base / scalar) ** root.exp

    return expr.replace(matches, apart)


def _is_positive(scalar: Expr, fractions: Set[str]) -> bool:
    """Whether a scalar is seen to be above 0 wherever it has a value."""
    if scalar.is_positive:
        return True
    if isinstance(scalar, sp.Mul):
        return all(_is_positive(factor, fractions) for factor in scalar.args)
    return (
        isinstance(scalar, sp.Pow)
        and bool(scalar.exp.is_negative)
        and _is_nonnegative(scalar.base, fractions)
    )


def _is_nonnegative(scalar: Expr, fractions: Set[str]) -> bool:
    """Whether a scalar is seen to be at least 0 wherever it has a value."""
    if scalar.is_nonnegative:
        return True
    if isinstance(scalar, sp.Pow):
        return _is_nonnegative(scalar.base, fractions)
    if isinstance(scalar, sp.Mul):
        return all(_is_nonnegative(factor, fractions) for factor in scalar.args)
    if isinstance(scalar, sp.Add):
        one, rest = scalar.as_coeff_Add()
        return bool(one >= 1) and _is_fraction(-rest, fractions)
    return False


def _is_fraction(scalar: Expr, fractions: Set[str]) -> bool:
    """Whether a scalar is seen to be between 0 and 1."""
    if isinstance(scalar, sp.Symbol):
        return scalar.name in fractions
    if isinstance(scalar, sp.exp):
        return _is_nonpositive(scalar.exp, fractions)
    if isinstance(scalar, sp.Pow):
        return _is_fraction(scalar.base, fractions) and _is_nonnegative(scalar.exp, fractions)
    if isinstance(scalar, sp.Mul):
        return all(_is_fraction(factor, fractions) for factor in scalar.args)
    if isinstance(scalar, sp.Add):
        one, rest = scalar.as_coeff_Add()
        return one == 1 and _is_fraction(-rest, fractions)
    return bool(scalar.is_number and 0 <= scalar <= 1)


def _is_nonpositive(scalar: Expr, fractions: Set[str]) -> bool:
    """Whether a scalar is seen to be at most 0: a negative one, the logarithm of a fraction."""
    if _is_nonnegative(-scalar, fractions):
        return True
    factors = sp.Mul.make_args(scalar)
    logarithms = [
        factor
        for factor in factors
        if isinstance(factor, sp.log) and _is_fraction(factor.args[0], fractions)
    ]
    others = (factor for factor in factors if factor not in logarithms)
    return len(logarithms) == 1 and all(_is_nonnegative(other, fractions) for other in others)
