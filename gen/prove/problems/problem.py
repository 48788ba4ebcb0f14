"""Reports of minimization problems: whether the declared points are what they are said to be.

In: a declared problem.  Out: a report.  That the gradient vanishes at a minimizer is looked at with
:data:`DIGITS` digits in the program that is emitted, at several sizes; where the loss has kinks,
whether 0 is a convex combination of gradients nearby (Clarke's subdifferential is the convex hull
of their limits: F. H. Clarke, Optimization and Nonsmooth Analysis, Wiley 1983, theorem 2.5.1).
That no lower value exists is not proved; it is looked for.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
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
#: Below this, relative to 1 + the gradient at the start, a gradient of so many digits is zero.
ZERO = mpmath.mpf(10) ** -40
#: Sizes at which points are looked at, where a dimension has a name.
SIZES = (2, 3, 6)
#: The largest number of coordinates of which curvatures are computed.
MOST = 128
#: How many points are drawn in search of a lower loss, of how many entries in all.
DRAWN, ENTRIES = 2000, 250_000
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
        DeclarationError: data, or the loss at the start, are not finite at the declared sizes.
    """
    landscape = build_problem(problem)
    try:
        here = _Numbers(landscape, dict(problem.sizes))
    except ArithmeticError as error:
        message = f"no data and points at the declared sizes and parameters: {error}"
        raise DeclarationError.single(problem.head.source.where, message) from error
    _refuse_infinite(problem, here)
    smooth = _smooth(problem)
    small = [_sizes(dict(problem.sizes), size) for size in (SIZES if problem.sizes else SIZES[:1])]
    if dict(problem.sizes) not in small and len(here.at("start")) <= MOST:
        small.append(dict(problem.sizes))
    exact = _exact(landscape, small) if problem.minimizers or problem.critical else []
    vanishes = partial(_zero, exact) if smooth else partial(_convex, landscape, small)
    listed = ", ".join(f"{name} {written(shape)}" for name, shape in problem.variables)
    numbers = ", ".join(f"{name} = {size}" for name, size in problem.sizes)
    minimum, lower = _minimum(problem, here)
    curvature, down = _curvature(problem, here, smooth)
    findings = [
        Finding("variables", listed + (f"; {numbers}" if numbers else ""), "the declaration", THIS),
        Finding(
            "smooth",
            smooth,
            "the functions that the loss calls: one with a kink or a jump, or none",
            "all parameters and sizes, where arguments of roots and logarithms are positive",
        ),
        *_points(problem, vanishes),
        minimum,
        curvature,
    ]
    head = problem.head
    false = (lower or down)[:1]
    declared = () if false else _declared(problem, exact)
    claims = (*compare_claims(head, tuple(findings)), *false, *declared)
    stationary = [f for f in findings if f.name in ("stationary", "critical") and f.value is False]
    claims += tuple(Claim(f.name, True, False, False, f.evidence) for f in stationary)
    return Report(head.name, "problem", head.title, tuple(findings), claims)


def _refuse_infinite(problem: kinds.MinimizationProblem, numbers: _Numbers) -> None:
    """Data and the loss at the start have values at the declared sizes."""
    source = problem.head.source
    for datum in problem.data:
        if not np.isfinite(np.asarray(numbers.prepared[f"data.{datum.name}"], float)).all():
            message = "an entry is not finite at the declared sizes and parameters"
            raise DeclarationError.at(source, message, "data", datum.name)
    if not np.isfinite(numbers.loss(numbers.at("start"))):
        raise DeclarationError.at(source, "the loss has no finite value at the start", "start")


def _sizes(names: Iterable[str], size: int) -> dict[str, int]:
    """Sizes to look at: each dimension has another one."""
    return {name: size + number for number, name in enumerate(names)}


def _smooth(problem: kinds.MinimizationProblem) -> bool:
    return not problem.loss.functions() & KINKED


class _Numbers:
    """A problem in floating point, its variables in one vector."""

    def __init__(self, landscape: Landscape, sizes: Mapping[str, int]) -> None:
        with np.errstate(all="ignore"):
            self._machine = ProblemInterpreter(landscape, sizes)
        self._landscape = landscape

    @property
    def prepared(self) -> Mapping[str, Any]:
        """Data and points."""
        return self._machine.prepared

    def at(self, place: str) -> Any:
        """A point."""
        return self._machine.vector(place)

    def _point(self, x: Any) -> dict[str, Any]:
        point, used = {}, 0
        for array in self._landscape.variables:
            shape = self._machine.shape(array.shape)
            count = int(np.prod(shape))
            value = x[used : used + count].reshape(shape)
            point[array.name] = value if shape else np.float64(value[()])
            used += count
        return point

    def loss(self, x: Any) -> float:
        """The loss; NaN where it has none."""
        with np.errstate(all="ignore"), contextlib.suppress(ArithmeticError):
            return float(self._machine.loss(self._point(x)))
        return math.nan

    def gradient(self, x: Any) -> Any:
        """The derived gradient, `(n,)`; NaN where there is none."""
        with np.errstate(all="ignore"), contextlib.suppress(ArithmeticError):
            _, slopes = self._machine.gradient(self._point(x))
            return _entries(slopes).astype(float)
        return np.full(x.shape, np.nan)


