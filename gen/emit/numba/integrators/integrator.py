"""Trajectories in numba: what the templates show, as finished text.

In: an integrator product.  Out: a view of names and texts; the templates hold structure only.
A state is an array of the components; a kernel advances it in place, with the rounding errors of
its additions carried along (compensated summation).
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.digests import runtime_digest
from hamilforge.gen.emit.numba.integrators.constrained import ConstrainedView, constrained_view
from hamilforge.gen.emit.numba.integrators.events import (
    CurveView,
    EventsView,
    curve_view,
    events_view,
)
from hamilforge.gen.emit.numba.integrators.flows import FlowsView, flows_view
from hamilforge.gen.emit.numba.integrators.functions import FunctionView, functions
from hamilforge.gen.emit.numba.integrators.stages import StagesView, StagesWriter
from hamilforge.gen.emit.numba.integrators.storage import Storage, storage_of
from hamilforge.gen.emit.numba.integrators.taylor import TaylorView, taylor_view
from hamilforge.gen.emit.products.integrator import IntegratorProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import Constant, tuple_text
from hamilforge.gen.program.integrators.integrator import (
    ROUNDINGS,
    ConstrainedFlows,
    DiscreteGradient,
    Flows,
    Integrator,
    Step,
    TaylorSteps,
)
from hamilforge.gen.program.ir import Select, walk
from hamilforge.gen.program.stages import Stages

TEMPLATE = "numba/integrators/integrator.py.jinja"
#: What a trajectory in a lane has beside its state where each has steps of its own.
_CLOCK_LINES = 9


@dataclass(frozen=True, slots=True)
class GradientView:
    """A discrete gradient."""

    template: str
    nodes: str
    weights: str
    directions: str
    roundings: int


@dataclass(frozen=True, slots=True)
class StateView:
    """Lines about the state between steps.

    Attributes:
        loaded: bring it from its arrays.
        stored: bring it back.
        extent: how large it is.
        written: as a row of results.
    """

    loaded: tuple[str, ...]
    stored: tuple[str, ...]
    extent: tuple[str, ...]
    written: tuple[str, ...]


StepView = StagesView | FlowsView | ConstrainedView | GradientView | TaylorView


@dataclass(frozen=True, slots=True)
class View:
    """All that the templates show."""

    product: IntegratorProduct
    size: int
    width: int
    part_starts: str
    functions: tuple[FunctionView, ...]
    imports: tuple[tuple[str, str, str], ...]
    constants: tuple[Constant, ...]
    step: StepView
    state: StateView
    curve: CurveView | None
    events: EventsView | None
    rows: int
    unknowns: int
    damped: bool
    adaptive: str
    quantities: tuple[tuple[str, str], ...]
    fields: str
    fixed_step: str
    moving_structure: bool
    conservative: bool
    linear_digest: str
    constraints: str
    lanes: bool
    clock: int


def view(product: IntegratorProduct) -> View:
    """The view of a product's numba file."""
    integrator = product.integrator
    problem, step = integrator.problem, integrator.step
    size, need = problem.size, Requirements()
    storage = storage_of(integrator)
    kept: tuple[tuple[str, ...], ...] = ()
    solve = 0
    match step:
        case Stages():
            writer = StagesWriter(integrator, storage, need)
            shown: StepView = writer.view()
            kept = writer.kept
            implicit = [block for block in step.blocks if block.implicit]
            width = size // len(problem.parts)
            solve = max((len(block.increments) for block in implicit), default=0) * width
            rows = (4 if implicit else 2) * step.count + 2
        case Flows():
            shown = flows_view(integrator, step, storage, need)
            rows = 1
        case ConstrainedFlows():
            shown = constrained_view(integrator, step, need)
            solve = shown.count
            rows = 8
        case DiscreteGradient():
            shown = _gradient(step)
            solve = size
            rows = 8
        case TaylorSteps():
            shown = taylor_view(integrator, step, need)
            rows = 2 * step.order + 3
    curve = curve_view(integrator)
    events = events_view(problem, curve.powers, need) if curve else None
    printed = tuple(functions(integrator, need, events is not None))
    lanes = not solve and _fits_lanes(integrator)
    if lanes:
        need("lanes.in_lanes")
    return View(
        product=product,
        size=size,
        width=size // len(problem.parts),
        part_starts=repr(tuple(part.start for part in problem.parts)),
        functions=printed,
        imports=need.modules(),
        constants=tuple(constant for constant in product.constants if constant.name in need),
        step=shown,
        state=_state(problem.size, storage, kept),
        curve=curve,
        events=events,
        rows=rows,
        unknowns=solve,
        damped=problem.decay is not None,
        adaptive=_adaptive(step),
        quantities=(
            *((("energy", "energy"),) if problem.energy else ()),
            *((name, f"i_{name}") for name, _ in problem.invariants),
        ),
        fields=tuple_text(f'"{field.name}"' for field in printed if field.name in _FIELDS),
        fixed_step=_fixed_step(step),
        moving_structure=problem.structure_slope is not None,
        conservative=problem.conservative,
        linear_digest=runtime_digest("linear"),
        constraints=repr(problem.constraints.names if problem.constraints else ()),
        lanes=lanes,
        clock=_CLOCK_LINES if lanes and isinstance(step, TaylorSteps) else 0,
    )


