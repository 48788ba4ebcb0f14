"""What an iteration of odd polynomials makes of singular values, and how far that is from one.

In: the program of a rule with ``repeat(k, S, quintic(S, a, b, c))``.  Out: a finding.  The k-fold
composition f of ``q(x) = a x + b x^3 + c x^5`` is looked at on the interval from 0 to 1: the image
of an interval under q is that of its ends and of the points between where q' vanishes, so the image
under f is exact; extrema of f lie where an iterate meets a zero of q'.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from hamilforge.gen.derive.arrays import MatrixCall
from hamilforge.gen.exact import matrices
from hamilforge.gen.program.interpret import run
from hamilforge.gen.program.ir import Function, Repeat
from hamilforge.gen.program.optimizers.build_matrix import MatrixDerivation
from hamilforge.gen.program.optimizers.interpret_matrix import MatrixInterpreter
from hamilforge.gen.program.precise import PRECISE_OR_NAN
from hamilforge.gen.prove.optimizers.manifold_points import ZERO, drawn_matrix
from hamilforge.gen.prove.report import Finding

#: The digits of the arithmetic, and what a root of a polynomial is good to.
_DIGITS, _CLOSE = 60, mpmath.mpf("1e-30")
#: Beyond so many extrema of f none are looked for.
_MOST = 2000
#: Steps of bisection.
_HALVINGS = 200
_SHAPE = (5, 3)


@dataclass(frozen=True, slots=True)
class Iteration:
    """``q(x) = a x + b x^3 + c x^5``, so many times."""

    a: Any
    b: Any
    c: Any
    count: int

    def once(self, x: Any) -> Any:
        """q(x)."""
        return x * (self.a + x**2 * (self.b + x**2 * self.c))

    def __call__(self, x: Any) -> Any:
        """f(x)."""
        for _ in range(self.count):
            x = self.once(x)
        return x

    def image(self) -> tuple[Any, Any]:
        """The image of the interval from 0 to 1 under f."""
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        turns = self._turns()
        for _ in range(self.count):
            points = [low, high, *(turn for turn in turns if low < turn < high)]
            values = [*map(self.once, points)]
            low, high = min(values), max(values)
        return low, high

    def extrema(self) -> list[Any] | None:
        """Where f' vanishes between 0 and 1, in order; None if there are too many places."""
        places: set[Any] = set()
        level = self._turns()
        for _ in range(self.count):
            places |= {x for x in level if 0 < x < 1}
            level = [x for y in level for x in _zeros([-y, self.a, 0, self.b, 0, self.c])]
            if len(level) > _MOST:
                return None
        return sorted(places)

    def _turns(self) -> list[Any]:
        """Where q' vanishes: with each place its negative."""
        positive = [x for x in _zeros([self.a, 0, 3 * self.b, 0, 5 * self.c]) if x > 0]
        return [*positive, *(-x for x in positive)]


def _zeros(coefficients: list[Any]) -> list[Any]:
    """The real roots of a polynomial, lowest power first."""
    coefficients = [mpmath.mpf(value) for value in coefficients]
    while coefficients and not coefficients[-1]:
        coefficients.pop()
    if len(coefficients) < 2:
        return []
    roots = mpmath.polyroots(coefficients[::-1], maxsteps=500, extraprec=400, error=False)
    return [root.real for root in map(mpmath.mpc, roots) if abs(root.imag) < _CLOSE]


def singular_values(derivation: MatrixDerivation) -> Iterator[Finding]:
    """What becomes of singular values in the iterations of a program.

    Args:
        derivation: of a rule.

    Yields:
        A finding for the first iteration; none if there is none.
    """
    (function,) = derivation.program.functions
    loop = next((line for line in function.lines if _is_iteration(line.value)), None)
    if loop is None:
        return
    assert isinstance(loop.value, Repeat)
    with mpmath.workdps(_DIGITS):
        iteration, scale, apart = _observed(derivation, function, loop.value, loop.name)
        defaults = ", ".join(mpmath.nstr(v, 5) for v in (iteration.a, iteration.b, iteration.c))
        reach = f"{iteration.count} steps with {defaults}; all sizes"
        evidence = (
            "the exact image of the interval under the composed polynomials, and their extrema; "
            f"that a step keeps singular vectors and begins within the interval, at a drawn matrix "
            f"of {_SHAPE[0]} x {_SHAPE[1]}"
        )
        if apart > ZERO or scale > 1 + ZERO:
            why = "the iteration does not begin with singular values between 0 and 1"
            yield Finding("singular_values", None, evidence, reach, why)
            return
        value, told = _described(iteration)
        yield Finding("singular_values", value, evidence, reach, brief=told)
        yield _steepest_descent()