def _declared(
    problem: kinds.MinimizationProblem, exact: list[tuple[dict[str, int], _Exact]]
) -> Iterator[Claim]:
    """Whether the declared minimum is the loss at each minimizer."""
    if problem.minimum is None or not problem.minimizers:
        return
    with mpmath.workdps(DIGITS):
        for (size, numbers), number in itertools.product(exact, range(len(problem.minimizers))):
            value = numbers.loss(f"minimizers.{number}")
            if not abs(value - numbers.minimum) <= ZERO * (1 + abs(numbers.loss_at_start)):
                because = f"the loss at minimizer {number + 1}{_at(size)}, with {DIGITS} digits"
                text = mpmath.nstr(value, 12)
                yield Claim("minimum", problem.minimum.text, text, False, because)
                return
    yield Claim("minimum", problem.minimum.text, problem.minimum.text, True)


class _Exact:
    """A problem with many digits.

    Raises:
        ArithmeticError, ValueError: the loss at the start has no value at these sizes.
    """

    def __init__(self, landscape: Landscape, sizes: Mapping[str, int]) -> None:
        self._machine = ProblemInterpreter(landscape, sizes, algebra=PRECISE)
        self.minimum = self._machine.prepared.get("minimum")
        self.loss_at_start, slopes = self._machine.gradient(self._machine.point("start"))
        self.slopes_at_start = _entries(slopes)
        if not all(map(mpmath.isfinite, (self.loss_at_start, *self.slopes_at_start))):
            raise ArithmeticError("no finite loss and slopes at the start")

    def loss(self, place: str) -> Any:
        """The loss at a place; NaN where it has none."""
        with contextlib.suppress(ArithmeticError, ValueError):  # such as 1/0
            return self._machine.loss(self._machine.point(place))
        return mpmath.nan

    def slopes(self, place: str) -> Any:
        """The derived gradient, `(n,)`; NaN where there is none."""
        with contextlib.suppress(ArithmeticError, ValueError):
            return _entries(self._machine.gradient(self._machine.point(place))[1])
        return np.array([mpmath.nan])


def _exact(
    landscape: Landscape, sizes: list[dict[str, int]]
) -> list[tuple[dict[str, int], _Exact]]:
    """The problem at those sizes at which the loss has a value at the start."""
    exact = []
    with mpmath.workdps(DIGITS):
        for size in sizes:
            with contextlib.suppress(ArithmeticError, ValueError):
                exact.append((size, _Exact(landscape, size)))
    return exact


def _entries(slopes: Mapping[str, Any]) -> Any:
    return np.concatenate([np.ravel(slope) for slope in slopes.values()])


def _at(sizes: Mapping[str, int]) -> str:
    return " at " + ", ".join(f"{name} = {size}" for name, size in sizes.items()) if sizes else ""


