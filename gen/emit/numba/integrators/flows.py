"""A splitting in numba: what each flow adds to the state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hamilforge.gen.emit.numba.integrators.storage import Storage
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import moment
from hamilforge.gen.program.integrators.integrator import Flow, Flows, Integrator, Problem

_NOTES = {"A": "drift", "B": "kick", "D": "friction", "BD": "kick with friction"}


@dataclass(frozen=True, slots=True)
class FlowsView:
    """A splitting: the lines of a step."""

    template: str
    lines: tuple[str, ...]


def flows_view(
    integrator: Integrator, step: Flows, storage: Storage, need: Requirements
) -> FlowsView:
    """The view of a splitting.

    Args:
        integrator: the problem with the splitting.
        step: the splitting.
        storage: where the state is.
        need: notes what the texts use.

    Returns:
        The view.
    """
    problem = integrator.problem
    lines = []
    kicks = [flow.kept for flow in step.flows if "B" in flow.letter]
    if kicks and kicks[0]:
        lines += [
            "if flags[0] == 0:",
            f"    force(t, {storage.whole('y')}, parameters, 1.0, slope)",
            "    flags[0] = 1",
        ]
    for k, flow in enumerate(step.flows, start=1):
        lines += _flow(problem, flow, k, storage, need)
    return FlowsView("numba/integrators/flows.py.jinja", tuple(lines))


def _flow(
    problem: Problem, flow: Flow, k: int, storage: Storage, need: Requirements
) -> Iterator[str]:
    part = problem.parts[0 if flow.letter == "A" else 1]

    def begin() -> str:
        return moment(f"T_{k}", flow.start.value, need)

    def span() -> str:
        return f"{begin()}, {moment(f'U_{k}', flow.stop.value, need)}, parameters"

    damped, moved = "D" in flow.letter, flow.letter != "D"
    yield f"# {_NOTES[flow.letter]} over {flow.weight.exact or flow.weight.value} h"
    if moved and not flow.kept:
        yield f"{part.name}({begin()}, {storage.whole('y')}, parameters, 1.0, slope)"
    if flow.letter == "BD":
        yield f"weight = impulse({span()})"
    elif moved:
        yield f"weight = {'h' if flow.weight.value == 1 else need(f'S_{k}') + ' * h'}"
    if damped:
        yield f"damp = decay({span()})"

    def line(i: str) -> Iterator[str]:
        y, low = storage.entry("y", i), storage.entry("low", i)
        if damped:
            yield f"{y} *= damp"
            yield f"{low} *= damp"
        if moved:
            yield f"{y}, {low} = {need('compensation.added')}({y}, {low}, weight * slope[{i}])"

    yield from storage.each(part.start, part.stop, line)