def _fits_lanes(integrator: Integrator) -> bool:
    """Whether trajectories may go side by side: all take the same lines, whatever their numbers.

    A lattice has its sites side by side, and a large system by Taylor's method like terms.
    """
    problem, step = integrator.problem, integrator.step
    if problem.lattice or not isinstance(step, Stages | Flows | TaylorSteps):
        return False
    if isinstance(step, TaylorSteps) and step.looped:
        return False
    functions = [part.field for part in problem.parts]
    values = [problem.decay]
    match step:
        case Flows(impulse=impulse):
            values.append(impulse)
        case TaylorSteps(coefficients=coefficients):
            functions.append(coefficients)
    values += [line.expr for function in functions for line in function.lines]
    chosen = (isinstance(part, Select) for value in values if value for part in walk(value))
    return not any(chosen)


def _state(size: int, storage: Storage, kept: tuple[tuple[str, ...], ...]) -> StateView:
    arrays = [("y",), ("low",), *kept]
    return StateView(
        loaded=tuple(storage.loaded(arrays)),
        stored=tuple(storage.stored(arrays)),
        extent=tuple(
            storage.total("extent", [(0, size, lambda i: f"abs({storage.entry('y', i)})")])
        ),
        written=tuple(
            storage.each(0, size, lambda i: f"out[written, {i}] = {storage.entry('y', i)}")
        ),
    )


_FIELDS = ("field", "velocity", "force")


def _adaptive(step: Step) -> str:
    """The template of steps chosen by an error estimate; empty where there is none."""
    match step:
        case TaylorSteps():
            return "numba/integrators/adaptive_taylor.py.jinja"
        case Stages() if step.error is not None:
            return "numba/integrators/adaptive.py.jinja"
    return ""


def _fixed_step(step: Step) -> str:
    """Why a method's steps cannot be chosen by an error estimate."""
    match step:
        case Stages(error=None, symplectic=False) if len(set(step.alpha)) > 1:
            return "the halves of a pair have no common error estimate"
        case Stages(error=None, symplectic=False):
            return "the method has no embedded weights b_hat, so no error estimate"
        case Stages(error=None) | Flows() | ConstrainedFlows():
            return "a symplectic method loses what it conserves when its steps follow the state"
        case DiscreteGradient():
            return "a discrete gradient has no error estimate"
    return ""


def _gradient(step: DiscreteGradient) -> GradientView:
    return GradientView(
        "numba/integrators/discrete_gradient.py.jinja",
        repr(tuple(node.value for node in step.nodes)),
        repr(tuple(weight.value for weight in step.weights)),
        repr(step.directions),
        ROUNDINGS,
    )
