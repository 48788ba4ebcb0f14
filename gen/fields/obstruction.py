"""Proofs over Q that N points cannot be moved independently.

In: fields with rational coefficients, points with rational coordinates.  Out: a bound of the rank
of all brackets at the points, with its reason: the algebra is finite-dimensional and known whole;
a polynomial is constant along every field; two points are one; every field is zero at a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from hamilforge.gen.exact.elimination import row_reduced
from hamilforge.gen.fields.growth import Growth, Monomials
from hamilforge.gen.fields.polynomial import (
    Exponents,
    VectorField,
    along,
    bracket,
    partial,
    polynomial,
    value,
    word,
)

#: Algebras up to this dimension are closed over Q; invariants have at most so many terms.
MOST = 130
Row = dict[tuple[int, Exponents], Fraction]
Points = Sequence[Sequence[Fraction]]


class _Rows:
    """A space of sparse rows over Q in echelon form."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, Exponents], Row] = {}

    def add(self, row: Row) -> bool:
        """Add a row; whether it is new."""
        rest = {key: entry for key, entry in row.items() if entry}
        while rest:
            key = max(rest)
            pivot = self._rows.get(key)
            if pivot is None:
                scale = 1 / rest[key]
                self._rows[key] = {k: entry * scale for k, entry in rest.items()}
                return True
            factor = rest[key]
            for k, entry in pivot.items():
                left = rest.get(k, Fraction(0)) - factor * entry
                if left:
                    rest[k] = left
                else:
                    del rest[k]
        return False


def _row(field: VectorField) -> Row:
    return {(k, e): c for k, component in enumerate(field) for e, c in component.items()}


def coincident(points: Points) -> tuple[int, int] | None:
    """Two points that are one, counted from 1, or None."""
    seen: dict[tuple[Fraction, ...], int] = {}
    for number, point in enumerate(points, 1):
        first = seen.setdefault(tuple(point), number)
        if first != number:
            return first, number
    return None


def at_rest(fields: Sequence[VectorField], points: Points) -> int | None:
    """The first point where every field is zero, counted from 1, or None.

    There V = W = 0 gives [V, W] = DW V - DV W = 0, and so on: no bracket moves it.
    """
    for number, point in enumerate(points, 1):
        if not any(any(value(field, point)) for field in fields):
            return number
    return None


def closed(fields: Sequence[VectorField], growth: Growth) -> tuple[VectorField, ...]:
    """The words of an algebra, if they are all of it over Q; empty if that is not shown.

    Modulo a prime, independent words are independent over Q; that no bracket leaves their span is
    computed over Q.

    Args:
        fields: V_1, ….
        growth: closed modulo its prime.

    Returns:
        The words as fields.
    """
    if not growth.closed or growth.dimension > MOST:
        return ()
    words = [word(fields, growth.word(k)) for k in range(growth.dimension)]
    space = _Rows()
    for one in words:
        space.add(_row(one))
    for field in fields:
        if space.add(_row(field)) or any(space.add(_row(bracket(field, w))) for w in words):
            return ()
    return tuple(words)


def rank(words: Sequence[VectorField], points: Points) -> int:
    """The rank over Q of fields at points, stacked."""
    space = _Rows()
    found = 0
    for one in words:
        entries = [x for point in points for x in value(one, point)]
        found += space.add({(k, ()): x for k, x in enumerate(entries)})
    return found


def invariant(fields: Sequence[VectorField], most: int) -> dict[Exponents, Fraction] | None:
    """A polynomial that is constant along every field, not constant itself.

    Args:
        fields: V_1, ….
        most: up to this degree.

    Returns:
        One of least degree, or None if there is none, or the terms are too many.
    """
    m = len(fields[0])
    for total in range(1, most + 1):
        exponents = [tuple(map(int, e)) for e in Monomials(m, total).exponents[1:]]
        if len(exponents) > MOST:
            return None
        table: dict[tuple[int, Exponents], dict[int, Fraction]] = {}
        for place, one in enumerate(exponents):
            for number, field in enumerate(fields):
                for e, c in along(field, {one: Fraction(1)}).items():
                    table.setdefault((number, e), {})[place] = c
        rows = [[row.get(k, Fraction(0)) for k in range(len(exponents))] for row in table.values()]
        reduced, pivots = row_reduced(rows, len(exponents)) if rows else ([], [])
        free = next((k for k in range(len(exponents)) if k not in pivots), None)
        if free is not None:
            terms = [(exponents[free], Fraction(1))]
            terms += [(exponents[p], -row[free]) for row, p in zip(reduced, pivots, strict=False)]
            return polynomial(terms)
    return None


def moved(value_of: dict[Exponents, Fraction], points: Points) -> int:
    """At how many points the gradient of a polynomial is not zero."""
    m = len(points[0])
    gradient = tuple(partial(value_of, k) for k in range(m))
    return sum(any(value(gradient, point)) for point in points)
