"""The polynomial of a step in numba, and what is looked for on it.

In: an integrator whose steps follow an error estimate.  Out: views of the polynomial, and of the
events of its problem.

Where the stages of a step allow a curve of the order of its error estimate, the polynomial is that
curve; of Taylor's method it is the series.  Otherwise, and where friction multiplies the curve by
its exponential factor, it is the one that agrees with shorter steps at Chebyshev's points.
"""

from __future__ import annotations

from dataclasses import dataclass

import mpmath

from hamilforge.gen.emit.numba.integrators.series_loops import SeriesLoops
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.exact.numbers import DIGITS
from hamilforge.gen.program.integrators.integrator import Integrator, Problem, TaylorSteps
from hamilforge.gen.program.stages import Stages

#: Powers beyond the order of a step that a polynomial through shorter steps has.
_BEYOND = 2


@dataclass(frozen=True, slots=True)
class CurveView:
    """The polynomial of a step.

    Attributes:
        degree: of it.
        powers: the highest power of rows that hold it and what is computed of it.
        taylor: whether it is the series of Taylor's method.
        weighted: whether the stages give the state between, by continuous weights.
        nodes: where it agrees with the state between; empty where its coefficients are known.
        from_values: the matrix from changes of the state there to coefficients from power 1 on.
    """

    degree: int
    powers: int
    taylor: bool
    weighted: bool
    nodes: str = ""
    from_values: str = ""


@dataclass(frozen=True, slots=True)
class EventsView:
    """What is looked for.

    Attributes:
        table: direction and terminal zero of each event by its name.
        column: that of the first event in rows of series.
        count: how many.
        lines: of the function that writes their series.
        columns: that loops of it go through, the lines of a table.
    """

    table: str
    column: int
    count: int
    lines: tuple[str, ...]
    columns: tuple[str, ...]


def curve_view(integrator: Integrator) -> CurveView | None:
    """The polynomial of a step; None for a method without an error estimate."""
    match integrator.step:
        case TaylorSteps(order=order):
            return CurveView(order, order, True, False)
        case Stages(error=None):
            return None
        case Stages(interpolant=interpolant) as step:
            weighted = interpolant is not None and interpolant.order >= step.error_order
            if interpolant is not None and weighted and integrator.problem.decay is None:
                degree = len(interpolant.weights[0])
                return CurveView(degree, 2 * degree, False, True)
            degree = step.error_order + _BEYOND
            nodes, matrix = _interpolation(degree)
            return CurveView(degree, 2 * degree, False, weighted, nodes, matrix)
    return None


def events_view(problem: Problem, powers: int, need: Requirements) -> EventsView | None:
    """The events of a problem; None where there are none.

    Args:
        problem: the problem.
        powers: the highest power of their series.
        need: notes what the texts use.

    Returns:
        The view.
    """
    if problem.event_series is None:
        return None
    need("series_bounds")
    arguments = ("t", "h", "parameters", "rows", "top")
    loops = SeriesLoops(problem, problem.event_series, arguments, need, "EVENT_PLACES")
    lines = list(loops.header)
    if loops.time is not None:
        lines += [f"rows[0, {loops.time}] = t"]
        lines += ["if top > 0:", f"    rows[1, {loops.time}] = h"]
    lines += ["for k in range(top + 1):", "    row = rows[k]"]
    lines += [f"    {line}" for line in (*loops.body(), *loops.results("row", loops.width))]
    table = {event.name: (event.direction, event.terminal) for event in problem.events}
    return EventsView(repr(table), loops.width, len(table), tuple(lines), loops.table())


def _interpolation(degree: int) -> tuple[str, str]:
    """Chebyshev's points in (0, 1], and the inverse of the matrix of their powers from 1 on."""
    with mpmath.workdps(DIGITS):
        points = [(1 - mpmath.cos(mpmath.pi * n / degree)) / 2 for n in range(1, degree + 1)]
        powers = mpmath.matrix([[x**k for k in range(1, degree + 1)] for x in points])
        inverse = powers**-1
        rows = [[float(inverse[k, n]) for n in range(degree)] for k in range(degree)]
        return repr([float(x) for x in points]), repr(rows)
