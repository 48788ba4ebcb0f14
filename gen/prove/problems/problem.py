"""Reports of minimization problems: whether the declared points are what they are said to be.

In: a declared problem.  Out: a report.  That the gradient vanishes at a minimizer is looked at with
:data:`DIGITS` digits in the program that is emitted, at several sizes; where the loss has kinks,
whether 0 is a convex combination of gradients nearby (Clarke's subdifferential is the convex hull
of their limits: F. H. Clarke, Optimization and Nonsmooth Analysis, Wiley 1983, theorem 2.5.1).
That no lower value exists is not proved; it is looked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import mpmath
import numpy as np
from scipy.optimize import nnls

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.shapes import written
from hamilforge.gen.derive.calculus import BROKEN
from hamilforge.gen.program.precise import PRECISE
from hamilforge.gen.program.problems.build import build_problem
from hamilforge.gen.program.problems.interpret import ProblemInterpreter
from hamilforge.gen.program.problems.problem import Landscape
from hamilforge.gen.prove.report import Claim, Finding, Report, compare_claims

DIGITS = 50
#: Below this, relative to the gradient at the start, a gradient of so many digits is zero.
ZERO = mpmath.mpf(10) ** -40
#: Sizes at which points are looked at, where a dimension has a name.
SIZES = (2, 3, 6)
#: The largest number of coordinates of which curvatures are computed.
MOST = 128
#: How many points are drawn in search of a lower loss.
DRAWN = 2000
#: How far points lie from one with a kink, and how well their gradients are combined to 0.
NEAR, COMBINED = 1e-7, 1e-5
#: All sides of a point are looked at in so many dimensions; beyond, so many drawn ones.
SIDES, DRAWN_SIDES = 8, 256
THIS = "the default parameters"
#: Functions whose slope jumps somewhere, or which do.
KINKED = {*BROKEN, "abs", "norm", "cbrt"}


def prove_problem(problem: kinds.MinimizationProblem) -> Report:
    """What is known of a minimization problem.

    Raises:
        DeclarationError: the loss has no finite value at the start.
    """
    landscape = build_problem(problem)
    sizes = dict(problem.sizes)
    here = _Numbers(landscape, sizes)
    if not np.isfinite(here.loss(here.at("start"))):
        raise DeclarationError.single(
            problem.head.source.where, "the loss has no finite value at the start", "start"
        )
    smooth = _smooth(problem)
    small = [_sizes(sizes, size) for size in (SIZES if sizes else SIZES[:1])]
    listed = ", ".join(f"{name} {written(shape)}" for name, shape in problem.variables)
    numbers = ", ".join(f"{name} = {size}" for name, size in problem.sizes)
    minimum, lower = _minimum(problem, here)
    findings = [
        Finding("variables", listed + (f"; {numbers}" if numbers else ""), "the declaration", THIS),
        Finding(
            "smooth",
            smooth,
            "the functions that the loss calls: one with a kink or a jump, or none",
            "all parameters and sizes, where arguments of roots and logarithms are positive",
        ),
        *_points(problem, landscape, small, smooth),
        minimum,
        _curvature(problem, here, smooth),
    ]
    head = problem.head
    claims = (*compare_claims(head, tuple(findings)), *_declared(problem, landscape, small), *lower)
    stationary = [f for f in findings if f.name in ("stationary", "critical") and f.value is False]
    claims += tuple(Claim(f.name, True, False, False, f.evidence) for f in stationary)
    return Report(head.name, "problem", head.title, tuple(findings), claims)


def _sizes(names: Iterable[str], size: int) -> dict[str, int]:
    """Sizes to look at: each dimension has another one."""
    return {name: size + number for number, name in enumerate(names)}


def _smooth(problem: kinds.MinimizationProblem) -> bool:
    return not problem.loss.functions() & KINKED


class _Numbers:
    """A problem in floating point, its variables in one vector."""

    def __init__(self, landscape: Landscape, sizes: Mapping[str, int]) -> None:
        self._machine = ProblemInterpreter(landscape, sizes)
        self._landscape = landscape

    def at(self, place: str) -> Any:
        """A point."""
        return np.concatenate([np.ravel(x) for x in self._machine.point(place).values()])

    def _point(self, x: Any) -> dict[str, Any]:
        point, used = {}, 0
        for array in self._landscape.variables:
            shape = self._machine.shape(array.shape)
            count = int(np.prod(shape))
            value = x[used : used + count].reshape(shape)
            point[array.name] = value if shape else float(value)
            used += count
        return point

    def loss(self, x: Any) -> float:
        """The loss."""
        with np.errstate(all="ignore"):
            return float(self._machine.loss(self._point(x)))

    def gradient(self, x: Any) -> Any:
        """The derived gradient, `(n,)`."""
        with np.errstate(all="ignore"):
            _, slopes = self._machine.gradient(self._point(x))
        return np.concatenate([np.ravel(slope) for slope in slopes.values()]).astype(float)


def _declared(
    problem: kinds.MinimizationProblem, landscape: Landscape, sizes: list[dict[str, int]]
) -> Iterator[Claim]:
    """Whether the declared minimum is the loss at each minimizer."""
    if problem.minimum is None or not problem.minimizers:
        return
    with mpmath.workdps(DIGITS):
        for size, number in itertools.product(sizes, range(len(problem.minimizers))):
            machine = ProblemInterpreter(landscape, size, algebra=PRECISE)
            value = machine.loss(machine.point(f"minimizers.{number}"))
            wanted = machine.prepared["minimum"]
            if abs(value - wanted) > ZERO * (1 + abs(machine.loss(machine.point("start")))):
                because = f"the loss at minimizer {number + 1}{_at(size)}, with {DIGITS} digits"
                text = mpmath.nstr(value, 12)
                yield Claim("minimum", problem.minimum.text, text, False, because)
                return
    yield Claim("minimum", problem.minimum.text, problem.minimum.text, True)


def _at(sizes: Mapping[str, int]) -> str:
    return " at " + ", ".join(f"{name} = {size}" for name, size in sizes.items()) if sizes else ""


def _points(
    problem: kinds.MinimizationProblem,
    landscape: Landscape,
    sizes: list[dict[str, int]],
    smooth: bool,
) -> Iterator[Finding]:
    """Whether minimizers and critical points are critical."""
    for name, table, points in (
        ("stationary", "minimizers", problem.minimizers),
        ("critical", "critical", problem.critical),
    ):
        if not points:
            if name == "stationary":
                why = "no minimizer is declared"
                yield Finding(name, None, "the declaration", THIS, why)
            continue
        places = [f"{table}.{number}" for number in range(len(points))]
        yield (_zero if smooth else _convex)(name, landscape, places, sizes)


def _zero(
    name: str, landscape: Landscape, places: list[str], sizes: list[dict[str, int]]
) -> Finding:
    """Whether the gradient vanishes, with many digits."""
    worst = mpmath.mpf(0)
    with mpmath.workdps(DIGITS):
        for size, place in itertools.product(sizes, places):
            machine = ProblemInterpreter(landscape, size, algebra=PRECISE)
            scale = 1 + _largest(machine.gradient(machine.point("start"))[1])
            largest = _largest(machine.gradient(machine.point(place))[1]) / scale
            worst = max(worst, largest)
        by = (
            f"the emitted gradient at {len(places)} point{'s' * (len(places) > 1)} with {DIGITS} "
            f"digits: at most {mpmath.nstr(worst, 2)} of that at the start"
        )
        return Finding(name, bool(worst <= ZERO), by, _reach(sizes))


def _largest(slopes: Mapping[str, Any]) -> Any:
    return max(abs(entry) for slope in slopes.values() for entry in np.ravel(slope))


def _convex(
    name: str, landscape: Landscape, places: list[str], sizes: list[dict[str, int]]
) -> Finding:
    """Whether 0 is a convex combination of gradients near the points."""
    worst = 0.0
    for size, place in itertools.product(sizes, places):
        numbers = _Numbers(landscape, size)
        x = numbers.at(place)
        scale = 1 + float(abs(numbers.gradient(numbers.at("start"))).max())
        slopes = np.array([numbers.gradient(x + side) for side in _sides(x)]) / scale
        system = np.vstack([slopes.T, np.ones(len(slopes))])
        _, residual = nnls(system, np.eye(len(x) + 1)[-1])
        worst = max(worst, float(residual))
    by = (
        f"gradients at points {NEAR:g} away, on all sides in up to {SIDES} dimensions: the nearest "
        f"convex combination of them is within {worst:.2g} of 0"
    )
    return Finding(name, worst <= COMBINED, by, _reach(sizes))


def _sides(x: Any) -> Any:
    """Directions to look in, none along a coordinate or a diagonal."""
    generator = np.random.default_rng(0)
    lengths = NEAR * (1 + abs(x)) * generator.uniform(0.5, 1.0, x.shape)
    if len(x) <= SIDES:
        return lengths * np.array(list(itertools.product((-1.0, 1.0), repeat=len(x))))
    return lengths * generator.choice([-1.0, 1.0], (DRAWN_SIDES, len(x)))


def _reach(sizes: list[dict[str, int]]) -> str:
    looked = "; ".join(_at(size).removeprefix(" at ") for size in sizes if size)
    return f"{THIS}, {looked}" if looked else THIS


def _minimum(problem: kinds.MinimizationProblem, numbers: _Numbers) -> tuple[Finding, list[Claim]]:
    """The loss at the first minimizer; and, as a false claim, a lower one where one is found."""
    if not problem.minimizers:
        why = "no minimizer is declared"
        return Finding("minimum", None, "the declaration", THIS, why), []
    best, start = numbers.at("minimizers.0"), numbers.at("start")
    value = numbers.loss(best)
    radius = 1 + float(abs(start - best).max())
    count = DRAWN if len(best) <= MOST else DRAWN // 10
    draws = np.random.default_rng(1).uniform(-1, 1, (count, len(best)))
    draws[::2] *= 0.01
    lowest = min([numbers.loss(start), *(numbers.loss(best + radius * draw) for draw in draws)])
    by = f"the emitted loss at the first minimizer; no lower one at {count} drawn points"
    claims = []
    if lowest < value - 1e-12 * (1 + abs(value)):
        by = "the emitted loss at the first minimizer, which is not the least"
        because = f"the start and {count} points drawn within {radius:.3g} of the minimizer"
        claims = [Claim("minimum", f"{value:.10g}", f"{lowest:.10g}", False, because)]
    return Finding("minimum", value, by, f"{THIS} and sizes; not proved"), claims


def _curvature(problem: kinds.MinimizationProblem, numbers: _Numbers, smooth: bool) -> Finding:
    """The eigenvalues of the second derivative at the first minimizer."""
    name, by = "curvature", "central differences of the emitted gradient at the first minimizer"
    if not problem.minimizers or not smooth:
        why = "the loss has kinks" if problem.minimizers else "no minimizer is declared"
        return Finding(name, None, by, THIS, why)
    x = numbers.at("minimizers.0")
    if len(x) > MOST:
        why = f"{len(x)} coordinates, and at most {MOST} are looked at"
        return Finding(name, None, by, THIS, why)
    step = 1e-5 * (1 + float(abs(x).max()))
    columns = [
        (numbers.gradient(x + step * unit) - numbers.gradient(x - step * unit)) / (2 * step)
        for unit in np.eye(len(x))
    ]
    hessian = np.array(columns)
    if not np.isfinite(hessian).all():
        return Finding(name, None, by, THIS, "the second derivative is not finite there")
    eigenvalues = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    least, most = float(eigenvalues[0]), float(eigenvalues[-1])
    least = 0.0 if abs(least) < 1e-6 * abs(most) else least
    return Finding(name, f"{least:.4g} to {most:.4g}", by, f"{THIS} and sizes")
