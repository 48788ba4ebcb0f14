"""Structure: simplifying assumptions, symmetry, symplecticity, reducibility, stiff accuracy.

Sources: J. C. Butcher, Math. Comp. 18 (1964) 50-64; E. Hairer, C. Lubich and G. Wanner, Geometric
Numerical Integration, sections II.1, V.2 and VI.4; E. Hairer and G. Wanner, Solving Ordinary
Differential Equations II, sections IV.5 and IV.12.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import mpmath

from hamilforge.gen.exact import linear, polynomials
from hamilforge.gen.exact.linear import Vector
from hamilforge.gen.exact.numbers import DIGITS, ONE, ZERO, Number
from hamilforge.gen.tableau.stages import Stages
from hamilforge.gen.tableau.tableau import Tableau


@dataclass(frozen=True, slots=True)
class Simplifying:
    """The largest p, q, r for which B(p), C(q) and D(r) hold; infinite if all do."""

    b: float
    c: float
    d: float


def simplifying(tableau: Tableau) -> Simplifying:
    """Butcher's simplifying assumptions.

    B(p): ``sum b_i c_i^(k-1) = 1/k`` for k up to p; C(q): ``sum_j a_ij c_j^(k-1) = c_i^k/k``;
    D(r): ``sum_i b_i c_i^(k-1) a_ij = b_j (1 - c_j^k)/k``.
    """
    stages, limit = tableau.stages, 2 * tableau.size + 1
    powers = [stages.one]
    while len(powers) <= limit:
        powers.append(stages.product(powers[-1], tableau.c))
    backward = stages.adjoint(tableau.a)

    def quadrature(k: int) -> bool:
        return tableau.is_zero(linear.dot(tableau.weights, powers[k - 1]) - Fraction(1, k))

    def stage(k: int) -> bool:
        images = linear.apply(tableau.a, powers[k - 1])
        return tableau.vanishes(
            tuple(a - power / k for a, power in zip(images, powers[k], strict=True))
        )

    def column(k: int) -> bool:
        images = linear.apply(backward, stages.product(tableau.b, powers[k - 1]))
        rest = tuple((one - power) / k for one, power in zip(stages.one, powers[k], strict=True))
        wanted = stages.product(tableau.b, rest)
        return tableau.vanishes(tuple(a - w for a, w in zip(images, wanted, strict=True)))

    return Simplifying(*(_largest(test, limit) for test in (quadrature, stage, column)))


def _largest(test: Callable[[int], bool], limit: int) -> float:
    return next((k - 1 for k in range(1, limit + 1) if not test(k)), math.inf)


def symplectic_defect(tableau: Tableau) -> Number | None:
    """Zero if ``M = 0``; else the entry of M (in the basis of the stages) of largest size."""
    entries = [entry for row in tableau.symplectic_form for entry in row]
    if tableau.vanishes(tuple(entries)):
        return ZERO
    return max(entries, key=lambda entry: abs(float(entry)))


def defect_matrix(tableau: Tableau) -> list[list[mpmath.mpf]]:
    """``M_ij = b_i a_ij + b_j a_ji - b_i b_j``, stage by stage, in 50 digits."""
    a, b, _ = tableau.precise
    stages = range(tableau.size)
    with mpmath.workdps(DIGITS):
        return [[b[i] * a[i][j] + b[j] * a[j][i] - b[i] * b[j] for j in stages] for i in stages]


def largest_defect(tableau: Tableau) -> float:
    """The largest size of an entry of M; 0 for a symplectic method."""
    if symplectic_defect(tableau) == 0:
        return 0.0
    return max(abs(float(entry)) for row in defect_matrix(tableau) for entry in row)


def is_symmetric(*tableaux: Tableau) -> bool:
    """Whether ``a_s(i)s(j) + a_ij = b_j`` and ``b_s(i) = b_i`` for some permutation s of stages.

    Then the row sums of s(i) and i add up to the sum of the weights; so distinct row sums leave one
    candidate, and among equal ones all assignments are tried.  Several tables need the same
    permutation.
    """
    if all(tableau.stages.modulus is not None for tableau in tableaux):
        return all(_reflects(tableau) for tableau in tableaux)
    mirrors = [_Mirror(tableau) for tableau in tableaux]
    images: list[int] = []

    def search(i: int) -> bool:
        if i == tableaux[0].size:
            return True
        for image in range(tableaux[0].size):
            if image not in images and all(mirror.fits([*images, image]) for mirror in mirrors):
                images.append(image)
                if search(i + 1):
                    return True
                images.pop()
        return False

    return search(0)


class _Mirror:
    """Which stages could be each other's image."""

    def __init__(self, tableau: Tableau) -> None:
        self._tableau = tableau
        self._sums = linear.apply(tableau.a, tableau.stages.one)
        self._total = linear.dot(tableau.b, tableau.stages.one)

    def fits(self, chosen: Sequence[int]) -> bool:
        """Whether the last of the images fits those before it."""
        tableau, i, image = self._tableau, len(chosen) - 1, chosen[-1]
        a, b = tableau.a, tableau.b
        if not tableau.is_zero(b[i] - b[image]):
            return False
        if not tableau.is_zero(self._sums[i] + self._sums[image] - self._total):
            return False
        return all(
            tableau.is_zero(a[chosen[k]][image] + a[k][i] - b[i])
            and tableau.is_zero(a[image][chosen[k]] + a[i][k] - b[k])
            for k in range(i + 1)
        )


