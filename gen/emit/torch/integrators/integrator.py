"""Flows in torch: the problem's functions on tensors, and the method as tables.

In: an integrator product.  Out: a view of names and texts.  Functions take the components as a
tuple of tensors, so that they are read like the formulas; the loop over stages, its adjoint and the
solves are in the runtime, and read the tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.products.integrator import IntegratorProduct, spelling_of, unpacked
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import tuple_text
from hamilforge.gen.emit.torch.integrators.lattices import lattice_lines
from hamilforge.gen.emit.torch.printer import Imports, TensorPrinter
from hamilforge.gen.program.integrators.integrator import (
    ROUNDINGS,
    START,
    STOP,
    Band,
    ConstrainedFlows,
    ConstrainedMove,
    DiscreteGradient,
    Flows,
    Friction,
    Matrix,
    Problem,
    TaylorSteps,
)
from hamilforge.gen.program.ir import Expr, Function, names
from hamilforge.gen.program.stages import Row, Stages, Value

TEMPLATE = "torch/integrators/integrator.py.jinja"


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function of the problem."""

    name: str
    arguments: tuple[str, ...]
    doc: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows."""

    product: IntegratorProduct
    functions: tuple[FunctionView, ...]
    module: str
    kind: str
    attributes: tuple[tuple[str, str], ...]
    imports: Imports


def view(product: IntegratorProduct) -> View | None:
    """The view of a product's torch file; None where Taylor coefficients are too many for lines."""
    problem, step = product.integrator.problem, product.integrator.step
    if isinstance(step, TaylorSteps) and step.looped:
        return None
    need = Requirements()
    writer = _Writer(problem, need)
    functions = []
    for part in problem.parts:
        doc = "The right-hand sides."
        functions.append(writer.function(part.field, doc))
        if part.product is not None:
            doc = "w' df/d(state, parameters)."
            functions.append(writer.function(part.product, doc, ("w",), first=part.start))
    attributes = [
        ("PARTS", tuple_text(f"({part.start}, {part.stop})" for part in problem.parts)),
        ("FIELDS", tuple_text(part.field.name for part in problem.parts)),
    ]
    products = [part.product.name for part in problem.parts if part.product is not None]
    if products:
        attributes.append(("PRODUCTS", tuple_text(products)))
    if problem.energy:
        functions.append(writer.function(problem.energy.value, "H.", single=True))
        attributes.append(("ENERGY", "energy"))
    if problem.decay is not None:
        functions.append(writer.span("decay", problem.decay))
        attributes.append(("DECAY", "decay"))
    match step:
        case Stages():
            module, kind = "torch_stages", "Stages"
            attributes += _stages(step)
            if any(block.implicit for block in step.blocks):
                assert problem.jacobian is not None
                functions.append(writer.matrix(problem.jacobian, "df/dy"))
                attributes += _places("JACOBIAN", problem.jacobian)
        case Flows():
            module, kind = "torch_splitting", "Flows"
            if step.impulse is not None:
                functions.append(writer.span("impulse", step.impulse))
                attributes.append(("IMPULSE", "impulse"))
            rows = (
                f'("{flow.letter}", {flow.weight.value!r}, '
                f"{flow.start.value!r}, {flow.stop.value!r})"
                for flow in step.flows
            )
            attributes.append(("FLOWS", tuple_text(rows)))
        case ConstrainedFlows():
            module, kind = "torch_constrained", "ConstrainedFlows"
            own = problem.constraints
            assert own is not None
            functions.append(writer.function(own.value, "What the constraints say to vanish."))
            functions.append(writer.matrix(own.slopes, "G = dg/dq"))
            functions.append(writer.matrix(own.mass, "d^2K/dp^2"))
            attributes += [
                ("CONSTRAINTS", repr(own.names)),
                ("VALUE", "constraints"),
                *_places("SLOPES", own.slopes),
                *_places("MASS", own.mass),
                ("MOVES", tuple_text(_move(move) for move in step.moves)),
            ]
        case DiscreteGradient():
            module, kind = "torch_discrete_gradient", "DiscreteGradient"
            assert problem.energy is not None
            assert problem.structure is not None
            doc = "The sum of the sizes of H's terms."
            functions.append(writer.function(problem.energy.size, doc, single=True))
            functions.append(writer.function(problem.energy.gradient, "The gradient of H."))
            functions.append(writer.matrix(problem.structure, "S"))
            attributes += [
                ("ENERGY_SIZE", problem.energy.size.name),
                ("ROUNDINGS", repr(ROUNDINGS)),
                ("GRADIENT", "gradient"),
                *_places("STRUCTURE", problem.structure),
                ("NODES", _row(step.nodes)),
                ("WEIGHTS", _row(step.weights)),
                ("DIRECTIONS", repr(step.directions)),
            ]
            if problem.rate is not None:
                functions.append(writer.rate(problem.rate))
                attributes.append(("FRICTION", "friction"))
        case TaylorSteps():
            module, kind = "torch_taylor", "TaylorSteps"
            doc = "The Taylor coefficients of the solution through a state, the first power first."
            functions.append(writer.function(step.coefficients, doc))
            attributes += [("ORDER", str(step.order)), ("COEFFICIENTS", "coefficients")]
    imports = Imports.of(need)
    return View(product, tuple(functions), module, kind, tuple(attributes), imports)


