"""The functions of a problem as numba prints them: scalars in, entries of arrays out.

In: a problem and the step that will call them.  Out: views with finished lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.declare.read_problems import RATE
from hamilforge.gen.emit.numba.integrators.lattices import SiteWriter, site
from hamilforge.gen.emit.numba.printer import NumbaPrinter, WholePrinter
from hamilforge.gen.emit.products.integrator import spelling_of, unpacked
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.integrators.integrator import (
    START,
    STOP,
    Band,
    DiscreteGradient,
    Flows,
    Integrator,
    Matrix,
    Part,
    TaylorSteps,
)
from hamilforge.gen.program.ir import Expr, Function, Ref, names
from hamilforge.gen.program.lower import mul
from hamilforge.gen.program.stages import Stages

#: What right-hand sides are multiplied by; no declared name has two underscores in a row.
FACTOR = "factor__"


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function of the problem: its arguments and its lines."""

    name: str
    arguments: tuple[str, ...]
    doc: str
    lines: tuple[str, ...]
    plain: bool = False

    @property
    def decorator(self) -> str:
        """How it is compiled; not at all where it is called once a run, from Python."""
        if self.plain:
            return ""
        inner = self.name in ("jacobian", "hessian", "structure", "structure_slope")
        return "@njit(**INNER)" if inner else "@njit(**ENTRY)"


#: What functions of the state are given.
_STATE = ("t", "state", "parameters")
_SPAN = ("start", "stop", "parameters")


def functions(integrator: Integrator, need: Requirements, watched: bool) -> list[FunctionView]:
    """All functions of the problem that the step, and users, will call.

    Args:
        integrator: the problem and its step.
        need: notes what the texts use.
        watched: whether its events can be looked for.

    Returns:
        Their views.
    """
    writer = _Functions(integrator, need)
    return [*writer.all(), *(writer.events() if watched else ())]


