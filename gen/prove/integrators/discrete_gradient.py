"""Proofs about discrete gradients, in exact arithmetic on a drawn polynomial H.

In: a declaration.  Out: its report.  With rational numbers for u and v the defining identity
``grad(u, v) . (v - u) = H(v) - H(u)`` and the symmetry in u and v are equalities of rationals; with
truncated series in h for v, one step is compared with the exact solution power by power.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.exact import linear
from hamilforge.gen.exact.numbers import DIGITS, as_rational
from hamilforge.gen.program.integrators.build import build_discrete_gradient
from hamilforge.gen.prove.report import Finding, Report, compare_claims
from hamilforge.gen.prove.series import RATIONALS, Series
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.tableau import Tableau

#: Coordinates of the drawn problem, the degree of its H, and the highest order that is looked for.
SIZE, DEGREE, HIGHEST = 4, 4, 3
DRAWN = f"a polynomial H of degree {DEGREE} in {SIZE} coordinates with drawn rational coefficients"

#: Numbers of 50 digits that are this near are the same.
ALIKE = mpmath.mpf("1e-40")
Term = tuple[Fraction, tuple[int, ...]]
#: The right-hand side of an equation, from a gradient.
Field = Callable[[Sequence[Any]], list[Any]]


def prove(declaration: kinds.DiscreteGradient) -> Report:
    """Order, symmetry and exactness of a discrete gradient."""
    method = DrawnProblem(declaration)
    generator = random.Random(5)
    points = [
        [[Fraction(generator.randint(-9, 9), 7) for _ in range(SIZE)] for _ in range(2)]
        for _ in range(3)
    ]
    exact = all(
        sum(g * (b - a) for g, a, b in zip(method.mean(u, v), u, v, strict=True))
        == method.energy(v) - method.energy(u)
        for u, v in points
    )
    symmetric = all(method.mean(u, v) == method.mean(v, u) for u, v in points)
    if declaration.quadrature is not None:  # a polynomial may hide what its degree does not see
        symmetric = _is_symmetric(build(declaration.quadrature))
    at = f"at {len(points)} drawn pairs of points, exactly; {DRAWN}"
    findings = (
        _order_finding("order", method, points[0][0], _turned, "q' = dH/dp, p' = -dH/dq"),
        _order_finding(
            "gradient_flow_order", method, points[0][0], _descending, "u' = -grad J(u), J for H"
        ),
        Finding("symmetric", symmetric, *_of_symmetry(declaration, at)),
        Finding("exact", exact, "grad(u, v) . (v - u) = H(v) - H(u)", at),
        Finding(
            "consistent",
            all(_is_consistent(method, u, v) for u, v in points),
            "grad(u, u + h w) = grad H(u) at h = 0, in exact series",
            f"at {len(points)} drawn pairs of u and w; {DRAWN}",
        ),
        Finding(
            "values_per_step",
            _values_per_step(declaration),
            "the points at which grad(u, v) is computed, without u",
            "steps v = u - h grad(u, v) in n coordinates; k is how often a step evaluates its "
            "equation: the result of minimize counts all values that were asked for",
        ),
    )
    head = declaration.head
    claims = compare_claims(head, findings)
    return Report(head.name, "discrete-gradient", head.title, findings, claims)


def _of_symmetry(declaration: kinds.DiscreteGradient, at: str) -> tuple[str, str]:
    """The evidence of symmetry, and its reach."""
    if declaration.quadrature is None:
        return "grad(u, v) = grad(v, u)", at
    return "nodes c and 1 - c have the same weights", "every H"


def _is_symmetric(tableau: Tableau) -> bool:
    """Whether the mean along a segment is the same from its other end."""
    _, weights, nodes = tableau.precise
    with mpmath.workdps(DIGITS):

        def weight(place: mpmath.mpf) -> mpmath.mpf:
            there = [abs(node - place) < ALIKE for node in nodes]
            return sum(b for b, is_there in zip(weights, there, strict=True) if is_there)

        return all(abs(weight(node) - weight(1 - node)) < ALIKE for node in nodes)


def _turned(gradient: Sequence[Any]) -> list[Any]:
    """The right-hand side of a Hamiltonian system."""
    half = SIZE // 2
    return [*gradient[half:], *(-g for g in gradient[:half])]


def _descending(gradient: Sequence[Any]) -> list[Any]:
    """The right-hand side of a gradient flow."""
    return [-g for g in gradient]


def _order_finding(
    name: str, method: DrawnProblem, start: Sequence[Fraction], field: Field, equation: str
) -> Finding:
    """The order of a step ``v = u + h field(grad(u, v))``."""
    reach = f"{equation} without friction; {DRAWN}"
    if method.drawn:
        why = "a step moves along one direction, not along the field"
        return Finding(name, None, "the declaration", reach, why)
    order = _order(method, start, field)
    evidence = f"one step and the solution in exact series: equal to h^{order}, "
    evidence += f"not at h^{order + 1}" if order <= HIGHEST else "the highest looked at"
    return Finding(name, order, evidence, reach)


def _values_per_step(declaration: kinds.DiscreteGradient) -> str:
    """How often a step asks for J, and for its gradient."""
    if declaration.quadrature is not None:
        nodes = len(build(declaration.quadrature).c)
        gradients = "k gradients" if nodes == 1 else f"{nodes}*k gradients"
        return f"k values, {gradients}"
    return {"forward": "n*k values", "symmetric": "(2*n - 1)*k values", "random": "k values"}[
        declaration.increments or ""
    ]


def _is_consistent(method: DrawnProblem, u: Sequence[Fraction], way: Sequence[Fraction]) -> bool:
    """Whether ``grad(u, v)`` tends to ``grad H(u)`` for v on a line through u."""
    h = Series(RATIONALS, 1, [Fraction(1)], HIGHEST + 5)
    start = [Series(RATIONALS, 0, [x], HIGHEST + 5) for x in u]
    beside = [x + h * rate for x, rate in zip(start, way, strict=True)]
    means = method.mean(start, beside)
    return all(a[0] == b for a, b in zip(means, method.gradient(u), strict=True))


class DrawnProblem:
    """The discrete gradient of a drawn polynomial, over rationals or series.

    Attributes:
        drawn: whether it is that along a drawn direction, here ``v - u``.
    """

    def __init__(self, declaration: kinds.DiscreteGradient) -> None:
        generator = random.Random(3)
        self._terms: list[Term] = [
            (Fraction(generator.randint(-5, 5), generator.randint(1, 4)), powers)
            for powers in itertools.product(range(DEGREE + 1), repeat=SIZE)
            if 0 < sum(powers) <= DEGREE
        ]
        self._directions = build_discrete_gradient(declaration).directions
        self.drawn = declaration.increments == "random"
        self._moments: list[Fraction] = []
        if declaration.quadrature is not None:
            tableau = build(declaration.quadrature)
            for k in range(DEGREE):
                power = tableau.stages.power(tableau.c, k)
                moment = as_rational(linear.dot(tableau.weights, power))
                if moment is None:
                    raise NotDerivableError("a quadrature with irrational moments")
                self._moments.append(moment)

    def energy(self, point: Sequence[Any]) -> Any:
        """H."""
        return _value(self._terms, point)

    def gradient(self, point: Sequence[Any]) -> list[Any]:
        """Grad H."""
        return [_value(_slope(self._terms, i), point) for i in range(SIZE)]

    def mean(self, u: Sequence[Any], v: Sequence[Any]) -> list[Any]:
        """The discrete gradient."""
        if self._directions:
            return self._increments(u, v)
        difference = [b - a for a, b in zip(u, v, strict=True)]
        if self.drawn:
            share = (self.energy(v) - self.energy(u)) / sum(d * d for d in difference)
            return [share * d for d in difference]
        mean = [_along(_slope(self._terms, i), u, difference, self._moments) for i in range(SIZE)]
        missing = self.energy(v) - self.energy(u)
        missing = missing - sum(g * d for g, d in zip(mean, difference, strict=True))
        distance = sum(d * d for d in difference)
        return [g + missing * d / distance for g, d in zip(mean, difference, strict=True)]

    def _increments(self, u: Sequence[Any], v: Sequence[Any]) -> list[Any]:
        mean: list[Any] = [Fraction(0)] * SIZE
        for direction in self._directions:
            point = list(u)
            for i in range(SIZE)[::direction]:
                below = self.energy(point)
                point[i] = v[i]
                quotient = (self.energy(point) - below) / (v[i] - u[i])
                mean[i] = mean[i] + quotient / len(self._directions)
        return mean


def _value(terms: Sequence[Term], point: Sequence[Any]) -> Any:
    powers = [[Fraction(1), *itertools.accumulate([x] * DEGREE, lambda a, b: a * b)] for x in point]
    total: Any = Fraction(0)
    for coefficient, exponents in terms:
        product: Any = coefficient
        for row, exponent in zip(powers, exponents, strict=True):
            if exponent:
                product = row[exponent] * product
        total = product + total
    return total


def _slope(terms: Sequence[Term], i: int) -> list[Term]:
    return [
        (coefficient * powers[i], (*powers[:i], powers[i] - 1, *powers[i + 1 :]))
        for coefficient, powers in terms
        if powers[i]
    ]


def _along(
    terms: Sequence[Term], u: Sequence[Any], difference: Sequence[Any], moments: Sequence[Fraction]
) -> Any:
    """The mean of a polynomial along ``u + s difference``, from the moments of s."""
    total: Any = Fraction(0)
    for coefficient, exponents in terms:
        powers: list[Any] = [coefficient]
        for x, d, exponent in zip(u, difference, exponents, strict=True):
            for _ in range(exponent):
                shifted = [Fraction(0), *(entry * d for entry in powers)]
                kept = [*(entry * x for entry in powers), Fraction(0)]
                powers = [a + b for a, b in zip(kept, shifted, strict=True)]
        for power, moment in zip(powers, moments, strict=False):
            total = power * moment + total
    return total


def _order(method: DrawnProblem, start: Sequence[Fraction], field: Field) -> int:
    """To which power of h a step agrees with the solution."""
    # a quotient by v - u loses one known power of h, a quotient by its square two
    precision = HIGHEST + 5
    h = Series(RATIONALS, 1, [Fraction(1)], precision)
    u = [Series(RATIONALS, 0, [x], precision) for x in start]
    solution: list[Any] = u
    first = [a + h * rate for a, rate in zip(u, field(method.gradient(u)), strict=True)]
    step: list[Any] = first
    for _ in range(HIGHEST + 2):
        rates = field(method.gradient(solution))
        solution = [
            (a + rate.integral()).truncated(precision) for a, rate in zip(u, rates, strict=True)
        ]
        rates = field(method.mean(u, step))
        step = [a + h * rate for a, rate in zip(u, rates, strict=True)]
    for power in range(1, HIGHEST + 2):
        if any(a[power] != b[power] for a, b in zip(step, solution, strict=True)):
            return power - 1
    return HIGHEST + 1