def _steepest_descent() -> Finding:
    """What a step would be if it had the polar factor in the place of the iteration."""
    drawn = drawn_matrix(_SHAPE, 0)
    singular = mpmath.svd_r(mpmath.matrix(drawn.tolist()), compute_uv=False)
    apart = abs((drawn * matrices.polar(drawn)).sum() - sum(singular))
    holds = bool(apart <= ZERO)
    return Finding(
        "steepest_descent",
        "in the spectral norm, were all of these 1" if holds else None,
        "sum(M*D) of matrices D of spectral norm 1 is at most the sum of the singular values of M "
        "(von Neumann), and that at its polar factor: shown at a drawn matrix",
        "the matrix M that the iteration begins with a multiple of; all sizes",
        "" if holds else "the polar factor does not reach it",
    )


def _is_iteration(value: Any) -> bool:
    """Whether a line repeats an odd polynomial of what it carries, and nothing else."""
    if not isinstance(value, Repeat) or len(value.lines) != 1:
        return False
    (line,) = value.lines
    call = line.value
    return (
        isinstance(call, MatrixCall)
        and call.function == "quintic"
        and call.of[0] == value.carried
        and line.name == value.end
    )


def _observed(
    derivation: MatrixDerivation, function: Function, loop: Repeat, name: str
) -> tuple[Iteration, Any, Any]:
    """The iteration at the defaults; the norm that it begins with; its distance from f."""
    machine = MatrixInterpreter(derivation, algebra=PRECISE_OR_NAN)
    scalars = machine.scalars(1)
    (line,) = loop.lines
    assert isinstance(line.value, MatrixCall)
    a, b, c = (scalars[own] for own in line.value.of[1:])
    iteration = Iteration(a, b, c, loop.runs(scalars))
    arrays = {own: drawn_matrix(_SHAPE, seed) for seed, own in enumerate(function.arrays)}
    known = run(function, {**scalars, **arrays}, PRECISE_OR_NAN)
    start, end = known[loop.start], known[name]
    u, s, v = mpmath.svd_r(mpmath.matrix(start.tolist()))
    values = mpmath.diag([iteration(value) for value in s])
    expected = np.array((u * values * v).tolist(), object)
    return iteration, matrices.size_of(start), matrices.size_of(end - expected)


def _described(iteration: Iteration) -> tuple[dict[str, float], str]:
    """What is known of f, as numbers and in words."""
    low, high = iteration.image()
    rise = iteration.a**iteration.count
    value = {"least": float(low), "largest": float(high), "slope": float(rise)}
    told = f"from {float(low):.5g} to {float(high):.5g}, {float(rise):.5g} times as large near 0"
    extrema = iteration.extrema()
    if not extrema or low < 0:
        return value, told
    later = [iteration(x) for x in (*extrema[1:], mpmath.mpf(1))]
    floor = min(later)
    below, above = mpmath.mpf(0), extrema[0]
    if not 0 < floor < iteration(above):
        return value, told
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        below, above = (middle, above) if iteration(middle) < floor else (below, middle)
    distance = max(high - 1, 1 - floor)
    value |= {"floor": float(floor), "from": float(above), "distance": float(distance)}
    told += (
        f"; from {float(floor):.5g} on, at most {float(distance):.3g} away from those of the polar "
        f"factor, where they begin at {float(above):.4g} of the norm or more; smaller ones, as a "
        "square random matrix has some, stay far from 1"
    )
    return value, told