class _Writer:
    """The functions of a problem."""

    def __init__(self, problem: Problem, need: Requirements) -> None:
        self._problem, self._need = problem, need

    def function(
        self,
        function: Function,
        doc: str,
        more: tuple[str, ...] = (),
        single: bool = False,
        first: int = 0,
    ) -> FunctionView:
        """A function of a state.

        Args:
            function: what is written.
            doc: its docstring.
            more: what it is given beside time, state and parameters.
            single: whether its one result is returned by itself.
            first: of a lattice, where the entries begin that weights belong to.

        Returns:
            The view.
        """
        arguments = ("t", "state", "parameters", *more)
        if self._problem.lattice:
            finished = lattice_lines(self._problem, function, arguments, self._need, first, single)
            return FunctionView(function.name, arguments, doc, finished)
        results = {array for _, array in function.results}
        used = {name for line in function.lines for name in names(line.expr)}
        inner = [line for line in function.lines if line.target not in results or line.name in used]
        values = [line.expr for line in function.lines]
        targets = (line.name for line in inner)
        spelling = spelling_of(self._problem, TensorPrinter, arguments, values, targets)
        printer = TensorPrinter(spelling, self._need)
        weights = [name for name in function.scalars if name.startswith("w__")]
        lines = unpacked(self._problem, used.difference(weights), spelling)
        if more:
            lines.append(", ".join(weights) + (", = w" if len(weights) == 1 else " = w"))
        lines += [f"{printer.variable(line.name)} = {printer(line.expr)}" for line in inner]
        texts = [
            printer.variable(line.name) if line.name in used else printer(line.expr)
            for line in function.lines
            if line.target in results
        ]
        lines.append(f"return {texts[0]}" if single else f"return {tuple_text(texts)}")
        return FunctionView(function.name, arguments, doc, tuple(lines))

    def matrix(self, matrix: Matrix, doc: str) -> FunctionView:
        """The entries of a matrix."""
        return self.function(matrix.function, f"{doc}, entry by entry where it is not zero.")

    def span(self, name: str, value: Expr) -> FunctionView:
        """A function of a time span."""
        doc = "exp(-int gamma) over a time span." if name == "decay" else "What a kick adds up to."
        return self._one_line(name, doc, value, ("start", "stop", "parameters"))

    def rate(self, value: Expr) -> FunctionView:
        """The friction at a time."""
        return self._one_line("friction", "gamma.", value, ("t", "parameters"))

    def _one_line(
        self, name: str, doc: str, value: Expr, arguments: tuple[str, ...]
    ) -> FunctionView:
        """A function of times and parameters."""
        spelling = spelling_of(self._problem, TensorPrinter, arguments, [value])
        text = TensorPrinter(spelling | {START: "start", STOP: "stop"}, self._need)(value)
        lines = (*unpacked(self._problem, names(value), spelling), f"return {text}")
        return FunctionView(name, arguments, doc, lines)


def _move(move: Friction | ConstrainedMove) -> str:
    if isinstance(move, Friction):
        return repr((move.start.value, move.stop.value))
    spans = (move.time, move.before, move.drift, move.after)
    return repr((*(span.value for span in spans), move.projected))


def _places(name: str, matrix: Matrix) -> list[tuple[str, str]]:
    places = tuple(
        (place.row, place.column, place.offset) if isinstance(place, Band) else place
        for place in matrix.places
    )
    return [(name, matrix.function.name), (f"{name}_PLACES", repr(places))]


def _stages(step: Stages) -> list[tuple[str, str]]:
    blocks = []
    for block in step.blocks:
        nodes = tuple_text(
            f'("{"value" if isinstance(node, Value) else "increment"}", {node.stage}, {node.part})'
            for node in block.nodes
        )
        blocks.append(f"({block.implicit}, {nodes})")
    return [
        ("COUNT", str(step.count)),
        ("ALPHA", tuple_text(tuple_text(map(_row, table)) for table in step.alpha)),
        ("SCALE", tuple_text(map(_row, step.scale))),
        ("WEIGHTS", tuple_text(map(_row, step.weights))),
        ("NODES", tuple_text(map(_row, step.nodes))),
        ("CLOCK", _row(step.clock)),
        ("BLOCKS", tuple_text(blocks)),
    ]


def _row(row: Row) -> str:
    return repr(tuple(coefficient.value for coefficient in row))
