"""What an iteration of odd polynomials makes of singular values, and how far that is from one.

In: the program of a rule with ``repeat(k, S, quintic(S, a, b, c))``.  Out: a finding.  The k-fold
composition f of ``q(x) = a x + b x^3 + c x^5`` is looked at on the interval from 0 to 1: the image
of an interval under q is that of its ends and of the points between where q' vanishes, so the image
under f is exact; extrema of f lie where an iterate meets a zero of q'.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import mpmath
import numpy as np

from hamilforge.gen.declare.matrix_functions import ALONG, dimensions
from hamilforge.gen.derive.arrays import MatrixCall
from hamilforge.gen.exact import matrices
from hamilforge.gen.program.interpret import run
from hamilforge.gen.program.ir import Function, Repeat
from hamilforge.gen.program.optimizers.build_matrix import MatrixDerivation
from hamilforge.gen.program.optimizers.interpret_matrix import MatrixInterpreter
from hamilforge.gen.program.precise import PRECISE_OR_NAN
from hamilforge.gen.prove.optimizers.manifold_points import ZERO, drawn_matrix
from hamilforge.gen.prove.report import Finding

#: The digits of the arithmetic.
_DIGITS = 60
#: Beyond so many extrema of f none are looked for.
_MOST = 200
#: Beyond this values are told to grow.
_LARGE = 1e6
#: The size of a square random matrix of which it is said how often it has small singular values.
_SQUARE = 100
#: Steps of bisection.
_HALVINGS = 200
#: Shapes of drawn matrices, and by what their entries are multiplied: a step leads tall and wide,
#: small and large ones into the interval.
_DRAWN = (
    ((5, 3), mpmath.mpf(1)),
    ((5, 3), mpmath.mpf("1e-6")),
    ((5, 3), mpmath.mpf("1e6")),
    ((3, 5), mpmath.mpf(1)),
    ((12, 7), mpmath.mpf(1)),
)


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
        """The image of the interval from 0 to 1 under f; a part of it where it is very large."""
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        turns = self._turns()
        for _ in range(self.count):
            if max(-low, high) > _LARGE:
                break  # the image is larger than that
            points = [low, high, *(turn for turn in turns if low < turn < high)]
            values = [*map(self.once, points)]
            low, high = min(values), max(values)
        return low, high

    def extrema(self) -> list[Any] | None:
        """Where f' vanishes and changes its sign between 0 and 1, in order; None if these are many.

        Between neighbouring ends an iterate is monotone: it meets each zero of q' at most once.
        """
        turns = self._turns()
        ends = [mpmath.mpf(0), mpmath.mpf(1)]
        for done in range(self.count):
            iterate = replace(self, count=done)
            values = [*map(iterate, ends)]
            further = [
                _root(iterate, turn, *places)
                for turn in turns
                for places, (left, right) in zip(
                    itertools.pairwise(ends), itertools.pairwise(values), strict=True
                )
                if (left - turn) * (right - turn) < 0
            ]
            ends = sorted((*ends, *further))
            if len(ends) > _MOST:
                return None
        return ends[1:-1]

    def _turns(self) -> list[Any]:
        """Where q' = a + 3 b x^2 + 5 c x^4 changes its sign: with each place its negative."""
        a, b, c = self.a, 3 * self.b, 5 * self.c
        squares = []
        if not c:
            squares = [-a / b] if b else []
        elif (discriminant := b * b - 4 * a * c) > 0:  # at a double root the sign stays
            root = mpmath.sqrt(discriminant)
            squares = [(-b + root) / (2 * c), (-b - root) / (2 * c)]
        positive = [mpmath.sqrt(square) for square in squares if square > 0]
        return [*positive, *(-x for x in positive)]


def _root(iterate: Iteration, value: Any, below: Any, above: Any) -> Any:
    """Where a monotone function has a value, by bisection.

    Args:
        iterate: the function.
        value: what it is to be.
        below: one side.
        above: the other; the value lies strictly between those at both.
    """
    rises = iterate(above) > value
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        if (iterate(middle) < value) == rises:
            below = middle
        else:
            above = middle
    return (below + above) / 2


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
        scalars = MatrixInterpreter(derivation, algebra=PRECISE_OR_NAN).scalars(1)
        iteration = _iteration(loop.value, scalars)
        defaults = ", ".join(mpmath.nstr(v, 5) for v in (iteration.a, iteration.b, iteration.c))
        reach = f"{iteration.count} steps with {defaults}, that begin within the interval"
        drawn = ", ".join(
            f"{rows} x {columns} times {mpmath.nstr(size, 3)}" for (rows, columns), size in _DRAWN
        )
        evidence = (
            "the exact image of the interval from 0 to 1 under the composed polynomials, and their "
            "extrema; that a step keeps singular vectors and begins within the interval: at drawn "
            f"matrices, {drawn}"
        )
        if max(map(abs, iteration.image())) > _LARGE:
            why = f"values between 0 and 1 grow beyond {_LARGE:.0e}"
            yield Finding("singular_values", None, evidence, reach, why)
            return
        observed = [
            _observed(function, loop.value, loop.name, scalars, iteration, *drawn)
            for drawn in _DRAWN
        ]
        if any(own.apart > ZERO or own.scale > 1 + ZERO for own in observed):
            why = "the iteration does not begin with singular values between 0 and 1"
            yield Finding("singular_values", None, evidence, reach, why)
            return
        normed = all(abs(own.scale - 1) <= ZERO for own in observed)
        value, told = _described(iteration, "of the norm " if normed else "")
        yield Finding("singular_values", value, evidence, reach, brief=told)
        yield _steepest_descent(observed)