def _points(
    problem: kinds.MinimizationProblem, vanishes: Callable[[str, list[str]], Finding]
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
        yield vanishes(name, places)


def _zero(exact: list[tuple[dict[str, int], _Exact]], name: str, places: list[str]) -> Finding:
    """Whether the gradient vanishes, with many digits."""
    worst = mpmath.mpf(0)
    with mpmath.workdps(DIGITS):
        for (_, numbers), place in itertools.product(exact, places):
            scale = 1 + max(map(abs, numbers.slopes_at_start))
            for slope in numbers.slopes(place):
                part = abs(slope) / scale
                worst = max(worst, part) if mpmath.isfinite(part) else mpmath.inf
        by = (
            f"the emitted gradient at {len(places)} point{'s' * (len(places) > 1)} with {DIGITS} "
            f"digits: at most {mpmath.nstr(worst, 2)} of 1 + that at the start"
        )
        if not exact:
            return Finding(name, None, by, THIS, "the loss has no value at the sizes looked at")
        if not mpmath.isfinite(worst):
            return Finding(name, None, by, THIS, "a derivative of the loss has no value there")
        return Finding(name, bool(worst <= ZERO), by, _reach([size for size, _ in exact]))


def _convex(
    landscape: Landscape, sizes: list[dict[str, int]], name: str, places: list[str]
) -> Finding:
    """Whether 0 is a convex combination of gradients near the points."""
    worst, looked = 0.0, []
    for size in sizes:
        try:
            numbers = _Numbers(landscape, size)
        except ArithmeticError:
            continue
        if not np.isfinite(numbers.gradient(numbers.at("start"))).all():
            continue
        looked.append(size)
        for place in places:
            x = numbers.at(place)
            slopes = np.array([numbers.gradient(x + side) for side in _sides(x)])
            if not np.isfinite(slopes).all():
                worst = np.inf
                continue
            slopes /= float(abs(slopes).max()) or 1.0
            system = np.vstack([slopes.T, np.ones(len(slopes))])
            _, residual = nnls(system, np.eye(len(x) + 1)[-1])
            worst = max(worst, float(residual))
    by = (
        f"gradients at points {NEAR:g} away, on all sides in up to {SIDES} dimensions: the nearest "
        f"convex combination of them is within {worst:.2g} of 0, where the longest is 1"
    )
    if not looked:
        return Finding(name, None, by, THIS, "the loss has no slope at the sizes looked at")
    return Finding(name, bool(worst <= COMBINED), by, _reach(looked))


def _sides(x: Any) -> Any:
    """Directions to look in, none along a coordinate or a diagonal."""
    generator = np.random.default_rng(0)
    lengths = NEAR * (1 + abs(x)) * generator.uniform(0.5, 1.0, x.shape)
    if len(x) <= SIDES:
        return lengths * np.array(list(itertools.product((-1.0, 1.0), repeat=len(x))))
    # 0 lies in the hull of random sides once they are a few times as many as dimensions
    return lengths * generator.choice([-1.0, 1.0], (max(DRAWN_SIDES, 4 * len(x)), len(x)))


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
    count = max(20, min(DRAWN, ENTRIES // len(best)))
    generator = np.random.default_rng(1)
    lowest = numbers.loss(start)
    for number in range(count):
        draw = generator.uniform(-1, 1, len(best)) * (0.01 if number % 2 else 1.0)
        lowest = min(lowest, numbers.loss(best + radius * draw))
    by = f"the emitted loss at the first minimizer; no lower one at {count} drawn points"
    claims = []
    if not lowest >= value - 1e-12 * (1 + abs(value)):
        by = f"the emitted loss at the first minimizer, but {lowest:.10g} was found elsewhere"
        because = f"the start and {count} points drawn within {radius:.3g} of the minimizer"
        claims = [_lower(problem, value, lowest, because)]
    return Finding("minimum", value, by, f"{THIS} and sizes; not proved"), claims


def _lower(problem: kinds.MinimizationProblem, value: float, lowest: float, because: str) -> Claim:
    """That a minimizer is one is claimed by declaring it; there is a lower loss."""
    declared = problem.minimum.text if problem.minimum is not None else f"{value:.10g}"
    return Claim("minimum", declared, f"{lowest:.10g}", False, because)


def _curvature(
    problem: kinds.MinimizationProblem, numbers: _Numbers, smooth: bool
) -> tuple[Finding, list[Claim]]:
    """The eigenvalues of the second derivative at the first minimizer.

    Where one is negative, the loss is looked at along its eigenvector.
    """
    name, by = "curvature", "central differences of the emitted gradient at the first minimizer"
    if not problem.minimizers or not smooth:
        why = "the loss has kinks" if problem.minimizers else "no minimizer is declared"
        return Finding(name, None, by, THIS, why), []
    x = numbers.at("minimizers.0")
    if len(x) > MOST:
        why = f"{len(x)} coordinates, and at most {MOST} are looked at"
        return Finding(name, None, by, THIS, why), []
    step = 1e-5 * (1 + float(abs(x).max()))
    columns = [
        (numbers.gradient(x + step * unit) - numbers.gradient(x - step * unit)) / (2 * step)
        for unit in np.eye(len(x))
    ]
    hessian = np.array(columns)
    if not np.isfinite(hessian).all():
        why = "the second derivative is not finite there"
        return Finding(name, None, by, THIS, why), []
    eigenvalues, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    least, most = float(eigenvalues[0]), float(eigenvalues[-1])
    least = 0.0 if abs(least) < 1e-6 * abs(most) else least
    value, claims = numbers.loss(x), []
    if least < 0:
        away = [t * (1 + float(abs(x).max())) * vectors[:, 0] for t in (1e-3, 1e-2, 0.1, 1.0)]
        lowest = min(numbers.loss(x + side) for side in (*away, *(-side for side in away)))
        if lowest < value - 1e-12 * (1 + abs(value)):
            because = "the direction in which the second derivative at the minimizer is negative"
            claims = [_lower(problem, value, lowest, because)]
    return Finding(name, f"{least:.4g} to {most:.4g}", by, f"{THIS} and sizes"), claims
