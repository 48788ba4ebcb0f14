"""Taylor's method in numba: all coefficients of a step, unrolled."""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.numba.printer import NumbaPrinter
from hamilforge.gen.emit.products.integrator import spelling_of, unpacked
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.integrators.integrator import Integrator, TaylorSteps
from hamilforge.gen.program.ir import names

#: What the function of the coefficients is given.
_ARGUMENTS = ("t", "state", "parameters", "rows")


@dataclass(frozen=True, slots=True)
class TaylorView:
    """Taylor's method.

    Attributes:
        order: the highest power of the step.
        lines: of the function that writes the coefficients into ``rows``, a row for each power.
    """

    template: str
    order: int
    lines: tuple[str, ...]


def taylor_view(integrator: Integrator, step: TaylorSteps, need: Requirements) -> TaylorView:
    """The view of Taylor's method.

    Args:
        integrator: the problem with the method.
        step: the method's step.
        need: notes what the texts use.

    Returns:
        The view.
    """
    problem, function = integrator.problem, step.coefficients
    need("step_lengths")
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
    return TaylorView("numba/integrators/taylor.py.jinja", step.order, tuple(lines))
