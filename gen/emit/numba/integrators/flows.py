"""A splitting in numba: what each flow adds to the state."""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import moment
from hamilforge.gen.program.integrators.integrator import Flow, Flows, Integrator, Problem

_NOTES = {"A": "drift", "B": "kick", "D": "friction", "BD": "kick with friction"}


@dataclass(frozen=True, slots=True)
class FlowView:
    """One flow: its right-hand side, if that is new, and what it adds to a part of the state."""

    note: str
    slope: str
    start: int
    stop: int
    weight: str
    friction: str


@dataclass(frozen=True, slots=True)
class FlowsView:
    """A splitting."""

    template: str
    flows: tuple[FlowView, ...]
    keeps: bool


def flows_view(integrator: Integrator, step: Flows, need: Requirements) -> FlowsView:
    """The view of a splitting.

    Args:
        integrator: the problem with the splitting.
        step: the splitting.
        need: notes what the texts use.

    Returns:
        The view.
    """
    problem = integrator.problem
    views = tuple(_flow(problem, flow, k, need) for k, flow in enumerate(step.flows, start=1))
    kicks = [flow.kept for flow in step.flows if "B" in flow.letter]
    return FlowsView("numba/integrators/flows.py.jinja", views, bool(kicks and kicks[0]))


def _flow(problem: Problem, flow: Flow, k: int, need: Requirements) -> FlowView:
    part = problem.parts[0 if flow.letter == "A" else 1]

    def begin() -> str:
        return moment(f"T_{k}", flow.start.value, need)

    def span() -> str:
        return f"{begin()}, {moment(f'U_{k}', flow.stop.value, need)}, parameters"

    weight = friction = slope = ""
    if "D" in flow.letter:
        friction = f"decay({span()})"
    if flow.letter == "BD":
        weight = f"impulse({span()})"
    elif flow.letter != "D":
        weight = "h" if flow.weight.value == 1 else f"{need(f'S_{k}')} * h"
    if flow.letter != "D" and not flow.kept:
        slope = f"{part.name}({begin()}, y, parameters, 1.0, slope)"
    note = f"{_NOTES[flow.letter]} over {flow.weight.exact or flow.weight.value} h"
    return FlowView(note, slope, part.start, part.stop, weight, friction)