def _reflects(tableau: Tableau) -> bool:
    """The same for computed nodes: the permutation is ``x -> 1 - x``."""
    stages = tableau.stages
    assert stages.modulus is not None
    reflected: polynomials.Polynomial = ()
    for coefficient in reversed(stages.modulus):
        reflected = polynomials.add(polynomials.multiply(reflected, (ONE, -ONE)), (coefficient,))
    if polynomials.monic(reflected) != stages.modulus:
        return False
    mirror = tuple(o - x for o, x in zip(stages.one, stages.nodes, strict=True))
    columns = tuple(stages.power(mirror, k) for k in range(stages.size))
    flip = linear.transpose(columns)
    turned = linear.multiply(flip, linear.multiply(tableau.a, flip))
    whole = linear.plus(turned, tableau.a)
    wanted = linear.outer(stages.one, tableau.weights)
    same = tableau.vanishes(linear.plus(whole, wanted, -1))
    back = linear.apply(flip, tableau.b)
    return same and tableau.vanishes(tuple(x - y for x, y in zip(back, tableau.b, strict=True)))


def _end_row(tableau: Tableau, node: int) -> Vector | None:
    """The covector of the first row of A, for node 0, or of the last, for node 1.

    Of a computed table it is the row at that node; None if there is none.
    """
    stages = tableau.stages
    if stages.modulus is None:
        return tableau.a[-1] if node else tableau.a[0]
    if polynomials.value(stages.modulus, Fraction(node)):
        return None
    at = tuple(Fraction(node) ** k for k in range(stages.size))
    return linear.apply(linear.transpose(tableau.a), at)


def is_stiffly_accurate(tableau: Tableau) -> bool:
    """Whether the weights are the last row of A: the last stage is the new value."""
    row = _end_row(tableau, 1)
    return row is not None and tableau.vanishes(
        tuple(a - b for a, b in zip(row, tableau.weights, strict=True))
    )


def is_first_same_as_last(tableau: Tableau) -> bool:
    """Whether the last stage is the new value and the first the old one."""
    first = _end_row(tableau, 0)
    return (
        tableau.size > 1
        and is_stiffly_accurate(tableau)
        and first is not None
        and tableau.vanishes(first)
    )


def is_confluent(tableau: Tableau) -> bool:
    """Whether two nodes are equal."""
    tableau = tableau.by_stages
    c = tableau.c
    return any(tableau.is_zero(c[i] - c[j]) for i in range(tableau.size) for j in range(i))


def _reached(tableau: Tableau) -> set[int]:
    """The stages that reach the result."""
    table = tableau.by_stages
    reached = {i for i, weight in enumerate(table.b) if not table.is_zero(weight)}
    while more := set().union(*(tableau.needs[i] for i in reached)) - reached:
        reached |= more
    return reached


def is_dj_reducible(tableau: Tableau) -> bool:
    """Whether some stages never reach the result (Dahlquist and Jeltsch)."""
    return len(_reached(tableau)) < tableau.size


def is_hs_reducible(tableau: Tableau) -> bool:
    """Whether some stages are always equal (Hundsdorfer and Spijker)."""
    return max(_classes(tableau.by_stages)) + 1 < tableau.size


def _classes(tableau: Tableau) -> list[int]:
    """The coarsest partition of the stages into classes with equal row sums over every class.

    By refinement from one class; a class of two or more stages is what to reduce.
    """
    size = tableau.size
    classes = [0] * size
    while True:
        sums = [_class_sums(row, classes) for row in tableau.a]
        refined: list[int] = []
        for i in range(size):
            alike = next(
                (
                    j
                    for j in range(i)
                    if classes[j] == classes[i]
                    and tableau.vanishes(
                        tuple(x - y for x, y in zip(sums[i], sums[j], strict=True))
                    )
                ),
                None,
            )
            refined.append(refined[alike] if alike is not None else max(refined, default=-1) + 1)
        if refined == classes:
            return classes
        classes = refined


def _class_sums(entries: Vector, classes: list[int]) -> Vector:
    sums: list[Number] = [ZERO] * (max(classes) + 1)
    for entry, number in zip(entries, classes, strict=True):
        sums[number] = sums[number] + entry
    return tuple(sums)


def reduced(tableau: Tableau) -> Tableau:
    """The same method without stages that never reach the result, equal stages taken together."""
    if tableau.size == 1 or not (is_dj_reducible(tableau) or is_hs_reducible(tableau)):
        return tableau
    tableau = tableau.by_stages
    kept = sorted(_reached(tableau)) or [0]
    a = tuple(tuple(tableau.a[i][j] for j in kept) for i in kept)
    b, c = (tuple(function[i] for i in kept) for function in (tableau.b, tableau.c))
    smaller = Tableau(Stages(len(kept)), a, b, None, c, tableau.tolerance, tableau.row_sums)
    classes = _classes(smaller)
    firsts = [classes.index(number) for number in range(max(classes) + 1)]
    return reduced(
        Tableau(
            Stages(len(firsts)),
            tuple(_class_sums(smaller.a[i], classes) for i in firsts),
            _class_sums(smaller.b, classes),
            None,
            tuple(smaller.c[i] for i in firsts),
            tableau.tolerance,
            tableau.row_sums,
        )
    )
