"""Taylor's method in numba: coefficients line by line or, if they are many, in loops."""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.numba.integrators.series_loops import SeriesLoops
from hamilforge.gen.emit.numba.printer import NumbaPrinter
from hamilforge.gen.emit.products.integrator import spelling_of, unpacked
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.integrators.integrator import Integrator, Problem, TaylorSteps
from hamilforge.gen.program.ir import names

#: What the function of the coefficients is given.
_ARGUMENTS = ("t", "state", "parameters", "rows")


@dataclass(frozen=True, slots=True)
class TaylorView:
    """Taylor's method.

    Attributes:
        order: the highest power of the step.
        columns: how many series stand in a row of coefficients.
        lines: of the function that writes the coefficients into ``rows``, a row for each power.
        table: of columns that loops of it go through, its lines.
    """

    template: str
    order: int
    columns: int
    lines: tuple[str, ...]
    table: tuple[str, ...] = ()


def taylor_view(integrator: Integrator, step: TaylorSteps, need: Requirements) -> TaylorView:
    """The view of Taylor's method.

    Args:
        integrator: the problem with the method.
        step: the method's step.
        need: notes what the texts use.

    Returns:
        The view.
    """
    need("lanes.where_less")
    need("step_lengths")
    need("compensation.added")
    problem = integrator.problem
    if step.looped:
        loops = SeriesLoops(problem, step.series, (*_ARGUMENTS, "above", "ORDER"), need, "PLACES")
        columns, lines = loops.width, _looped(loops, problem.size)
        table = loops.table()
    else:
        columns, lines, table = problem.size, _unrolled(problem, step, need), ()
    return TaylorView("numba/integrators/taylor.py.jinja", step.order, columns, tuple(lines), table)


def _unrolled(problem: Problem, step: TaylorSteps, need: Requirements) -> list[str]:
    """A line for each coefficient."""
    function = step.coefficients
    values = [line.expr for line in function.lines]
    targets = [line.name for line in function.lines]
    spelling = spelling_of(problem, NumbaPrinter, _ARGUMENTS, values, targets)
    printer = NumbaPrinter(spelling, need)
    used = {name for value in values for name in names(value)} | {*problem.components}
    lines = unpacked(problem, used, spelling)
    lines += [f"{printer.variable(line.name)} = {printer(line.expr)}" for line in function.lines]
    places = [(0, name) for name in problem.components]
    places += [(1 + k // problem.size, array.name) for k, (_, array) in enumerate(function.results)]
    for k, (power, name) in enumerate(places):
        lines.append(f"rows[{power}, {k % problem.size}] = {printer.variable(name)}")
    return lines


def _looped(loops: SeriesLoops, size: int) -> list[str]:
    """A loop over powers: each row of the components is the rates of the row before."""
    lines = [*loops.header, f"for i in range({size}):", "    rows[0, i] = state[i]"]
    if loops.time is not None:
        lines += [f"rows[0, {loops.time}] = t", f"rows[1, {loops.time}] = 1.0"]
    lines += ["for k in range(ORDER):", "    row, above = rows[k], rows[k + 1]"]
    lines += [f"    {line}" for line in (*loops.body(), *loops.results("above"))]
    return [*lines, f"    for i in range({size}):", "        above[i] /= k + 1"]
