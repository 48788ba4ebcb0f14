"""Polynomial vector fields over the rationals: brackets, evaluation, what their form tells.

A field on Q^m is one polynomial for each component, a table from exponents to coefficients.  The
bracket is ``[V, W] = DW V - DV W``; of linear fields V = Ax, W = Bx it is (BA - AB)x.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

Exponents = tuple[int, ...]
Polynomial = Mapping[Exponents, Fraction]
VectorField = tuple[Polynomial, ...]


def polynomial(terms: Iterable[tuple[Exponents, Fraction]]) -> dict[Exponents, Fraction]:
    """The sum of terms, zeros left out."""
    total: dict[Exponents, Fraction] = {}
    for exponents, coefficient in terms:
        total[exponents] = total.get(exponents, Fraction(0)) + coefficient
    return {exponents: coefficient for exponents, coefficient in total.items() if coefficient}


def times(left: Polynomial, right: Polynomial) -> dict[Exponents, Fraction]:
    """The product."""
    return polynomial(
        (tuple(a + b for a, b in zip(one, other, strict=True)), c * d)
        for one, c in left.items()
        for other, d in right.items()
    )


def partial(value: Polynomial, k: int) -> dict[Exponents, Fraction]:
    """The derivative by the k-th variable, from 0."""
    return {
        (*exponents[:k], exponents[k] - 1, *exponents[k + 1 :]): coefficient * exponents[k]
        for exponents, coefficient in value.items()
        if exponents[k]
    }


def along(field: VectorField, value: Polynomial) -> dict[Exponents, Fraction]:
    """The derivative of a polynomial along a field."""
    return polynomial(
        term
        for k, component in enumerate(field)
        if component and (slope := partial(value, k))
        for term in times(slope, component).items()
    )


def bracket(left: VectorField, right: VectorField) -> VectorField:
    """``[V, W] = DW V - DV W``."""
    return tuple(
        polynomial([*along(left, w).items(), *((e, -c) for e, c in along(right, v).items())])
        for v, w in zip(left, right, strict=True)
    )


def word(fields: Sequence[VectorField], letters: Sequence[int]) -> VectorField:
    """``[V_1, [V_2, … V_n]]`` for letters that count the fields from 1."""
    *before, last = letters
    value = fields[last - 1]
    for letter in reversed(before):
        value = bracket(fields[letter - 1], value)
    return value


def degree(field: VectorField) -> int:
    """The largest total degree of a component; -1 for the zero field."""
    return max((sum(exponents) for component in field for exponents in component), default=-1)


def value(field: VectorField, point: Sequence[Fraction]) -> list[Fraction]:
    """The field at a point."""
    return [_at(component, point) for component in field]


def _at(component: Polynomial, point: Sequence[Fraction]) -> Fraction:
    total = Fraction(0)
    for exponents, coefficient in component.items():
        for x, power in zip(point, exponents, strict=True):
            if power:
                coefficient *= x**power
        total += coefficient
    return total


def divergence(field: VectorField) -> dict[Exponents, Fraction]:
    """The sum of the derivatives of components by their own variables."""
    return polynomial(
        term for k, component in enumerate(field) for term in partial(component, k).items()
    )


def form(fields: Sequence[VectorField]) -> str:
    """The smallest algebra with a name that all fields lie in by their form; empty if none.

    Brackets stay in it, so it bounds what they can do.
    """
    m = len(fields[0])
    sums = {sum(e) for field in fields for component in field for e in component}
    if not sums:
        return "zero: nothing moves"
    volume = all(not divergence(field) for field in fields)
    if sums <= {1}:
        name = "sl" if volume else "gl"
        return f"linear: {name}({m}), dimension {m * m - volume}"
    if sums <= {0, 1}:
        name = "sl" if volume else "gl"
        return f"affine: {name}({m}) + R^{m}, dimension {m * m - volume + m}"
    if all(_is_projective(field) for field in fields):
        return f"projective: sl({m + 1}), dimension {m * m + 2 * m}"
    return "divergence-free: every flow keeps volumes" if volume else ""


def _is_projective(field: VectorField) -> bool:
    """Whether the field is affine plus (a . x) x."""
    if degree(field) > 2:
        return False
    m = len(field)
    slopes: list[Polynomial] = []
    for k, component in enumerate(field):
        quadratic = {e: c for e, c in component.items() if sum(e) == 2}
        if any(not e[k] for e in quadratic):
            return False
        slopes.append({(*e[:k], e[k] - 1, *e[k + 1 :]): c for e, c in quadratic.items()})
    return all(slopes[k] == slopes[0] for k in range(1, m))
