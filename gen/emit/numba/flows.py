"""A splitting in numba: what each flow adds to the state."""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.integrator_product import moment
from hamilforge.gen.program.integrator import Flow, Flows, Integrator, Problem

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


def flows_view(integrator: Integrator, step: Flows) -> FlowsView:
    """The view of a splitting."""
    problem = integrator.problem
    views = tuple(_flow(problem, flow, k) for k, flow in enumerate(step.flows, start=1))
    kicks = [flow.kept for flow in step.flows if "B" in flow.letter]
    return FlowsView("numba/flows.py.jinja", views, bool(kicks and kicks[0]))


def _flow(problem: Problem, flow: Flow, k: int) -> FlowView:
    part = problem.parts[0 if flow.letter == "A" else 1]
    begin, end = (
        moment(f"{letter}_{k}", node.value)
        for letter, node in (("T", flow.start), ("U", flow.stop))
    )
    span = "h" if flow.weight.value == 1 else f"S_{k} * h"
    friction = f"decay({begin}, {end}, parameters)" if "D" in flow.letter else ""
    weight = f"impulse({begin}, {end}, parameters)" if flow.letter == "BD" else span
    slope = (
        ""
        if flow.letter == "D" or flow.kept
        else f"{part.name}({begin}, y, parameters, 1.0, slope)"
    )
    note = f"{_NOTES[flow.letter]} over {flow.weight.exact or flow.weight.value} h"
    return FlowView(
        note, slope, part.start, part.stop, weight if flow.letter != "D" else "", friction
    )