def _steepest_descent(observed: Iterable[_Observed]) -> Finding:
    """What a step would be if it had the polar factor in the place of the iteration."""
    holds = all(own.along > 0 for own in observed)
    return Finding(
        "steepest_descent",
        "in the spectral norm, were all of these 1" if holds else None,
        "X moves along the negative end of the iteration, which has the singular vectors of its "
        "start M; sum(M*D) of matrices D of spectral norm 1 is largest at the polar factor of M, "
        "by von Neumann's trace inequality",
        "drawn matrices, at the defaults",
        "" if holds else "X does not move along the negative end of the iteration",
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


@dataclass(frozen=True, slots=True)
class _Observed:
    """A step at a drawn matrix.

    Attributes:
        start: what the iteration begins with.
        scale: the norm of that.
        apart: how far its end is from that with the singular values of f, relatively.
        along: the factor by which X moves along the negative end; 0 if it moves otherwise.
    """

    start: Any
    scale: Any
    apart: Any
    along: Any


def _iteration(loop: Repeat, scalars: Mapping[str, Any]) -> Iteration:
    """What lines repeat."""
    (line,) = loop.lines
    assert isinstance(line.value, MatrixCall)
    a, b, c = (scalars[own] for own in line.value.of[1:])
    return Iteration(a, b, c, loop.runs(scalars))


def _observed(
    function: Function,
    loop: Repeat,
    name: str,
    scalars: Mapping[str, Any],
    iteration: Iteration,
    shape: tuple[int, int],
    size: Any,
) -> _Observed:
    """A step at a drawn matrix.

    Args:
        function: of a rule.
        loop: the repeated lines.
        name: what they end with.
        scalars: of the step.
        iteration: what the lines repeat.
        shape: of what is drawn.
        size: by which it is multiplied.
    """
    lengths = {**dict(zip(dimensions(function.inputs[0].shape), shape, strict=False)), ALONG: 1}
    arrays = {}
    for seed, own in enumerate(function.arrays):
        rows, columns = (lengths[axis] for axis in function.types[own].shape)
        arrays[own] = size * drawn_matrix((rows, columns), seed)
    known = run(function, {**scalars, **arrays}, PRECISE_OR_NAN)
    start, end = known[loop.start], known[name]
    u, s, v = mpmath.svd_r(mpmath.matrix(start.tolist()))
    values = mpmath.diag([iteration(value) for value in s])
    expected = np.array((u * values * v).tolist(), object)
    point = function.arrays[0]
    moved = arrays[point] - known[dict(function.results)[point].name]
    apart = matrices.size_of(end - expected) / (1 + matrices.size_of(end))
    return _Observed(start, matrices.size_of(start), apart, _along(moved, end))


def _along(moved: Any, end: Any) -> Any:
    """By what multiple of a matrix, or of its transpose, another one moved; 0 if by none."""
    for direction in (end, end.T):
        norm = matrices.size_of(direction)
        if norm and direction.shape == moved.shape:
            along = (moved * direction).sum() / norm**2
            if matrices.size_of(moved - along * direction) <= ZERO * abs(along) * norm:
                return along
    return mpmath.mpf(0)


def _described(iteration: Iteration, unit: str) -> tuple[dict[str, float], str]:
    """What is known of f, as numbers and in words.

    Args:
        iteration: f.
        unit: of what it begins with.
    """
    low, high = iteration.image()
    rise = iteration.a**iteration.count
    value = {"least": float(low), "largest": float(high), "slope": float(rise)}
    told = f"from {float(low):.5g} to {float(high):.5g}, {float(rise):.5g} times as large near 0"
    extrema = iteration.extrema()
    if not extrema or low < 0:
        return value, told
    later = [iteration(x) for x in (*extrema[1:], mpmath.mpf(1))]
    floor = min(later)
    first = extrema[0]
    if not 0 < floor < iteration(first):
        return value, told
    above = _root(iteration, floor, mpmath.mpf(0), first)
    distance = max(high - 1, 1 - floor)
    value |= {"floor": float(floor), "from": float(above), "distance": float(distance)}
    told += (
        f"; from {float(floor):.5g} on, at most {float(distance):.3g} away from those of the polar "
        f"factor, where they begin at {float(above):.4g} {unit}or more; smaller ones end below "
        f"{float(floor):.2g}"
    )
    if unit:
        share = _share_below(float(above), _SQUARE)
        value |= {"share": share}
        told += (
            f", and a matrix of {_SQUARE} x {_SQUARE} independent normal numbers has at least one "
            f"of those with a probability of about {share:.2g}"
        )
    return value, told


def _share_below(least: float, size: int) -> float:
    """How often a square matrix of normal numbers has a singular value below a part of its norm.

    The smallest one is below t/sqrt(n) with a probability that tends to 1 - exp(-t^2/2 - t), and
    the norm is about n (A. Edelman, SIAM J. Matrix Anal. Appl. 9 (1988) 543-560).

    Args:
        least: the part.
        size: n.
    """
    t = least * size**1.5
    return -math.expm1(-t * t / 2 - t)
