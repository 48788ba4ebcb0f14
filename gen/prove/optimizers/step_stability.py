"""For which curvatures a linear step does not grow.

In: the linear part of a rule's step on a parabola.  Out: intervals of the curvature, exactly at the
defaults: between the curvatures at which an eigenvalue may cross the unit circle one is tried; and
a formula for the end of the first, where one is right at drawn hyper-parameters, too.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, tidy, written
from hamilforge.gen.prove.optimizers.stability import ON_NUMPY
from hamilforge.gen.prove.optimizers.step_map import StepMap, curvature, z

#: At how many drawn values a formula is compared, at which shares of it steps do not grow, and at
#: which they do.
DRAWN, STABLE, UNSTABLE = 20, (1e-6, 0.5, 0.999), 1.001
#: Digits of what is no rational number, and by how much a root may be off the unit circle.
_DIGITS, _OFF = 60, sp.Float(1e-20)
#: Of the least and the largest curvature that is tried.
_FAR = 2


def stability(part: StepMap) -> tuple[str | None, bool, str]:
    """For which curvatures steps do not grow.

    Returns:
        The text, whether it is a formula, and why there is none if there is none.

    Raises:
        NotDerivableError: a step has no value at the defaults.
    """
    if not part.matrix.has(curvature):
        return None, False, "steps do not depend on the curvature"
    stable = stable_intervals(part, part.usual)
    if not stable:
        return None, False, "steps grow on every parabola at the defaults"
    low, high = stable[0]
    if (low, high) == (0, math.inf):
        return None, False, "steps grow on no parabola at the defaults"
    if low == 0 and len(stable) == 1:
        for bound in _bounds(part):
            if _is(bound, part.usual, high):
                where = "" if _binds(part, bound) else " near the defaults"
                return f"lambda < {written(tidy(bound))}{where}", True, ""
    return " or ".join(_text(*ends) for ends in stable), False, ""


def _text(low: float, high: float) -> str:
    """An interval in words."""
    if high == math.inf:
        return f"lambda > {low:.10g}"
    return f"{low:.10g} < lambda < {high:.10g}" if low else f"lambda < {high:.10g}"


# --- exactly, at numbers --------------------------------------------------------------------------


def stable_intervals(part: StepMap, numbers: Mapping[Expr, Expr]) -> list[tuple[float, float]]:
    """The open intervals of positive curvatures at which no eigenvalue is outside the unit circle,
    and none of those on it is a double one.

    Args:
        part: on a parabola.
        numbers: a value of each hyper-parameter and letter.

    Returns:
        Their ends, ascending; single curvatures between two that are stable do not count.

    Raises:
        NotDerivableError: the step has no value there.
    """
    polynomial = _polynomial(part, numbers)
    edges = sorted({edge for crossing in _crossings(polynomial) for edge in _roots(crossing)})
    ends = [sp.Integer(0), *edges, sp.oo]
    stable: list[tuple[float, float]] = []
    for low, high in itertools.pairwise(ends):
        if _is_stable(polynomial, _between(low, high)):
            before = stable.pop()[0] if stable and stable[-1][1] == float(low) else float(low)
            stable.append((before, float(high)))
    return stable


def _polynomial(part: StepMap, numbers: Mapping[Expr, Expr]) -> sp.Poly:
    """The characteristic polynomial in z and the curvature, with rational coefficients."""
    whole = sp.numer(sp.together(part.polynomial.subs(numbers)))
    polynomial = sp.Poly(sp.expand(whole), z, curvature)
    return sp.Poly.from_dict(
        {powers: _rational(value) for powers, value in polynomial.terms()}, z, curvature
    )


def _rational(value: Expr) -> sp.Rational:
    if value.is_Rational:
        return value
    value = sp.N(value, _DIGITS)
    if not (value.is_Float and value.is_finite):
        raise NotDerivableError("a step has no value at the defaults")
    return sp.Rational(value)


def _crossings(polynomial: sp.Poly) -> Iterator[sp.Poly]:
    """Polynomials in the curvature, one of which is 0 wherever a root crosses the unit circle.

    A root crosses at 1, at -1, or with its inverse: there the polynomial and its mirror image have
    a common root.  Where they have one for all curvatures, such a pair leaves the circle where two
    of them meet.
    """
    plain = polynomial.sqf_part()
    yield from (sp.Poly(plain.eval(z, sign), curvature) for sign in (1, -1))
    degree = plain.degree(z)
    mirror = sp.Poly(sp.expand(z**degree * plain.as_expr().subs(z, 1 / z)), z, curvature)
    common = sp.gcd(plain, mirror)
    rest = sp.quo(plain, common)
    if common.degree(z) > 1:
        yield sp.Poly(sp.discriminant(common.as_expr(), z), curvature)
    if rest.degree(z) > 0:
        crossing = sp.resultant(rest.as_expr(), sp.quo(mirror, common).as_expr(), z)
        yield sp.Poly(crossing, curvature)


def _roots(polynomial: sp.Poly) -> Iterator[Expr]:
    """The positive roots of a polynomial in the curvature."""
    if polynomial.is_ground:
        return
    for root in polynomial.sqf_part().real_roots():
        if root.is_positive:
            yield root if root.is_Rational else sp.Rational(sp.N(root, _DIGITS // 2))


def _between(low: Expr, high: Expr) -> Expr:
    if high == sp.oo:
        return _FAR * low if low else sp.Integer(1)
    return (low + high) / 2


def _is_stable(polynomial: sp.Poly, value: Expr) -> bool:
    """Whether no root grows at a curvature: double roots must be inside the circle."""
    _, factors = sp.Poly(polynomial.eval(curvature, value), z).sqf_list()
    return all(
        abs(root) < 1 - _OFF or (count == 1 and abs(root) <= 1 + _OFF)
        for factor, count in factors
        for root in factor.nroots(n=_DIGITS // 2, maxsteps=500)
    )


# --- formulas -------------------------------------------------------------------------------------


def _bounds(part: StepMap) -> Iterator[Expr]:
    """Where an eigenvalue may leave the unit disk, if that is linear in the curvature."""
    edges = [part.polynomial.subs(z, -1)]
    if part.matrix.shape[0] == 2:
        edges.append(part.polynomial.subs(z, 0) - 1)
    for edge in map(sp.expand, edges):
        if sp.degree(edge, curvature) == 1:
            yield from sp.solve(edge, curvature)


def _is(bound: Expr, numbers: Mapping[Expr, Expr], limit: float) -> bool:
    """Whether a formula is the limit at some values."""
    value = bound.subs(numbers)
    known = bool(value.is_number and value.is_real) and math.isfinite(limit)
    return known and abs(float(value) / limit - 1) < 1e-6


def _binds(part: StepMap, bound: Expr) -> bool:
    """Whether a formula is the limit at hyper-parameters drawn from their domains."""
    generator = random.Random(0)
    symbols = [*part.usual]
    entries = sp.lambdify([*symbols, curvature], part.matrix.tolist(), ON_NUMPY)
    value = sp.lambdify(symbols, bound, ON_NUMPY)

    def grows(point: list[float], size: float) -> bool:
        matrix = np.array(entries(*point, size), complex)  # roots of drawn numbers
        return bool(max(abs(np.linalg.eigvals(matrix))) > 1 + 1e-9)

    unit = {
        part.hyper[entry.name]
        for entry in part.program.hyperparameters
        if entry.domain.endswith("interval")
    }
    for _ in range(DRAWN):
        point = [generator.uniform(0.05, 0.95 if s in unit else 2.0) for s in symbols]
        size = complex(value(*point))
        if size.imag or not size.real > 0:
            return False
        after = partial(grows, point)
        if any(after(share * size.real) for share in STABLE) or not after(UNSTABLE * size.real):
            return False
    return True
