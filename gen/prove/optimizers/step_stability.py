"""For which curvatures a linear step does not grow.

In: the linear part of a rule's step on a parabola.  Out: intervals of the curvature, exactly at the
defaults: between the curvatures at which an eigenvalue may cross the unit circle one is tried; and
a formula for the end of the first, where one is right at drawn hyper-parameters, too.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import mpmath
import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, tidy
from hamilforge.gen.prove.optimizers.card_names import PLAIN, Names
from hamilforge.gen.prove.optimizers.settings import Settings
from hamilforge.gen.prove.optimizers.stability import ON_NUMPY
from hamilforge.gen.prove.optimizers.step_map import StepMap, curvature, upright, z
from hamilforge.gen.prove.optimizers.symbolic_steps import at_numbers

#: At how many drawn values a formula is compared, and at which shares of it steps grow.
POINTS, SHARES = 60, {1e-6: False, 0.5: False, 0.999: False, 1.001: True}
#: How far from the defaults those are that are near them, and at how many a formula is compared.
NEAR, NEIGHBOURS = 1e-3, 8
#: Digits of what is no rational number, of roots, and by how much these may be off the circle.
_DIGITS, _ROOT_DIGITS, _OFF = 60, 30, sp.Float(1e-20)
#: Of the least and the largest curvature that is tried.
_FAR = 2
Interval = tuple[Expr, Expr]


@dataclass(frozen=True)
class Stability:
    """For which curvatures steps do not grow.

    Attributes:
        text: of the curvatures; None if there is none.
        bound: the largest one, in symbols; None where the text is of numbers.
        why: why there is no text, if there is none.
    """

    text: str | None
    bound: Expr | None = None
    why: str = ""


def stability(part: StepMap, names: Names = PLAIN) -> Stability:
    """For which curvatures steps do not grow.

    Args:
        part: on a parabola.
        names: on the card.

    Raises:
        NotDerivableError: a step has no value at the defaults, or its eigenvalues are not found.
    """
    if not part.matrix.has(curvature):
        return Stability(None, why="steps do not depend on the curvature")
    stable = stable_intervals(part, part.usual)
    if not stable:
        return Stability(None, why="steps grow on every parabola at the defaults")
    low, high = stable[0]
    if (low, high) == (0, sp.oo):
        return Stability(None, why="steps grow on no parabola at the defaults")
    letter = names.text(curvature)
    if low == 0 and len(stable) == 1:
        for bound in _bounds(part):
            if not _equals(bound.subs(part.usual), high):
                continue
            for points, where in ((_drawn(part), ""), (_near(part), " near the defaults")):
                if _binds(part, bound, points):
                    largest = upright(tidy(bound), part.usual)
                    return Stability(f"{letter} < {names.text(largest)}{where}", largest)
    return Stability(" or ".join(_text(letter, *ends) for ends in stable))


def _text(letter: str, low: Expr, high: Expr) -> str:
    """An interval in words."""
    if high == sp.oo:
        return f"{letter} > {float(low):.10g}"
    return f"{float(low):.10g} < " * bool(low) + f"{letter} < {float(high):.10g}"


# --- exactly, at numbers --------------------------------------------------------------------------


def stable_intervals(part: StepMap, numbers: Mapping[Expr, Expr]) -> list[Interval]:
    """The open intervals of positive curvatures at which powers of the step stay bounded: no
    eigenvalue is outside the unit circle, and those on it have as many eigenvectors as they count.

    Args:
        part: on a parabola.
        numbers: a value of each hyper-parameter and letter.

    Returns:
        Their ends, ascending; single curvatures between two that are stable do not count.

    Raises:
        NotDerivableError: the step has no value there, or its eigenvalues are not found.
    """
    matrix = part.matrix.subs(numbers)
    polynomial = _polynomial(part, numbers)
    edges = sorted({edge for crossing in _crossings(polynomial) for edge in _roots(crossing)})
    stable: list[Interval] = []
    for low, high in itertools.pairwise([sp.Integer(0), *edges, sp.oo]):
        value = _between(low, high)
        at_value = sp.Poly(polynomial.eval(curvature, value), z)
        if _is_bounded(matrix.subs(curvature, value).applyfunc(_rational), at_value):
            joins = bool(stable) and stable[-1][1] == low
            stable.append((stable.pop()[0] if joins else low, high))
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
            yield root if root.is_Rational else sp.Rational(sp.N(root, _ROOT_DIGITS))


def _between(low: Expr, high: Expr) -> Expr:
    if high == sp.oo:
        return _FAR * low if low else sp.Integer(1)
    return (low + high) / 2


def _is_bounded(matrix: sp.Matrix, polynomial: sp.Poly) -> bool:
    """Whether the powers of a matrix are, from its characteristic polynomial."""
    _, factors = polynomial.sqf_list()
    # a polynomial that is 0 at the matrix has its repeated roots on the circle only once
    once = sp.Poly(1, z)
    for factor, count in factors:
        try:
            sizes = [abs(root) for root in factor.nroots(n=_ROOT_DIGITS, maxsteps=500)]
        except mpmath.libmp.NoConvergence as error:
            raise NotDerivableError("the eigenvalues of a step are not found") from error
        if max(sizes) > 1 + _OFF:
            return False
        once *= factor ** (1 if max(sizes) >= 1 - _OFF else count)
    if once.degree() == polynomial.degree():
        return True
    total = sp.zeros(*matrix.shape)
    for coefficient in once.all_coeffs():
        total = total * matrix + coefficient * sp.eye(matrix.rows)
    return total.is_zero_matrix


# --- formulas -------------------------------------------------------------------------------------


def _bounds(part: StepMap) -> Iterator[Expr]:
    """Where an eigenvalue may leave the unit disk, if that is linear in the curvature."""
    edges = [part.polynomial.subs(z, sign) for sign in (-1, 1)]
    if part.matrix.shape[0] == 2:
        edges.append(part.polynomial.subs(z, 0) - 1)
    for edge in map(sp.expand, edges):
        if sp.degree(edge, curvature) == 1:
            yield from sp.solve(edge, curvature)


def _equals(value: Expr, number: Expr) -> bool:
    """Whether a formula at numbers is a number."""
    known = bool(value.is_number and value.is_real) and number.is_finite
    return known and bool(abs(sp.N(value / number - 1, _ROOT_DIGITS)) < _OFF)


Numbers = dict[Expr, float]


def _drawn(part: StepMap) -> Iterator[Numbers]:
    """Hyper-parameters drawn from the whole of their domains as a rule requires, and letters."""
    generator = random.Random(0)
    program = part.program
    for seed in itertools.count():
        for setting in Settings(program.hyperparameters, program.host, seed):
            values = {name: float(value) for name, value in setting.items()}
            numbers = at_numbers(part.hyper, values)
            numbers |= {letter: generator.uniform(0.05, 2.0) for letter in part.letters}
            yield {symbol: numbers[symbol] for symbol in part.usual}
        if seed >= POINTS:
            return


def _near(part: StepMap) -> Iterator[Numbers]:
    """Numbers near the defaults and letters near 1, on both sides where the domain has two."""
    generator = random.Random(0)
    for _ in range(NEIGHBOURS):
        numbers = {}
        for symbol, value in part.usual.items():
            off = NEAR * generator.uniform(0.5, 1.0) * generator.choice((-1, 1))
            number = float(value) * (1 + off) if value else off
            number = abs(number) if symbol.is_positive else number
            numbers[symbol] = min(number, 1 - NEAR / 2) if symbol in part.unit else number
        yield numbers


def _binds(part: StepMap, bound: Expr, points: Iterable[Numbers]) -> bool:
    """Whether a formula is the limit at some points."""
    symbols = [*part.usual]
    entries = sp.lambdify([*symbols, curvature], part.matrix.tolist(), ON_NUMPY)
    value = sp.lambdify(symbols, bound, ON_NUMPY)
    for numbers in itertools.islice(points, POINTS):
        point = [numbers[symbol] for symbol in symbols]
        with np.errstate(all="ignore"):
            size = complex(value(*point))
            if size.imag or not 0 < size.real < np.inf:
                return False
            for share, grows in SHARES.items():
                matrix = np.array(entries(*point, share * size.real), complex)  # roots of these
                if not np.isfinite(matrix).all():
                    return False
                if (max(abs(np.linalg.eigvals(matrix))) > 1 + 1e-9) != grows:
                    return False
    return True