class _Functions:
    """The functions of a problem."""

    def __init__(self, integrator: Integrator, need: Requirements) -> None:
        self._problem, self._step, self._need = integrator.problem, integrator.step, need

    def all(self) -> list[FunctionView]:
        """Those that the step, and users, will call."""
        problem, step = self._problem, self._step
        views = []
        if not isinstance(step, DiscreteGradient):
            views += [self._field(part) for part in problem.parts]
        if isinstance(step, Stages) and any(block.implicit for block in step.blocks):
            assert problem.jacobian is not None
            views.append(self._matrix(problem.jacobian, "df/dy, where it is not zero."))
        if problem.constraints:
            own = problem.constraints
            views.append(self._list(own.value, "What the constraints say to vanish."))
            views.append(self._matrix(own.slopes, "G = dg/dq, where it is not zero."))
            views.append(self._matrix(own.mass, "d^2K/dp^2, where it is not zero."))
        if problem.energy:
            doc = "The sum of the sizes of H's terms"
            views.append(self._scalar("energy", problem.energy.value, "H."))
            views.append(self._scalar("energy_size", problem.energy.size, f"{doc}."))
            if isinstance(step, DiscreteGradient | TaylorSteps):
                value = problem.energy.value
                views.append(self._scalar("hamiltonian", value, "H, for kernels.", False))
            if isinstance(step, DiscreteGradient):
                views.append(
                    self._scalar("terms", problem.energy.size, f"{doc}, for kernels.", False)
                )
                whole = Part(
                    "gradient",
                    0,
                    problem.size,
                    problem.energy.gradient,
                    problem.energy.gradient,
                    (),
                )
                views.append(self._field(whole))
                assert problem.energy.hessian is not None
                views.append(self._matrix(problem.energy.hessian, "The Hessian of H."))
                assert problem.structure is not None
                views.append(self._matrix(problem.structure, "S, where it is not zero."))
                if problem.structure_slope:
                    doc = "The derivative of S w by y for a vector w, where it is not zero."
                    views.append(self._matrix(problem.structure_slope, doc, ("weights",)))
        held = problem.constraints.names if problem.constraints else ()
        of_held = {*held, *(f"{name}_{RATE}" for name in held)}
        for name, function in problem.invariants:
            doc = "A constraint, or its rate." if name in of_held else "An invariant."
            views.append(self._scalar(f"i_{name}", function, doc))
        if problem.decay is not None:
            views.append(self._span("decay", problem.decay, "exp(-int gamma) over a time span."))
        if problem.rate is not None and isinstance(step, DiscreteGradient):
            lines = self._one_line(problem.rate, ("t", "parameters"))
            views.append(FunctionView("friction", ("t", "parameters"), "gamma.", lines))
        if isinstance(step, Flows) and step.impulse is not None:
            doc = "The integral of the friction factor to the end of a time span."
            views.append(self._span("impulse", step.impulse, doc))
        return views

    def events(self) -> list[FunctionView]:
        """What is looked for along solutions."""
        return [
            self._scalar(f"e_{event.name}", event.value, "What an event looks at.")
            for event in self._problem.events
        ]

    def _body(
        self,
        function: Function,
        arguments: tuple[str, ...],
        factor: Expr | None = None,
        whole: bool = False,
    ) -> tuple[list[str], list[str]]:
        """The lines up to the results, and the texts of the results, times a factor.

        Args:
            function: what is written.
            arguments: of the function.
            factor: what results are multiplied by; nothing if None.
            whole: whether Python calls it with whole arrays.
        """
        results = {array for _, array in function.results}
        inner = [line for line in function.lines if line.target not in results]
        values = [line.expr for line in function.lines]
        problem, targets = self._problem, (line.name for line in inner)
        spelling = spelling_of(problem, NumbaPrinter, arguments, values, targets)
        kind = WholePrinter if whole else NumbaPrinter
        printer = kind(spelling | {FACTOR: "factor"}, self._need)
        used = {name for line in function.lines for name in names(line.expr)}
        lines = unpacked(problem, [name for name in function.scalars if name in used], spelling)
        lines += [f"{spelling.get(x.name, x.name)} = {printer(x.expr)}" for x in inner]
        values = [line.expr for line in function.lines if line.target in results]
        if factor is not None:
            values = [mul(factor, value) for value in values]
        return lines, list(map(printer, values))

    def _field(self, part: Part) -> FunctionView:
        arguments = (*_STATE, "factor", "out")
        problem = self._problem
        count = problem.lattice.count if problem.lattice else 1
        if problem.lattice:
            writer = SiteWriter(problem, part.field, arguments, self._need, "factor")
            lines = writer.loops(lambda k: f"out[{site(part.start + k * count)}]")
        else:
            lines, texts = self._body(part.field, arguments, Ref(FACTOR))
            lines += [f"out[{part.start + k}] = {text}" for k, text in enumerate(texts)]
        names = problem.components[part.start // count : part.stop // count]
        rates = ", ".join(f"{name}'" for name in names)
        doc = f"The right-hand sides {rates}, times a factor."
        if part.name == "gradient":
            doc = "The gradient of H, times a factor."
        return FunctionView(part.name, arguments, doc, tuple(lines))

    def _matrix(self, matrix: Matrix, doc: str, more: tuple[str, ...] = ()) -> FunctionView:
        arguments = (*_STATE, *more, "out")
        if self._problem.lattice:
            writer = SiteWriter(self._problem, matrix.function, arguments, self._need)
            bands = [band for band in matrix.places if isinstance(band, Band)]
            lines = writer.loops(lambda k: writer.entry(bands[k]))
        else:
            lines, texts = self._body(matrix.function, arguments)
            for place, text in zip(matrix.places, texts, strict=True):
                assert not isinstance(place, Band)
                lines.append(f"out[{place[0]}, {place[1]}] = {text}")
        return FunctionView(matrix.function.name, arguments, doc, tuple(lines) or ("pass",))

    def _list(self, function: Function, doc: str) -> FunctionView:
        arguments = (*_STATE, "out")
        lines, texts = self._body(function, arguments)
        lines += [f"out[{k}] = {text}" for k, text in enumerate(texts)]
        return FunctionView(function.name, arguments, doc, tuple(lines))

    def _scalar(self, name: str, function: Function, doc: str, plain: bool = True) -> FunctionView:
        if self._problem.lattice:
            writer = SiteWriter(self._problem, function, _STATE, self._need)
            finished = writer.whole() if plain else writer.number()
            return FunctionView(name, _STATE, doc, tuple(finished), plain)
        lines, (text,) = self._body(function, _STATE, whole=plain)
        return FunctionView(name, _STATE, doc, (*lines, f"return {text}"), plain)

    def _span(self, name: str, value: Expr, doc: str) -> FunctionView:
        return FunctionView(name, _SPAN, doc, self._one_line(value, _SPAN))

    def _one_line(self, value: Expr, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """The lines of a function of times and parameters."""
        spelling = spelling_of(self._problem, NumbaPrinter, arguments, [value])
        text = NumbaPrinter(spelling | {START: "start", STOP: "stop"}, self._need)(value)
        return (*unpacked(self._problem, names(value), spelling), f"return {text}")
