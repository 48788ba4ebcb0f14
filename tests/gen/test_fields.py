"""Polynomial fields as exact objects: brackets, growth, ranks, and what must not be certified."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from hamilforge.gen.fields.growth import MERSENNE, grow
from hamilforge.gen.fields.modular import RowSpace, product
from hamilforge.gen.fields.polynomial import (
    along,
    bracket,
    degree,
    form,
    partial,
    polynomial,
    times,
)


def monomial(m, *variables):
    return tuple(variables.count(k) for k in range(m))


def universal(m, seed=0):
    """Ax, Bx with trace 0; d_m; x_m^2 d_1; x_m x."""
    rng = random.Random(seed)

    def linear():
        a = [[Fraction(rng.randint(-9, 9)) for _ in range(m)] for _ in range(m)]
        trace = sum(a[k][k] for k in range(m))
        for k in range(m):
            a[k][k] -= trace / m
        return tuple(polynomial((monomial(m, j), a[i][j]) for j in range(m)) for i in range(m))

    last, one = m - 1, Fraction(1)
    return (
        linear(),
        linear(),
        tuple({monomial(m): one} if i == last else {} for i in range(m)),
        tuple({monomial(m, last, last): one} if i == 0 else {} for i in range(m)),
        tuple({monomial(m, last, i): one} for i in range(m)),
    )


def drawn(m, seed, count=7, linear=3):
    """sigma_i(C_i x + b_i), with sigma_i(r) = r for the first and r^2 for the others."""
    rng = random.Random(seed)
    fields = []
    for number in range(count):
        components = []
        for _ in range(m):
            row = [Fraction(rng.randint(-9, 9)) for _ in range(m + 1)]
            exponents = [*(monomial(m, k) for k in range(m)), monomial(m)]
            line = polynomial(zip(exponents, row, strict=True))
            components.append(line if number < linear else times(line, line))
        fields.append(tuple(components))
    return fields


def drawn_points(m, n, seed=0):
    rng = random.Random(seed)
    return [[Fraction(rng.randint(-(10**6), 10**6), 2**16) for _ in range(m)] for _ in range(n)]


def tangent(seed):
    """Three quadratic fields in R^3 along the level sets of a cubic F: grad F x e_k."""
    rng = random.Random(seed)
    cubic = polynomial(
        ((a, b, c), Fraction(rng.randint(-9, 9)))
        for a in range(4)
        for b in range(4 - a)
        for c in range(4 - a - b)
    )
    f, g, h = (partial(cubic, k) for k in range(3))
    minus = {"f": _negative(f), "g": _negative(g), "h": _negative(h)}
    return cubic, [({}, h, minus["g"]), (minus["h"], {}, f), (g, minus["f"], {})]


def _negative(value):
    return {exponents: -coefficient for exponents, coefficient in value.items()}


def symbolic(field, x):
    return [
        sp.Add(
            *(
                sp.Rational(c.numerator, c.denominator)
                * sp.Mul(*(s**e for s, e in zip(x, exponents, strict=True)))
                for exponents, c in component.items()
            )
        )
        for component in field
    ]


def commutator(v, w, x):
    """[V, W] = DW V - DV W, by SymPy."""
    by_x = [
        sum(sp.diff(b, s) * a for s, a in zip(x, v, strict=True))
        - sum(sp.diff(c, s) * a for s, a in zip(x, w, strict=True))
        for b, c in zip(w, v, strict=True)
    ]
    return [sp.expand(component) for component in by_x]


def rational_rank(rows):
    """Gauss over Q, a routine of its own."""
    rows, rank = [[Fraction(x) for x in row] for row in rows], 0
    for column in range(len(rows[0])):
        pivot = next((k for k in range(rank, len(rows)) if rows[k][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for k in range(rank + 1, len(rows)):
            factor = rows[k][column] / rows[rank][column]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[rank], strict=True)]
        rank += 1
    return rank


@pytest.mark.parametrize("seed", range(4))
def test_brackets_are_those_of_sympy(seed):
    x = sp.symbols("x1:4")
    v, w = drawn(3, seed)[0:7:6]
    expected = commutator(symbolic(v, x), symbolic(w, x), x)
    assert [sp.expand(part) for part in symbolic(bracket(v, w), x)] == expected
    assert any(expected)


def test_the_bracket_of_linear_fields_is_the_commutator_the_other_way_round():
    a, b, *_ = universal(3)
    matrix = [[[row.get(monomial(3, j), 0) for j in range(3)] for row in field] for field in (a, b)]
    a_matrix, b_matrix = map(sp.Matrix, matrix)
    rows = (b_matrix * a_matrix - a_matrix * b_matrix).tolist()
    found = [[row.get(monomial(3, j), 0) for j in range(3)] for row in bracket(a, b)]
    assert found == rows


@pytest.mark.parametrize("k", [1, 100, 1000])
def test_products_and_ranks_modulo_the_prime_are_exact(k):
    rng = np.random.default_rng(k)
    p = MERSENNE
    left, right = rng.integers(0, p, (3, k)), rng.integers(p - 3, p, (k, 4))
    left[0] = p - 1
    exact = left.astype(object) @ right.astype(object) % p
    assert (product(left, right, p) == exact.astype(np.int64)).all()
    few = product(rng.integers(0, p, (70, 9)), rng.integers(0, p, (9, k)), p)
    space = RowSpace(k, p)
    new = space.add(few)
    assert space.rank == new.sum() == min(9, k)
    assert not space.add(few).any()


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("most", [2, 3, 4])
def test_the_five_fields_generate_every_polynomial_field(m, most):
    growth = grow(universal(m), most)
    assert growth.dimension == m * math.comb(m + most, m)
    assert {(2, 2): 12, (2, 3): 20, (2, 4): 30}.get((m, most), growth.dimension) == growth.dimension
    assert growth.dropped
    assert not growth.closed


CHOICES = {
    (0, 1): (lambda m: m * m - 1, "linear: sl"),
    (0, 1, 2): (lambda m: m * m - 1 + m, "affine: sl"),
    (0, 1, 2, 4): (lambda m: m * m + 2 * m, "projective: sl"),
}


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("chosen", CHOICES)
def test_some_of_the_five_close_and_stall_for_a_named_reason(m, chosen):
    fields = [universal(m)[k] for k in chosen]
    dimension, reason = CHOICES[chosen]
    growth = grow(fields, 6, points=drawn_points(m, 6))
    assert growth.closed
    assert growth.dimension == growth.rank == dimension(m) < 6 * m
    assert form(fields).startswith(reason)
    assert form(fields).endswith(f"dimension {dimension(m)}")


def test_fields_without_divergence_move_points_independently():
    fields = universal(2)[:4]
    assert form(fields).startswith("divergence-free")
    assert grow(fields, 4, points=drawn_points(2, 6)).rank == 12
    assert grow(fields, 4).dimension < 30


def test_a_stall_at_the_bound_is_not_closed():
    fields = universal(2)[2:]
    points = drawn_points(2, 6)
    for most, rank in ((4, 8), (6, 9)):
        growth = grow(fields, most, points=points)
        assert (growth.rank, growth.closed) == (rank, False)
        assert growth.dropped


FULL = [(2, 1), (2, 3), (2, 6), (3, 2), (3, 4)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("m", "n"), FULL)
def test_drawn_fields_have_full_rank_at_drawn_points(m, n, seed):
    growth = grow(drawn(m, seed), 4, points=drawn_points(m, n, seed))
    assert growth.rank == m * n
    assert len(growth.certificate) == m * n


@pytest.mark.parametrize("seed", range(3))
def test_eight_dimensions_and_four_points_take_two_generations(seed):
    growth = grow(drawn(8, seed), 4, points=drawn_points(8, 4, seed))
    assert growth.rank == 32
    assert max(map(len, growth.certificate)) == 3
    assert sum(len(word) < 3 for word in growth.certificate) == 28


@pytest.mark.parametrize(
    ("fields", "m", "n"),
    [(universal(2), 2, 4), (drawn(2, 1), 2, 3), (drawn(3, 2), 3, 2), (universal(3, 1), 3, 3)],
)
def test_a_certificate_holds_over_the_rationals_by_another_program(fields, m, n):
    """SymPy's derivatives, fractions, and Gauss in this file."""
    points = drawn_points(m, n, 3)
    x = sp.symbols(f"x1:{m + 1}")
    written = [symbolic(field, x) for field in fields]
    rows = []
    for letters in grow(fields, 6, points=points).certificate:
        *before, last = letters
        value = written[last - 1]
        for letter in reversed(before):
            value = commutator(written[letter - 1], value, x)
        polynomials = [sp.Poly(part, *x) for part in value]
        row = [
            part.eval(tuple(sp.Rational(c.numerator, c.denominator) for c in point))
            for point in points
            for part in polynomials
        ]
        rows.append([Fraction(int(c.p), int(c.q)) for c in row])
    assert len(rows) == rational_rank(rows) == m * n


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("most", range(2, 9))
@pytest.mark.parametrize("seed", range(2))
def test_fields_along_level_sets_never_have_full_rank(seed, most, n):
    """Brackets that are cut at the degree instead of dropped have rank 3 N."""
    cubic, fields = tangent(seed)
    assert all(degree(field) == 2 and not along(field, cubic) for field in fields)
    growth = grow(fields, most, points=drawn_points(3, n, seed))
    assert growth.rank <= 2 * n


def test_coincident_points_do_not_move_independently():
    points = drawn_points(2, 3)
    assert grow(universal(2), 5, points=[*points, points[0]]).rank == 6
