"""Constrained steps in numba: what each move does to the state."""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import moment
from hamilforge.gen.program.integrators.integrator import (
    ConstrainedFlows,
    ConstrainedMove,
    Friction,
    Integrator,
)
from hamilforge.gen.program.ir import names
from hamilforge.gen.program.stages import Coefficient


@dataclass(frozen=True, slots=True)
class MoveView:
    """One move: friction by a factor, or a constrained step at a time over three spans."""

    note: str
    friction: str = ""
    time: str = ""
    before: str = ""
    drift: str = ""
    after: str = ""
    projected: bool = True


@dataclass(frozen=True, slots=True)
class ConstrainedView:
    """A splitting with constrained steps.

    Attributes:
        count: of the constraints.
        keeps: whether forces do not depend on t, so that a step begins with those of the last.
    """

    template: str
    moves: tuple[MoveView, ...]
    count: int
    keeps: bool


def constrained_view(
    integrator: Integrator, step: ConstrainedFlows, need: Requirements
) -> ConstrainedView:
    """The view of a splitting with constrained steps.

    Args:
        integrator: the problem with the splitting.
        step: the splitting.
        need: notes what the texts use.

    Returns:
        The view.
    """
    problem = integrator.problem
    assert problem.constraints is not None
    need("compensation.added")
    views = []
    for k, move in enumerate(step.moves, start=1):
        if isinstance(move, ConstrainedMove):
            views.append(_move(move, k, need))
        elif problem.decay is not None:
            views.append(_friction(move, k, need))
    (_, force) = problem.parts
    keeps = not any("t" in names(line.expr) for line in force.field.lines)
    return ConstrainedView(
        "numba/integrators/constrained.py.jinja",
        tuple(views),
        len(problem.constraints.names),
        keeps,
    )


def _friction(move: Friction, k: int, need: Requirements) -> MoveView:
    begin, end = moment(f"T_{k}", move.start.value, need), moment(f"U_{k}", move.stop.value, need)
    return MoveView("friction", friction=f"decay({begin}, {end}, parameters)")


def _move(move: ConstrainedMove, k: int, need: Requirements) -> MoveView:
    def span(name: str, coefficient: Coefficient) -> str:
        return "h" if coefficient.value == 1 else f"{need(f'{name}_{k}')} * h"

    return MoveView(
        f"constrained kick, drift, kick over {move.drift.exact or move.drift.value} h",
        time=moment(f"T_{k}", move.time.value, need),
        before=span("P", move.before),
        drift=span("S", move.drift),
        after=span("Q", move.after),
        projected=move.projected,
    )
