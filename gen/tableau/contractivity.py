"""Nonlinear stability: algebraic stability, circle contractivity, strong stability preservation.

Sources: K. Burrage and J. C. Butcher, SIAM J. Numer. Anal. 16 (1979) 46-57; G. Dahlquist and
R. Jeltsch, Generalized disks of contractivity for explicit and implicit Runge-Kutta methods,
TRITA-NA-7906 (1979); J. F. B. M. Kraaijevanger, Contractivity of Runge-Kutta methods, BIT 31 (1991)
482-528.
"""

from __future__ import annotations

from fractions import Fraction

from hamilforge.gen.exact import linear, polynomials
from hamilforge.gen.exact.linear import Matrix
from hamilforge.gen.exact.numbers import ONE, ZERO, Number, sign
from hamilforge.gen.exact.polynomials import Polynomial, Root
from hamilforge.gen.tableau.tableau import TOLERATED, Tableau

#: Of a radius.
ROOT_DIGITS = 25


def weights_are_nonnegative(tableau: Tableau) -> bool:
    """Whether all ``b_i >= 0``: the quadratic form diag(b) has no negative eigenvalue."""
    if tableau.stages.modulus is None:
        return all(tableau.sign(weight) >= 0 for weight in tableau.b)
    return linear.inertia(tableau.weight_form, tableau.is_zero)[0] == 0


def is_algebraically_stable(tableau: Tableau) -> bool:
    """Whether all ``b_i >= 0`` and M is positive semidefinite."""
    if not weights_are_nonnegative(tableau):
        return False
    return linear.inertia(_cleaned(tableau), tableau.is_zero)[0] == 0


def _cleaned(tableau: Tableau) -> Matrix:
    """M with what counts as zero made zero."""
    return tuple(
        tuple(ZERO if tableau.is_zero(entry) else entry for entry in row)
        for row in tableau.symplectic_form
    )


NONE = Root(ZERO, ZERO)


def circle_radius(tableau: Tableau) -> Root | None:
    """The largest r for which ``M + diag(b)/r`` is positive semidefinite, with ``b >= 0``.

    None if there is no largest.

    The method is then contractive in the disk ``|z + r| <= r``: r = -1/lambda for the smallest
    generalized eigenvalue lambda of M against diag(b), infinite if it is not negative, and 0 if a
    weight is negative or a vanishing weight has a row of M that does not vanish.
    """
    if not weights_are_nonnegative(tableau):
        return NONE
    form, weights = _cleaned(tableau), tableau.weight_form
    # Functions on the stages without weight: M has to vanish on them, and the rest is regular.
    kept, weightless = linear.pivots_and_kernel(weights)
    if any(not tableau.vanishes(linear.apply(form, function)) for function in weightless):
        return NONE
    form, weights = (tuple(tuple(m[i][j] for j in kept) for i in kept) for m in (form, weights))
    if not kept:
        return None
    # det(weights + r form) = det(weights) det(I + r weights^-1 form)
    ratio = linear.solve(weights, form)
    signed = tuple(tuple(-entry for entry in row) for row in ratio)
    polynomial = polynomials.chopped(linear.reversed_characteristic(signed), tableau.tolerance)
    return _first_root(polynomial)


def _first_root(polynomial: Polynomial) -> Root | None:
    factors = [factor for factor, _ in polynomials.squarefree(polynomial)]
    roots = [polynomials.smallest_root(factor, ZERO, ROOT_DIGITS) for factor in factors]
    return min((root for root in roots if root), key=lambda root: root.upper, default=None)


def ssp_radius(tableau: Tableau) -> Root | None:
    """The radius of absolute monotonicity; None if it is infinite.

    With ``K = [[A, 0], [b', 0]]``: the largest r with ``I + rK`` invertible,
    ``rK (I + rK)^-1 >= 0`` and ``(I + rK)^-1 e >= 0``; absolute monotonicity
    holds on an interval, so it is bisected, to a relative width of 2^-40; a simple fraction within
    it stands for it.
    """
    table = tableau.by_stages
    rows, unit = _table(table), table.tolerance / TOLERATED
    size = len(rows)
    if any(sign(entry) < 0 for row in rows for entry in row):
        return NONE
    if not _monotonic(rows, Fraction(1, 2**40), unit):
        return NONE
    upper = ONE
    while _monotonic(rows, upper, unit):
        upper *= 2
        if upper > 2**20 * size:
            return None
    lower = ZERO if upper == 1 else upper / 2
    while upper - lower > upper * Fraction(1, 2**40):
        middle = (lower + upper) / 2
        if _monotonic(rows, middle, unit):
            lower = middle
        else:
            upper = middle
    simple = ((lower + upper) / 2).limit_denominator(1000)
    return Root(simple, simple) if lower <= simple <= upper else Root(lower, upper)


def _table(tableau: Tableau) -> list[list[Number]]:
    """``[[A, 0], [b', 0]]``."""
    rows = [*tableau.a, tableau.b]
    return [[*(ZERO if tableau.is_zero(x) else x for x in row), ZERO] for row in rows]


def _monotonic(rows: list[list[Number]], r: Fraction, unit: Fraction) -> bool:
    """Whether the conditions hold at r, with entries that are known to half a unit.

    With ``B = (I + rK)^-1``, a change D of K changes ``B K`` by ``B D B`` and ``B e`` by
    ``-r B D B e``: by no more than ``|B| |D| |B|``.
    """
    size = len(rows)
    matrix = linear.plus(linear.identity(size), tuple(map(tuple, rows)), r)
    try:
        inverse = linear.solve(matrix, linear.identity(size))
    except linear.Singular:
        return False
    products = tuple(  # B K = (I - B)/r
        tuple((int(i == j) - entry) / r for j, entry in enumerate(row))
        for i, row in enumerate(inverse)
    )
    applied = linear.apply(inverse, (ONE,) * size)
    if not unit:
        return all(sign(entry) >= 0 for row in (*products, applied) for entry in row)
    half = unit / 2
    across = [sum((abs(entry) for entry in row), ZERO) for row in inverse]
    down = [sum((abs(row[j]) for row in inverse), ZERO) for j in range(size)]
    spread = r * sum((abs(entry) for entry in applied), ZERO)
    return all(
        sign(product + half * across[i] * down[j]) >= 0
        for i, row in enumerate(products)
        for j, product in enumerate(row)
    ) and all(sign(entry + half * across[i] * spread) >= 0 for i, entry in enumerate(applied))
