"""Flows in torch: the problem's functions on tensors, and the method as tables.

In: an integrator product.  Out: a view of names and texts.  Functions take the components as a
tuple of tensors, so that they are read like the formulas; the loop over stages, its adjoint and the
solves are in the runtime, and read the tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.integrator_product import (
    IntegratorProduct,
    spelling_of,
    tuple_text,
    unpacked,
)
from hamilforge.gen.emit.torch.lattices import lattice_lines
from hamilforge.gen.emit.torch.optimizer import Imports, TensorPrinter
from hamilforge.gen.program.integrator import (
    START,
    STOP,
    Band,
    DiscreteGradient,
    Flows,
    Matrix,
    Problem,
    Row,
    Stages,
    Value,
)
from hamilforge.gen.program.ir import Expr, Function, names

TEMPLATE = "torch/integrator.py.jinja"


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function of the problem."""

    name: str
    arguments: str
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


def view(product: IntegratorProduct) -> View:
    """The view of a product's torch file."""
    problem, step = product.integrator.problem, product.integrator.step
    functions = []
    for part in problem.parts:
        doc = "The right-hand sides."
        functions.append(_function(problem, part.field, doc))
        doc = "w' df/d(state, parameters)."
        functions.append(_function(problem, part.product, doc, ", w", first=part.start))
    attributes = [
        ("PARTS", tuple_text(f"({part.start}, {part.stop})" for part in problem.parts)),
        ("FIELDS", tuple_text(part.field.name for part in problem.parts)),
        ("PRODUCTS", tuple_text(part.product.name for part in problem.parts)),
    ]
    if problem.energy:
        functions.append(_function(problem, problem.energy.value, "H.", single=True))
        attributes.append(("ENERGY", "energy"))
    if problem.decay is not None:
        functions.append(_span(problem, "decay", problem.decay))
        attributes.append(("DECAY", "decay"))
    match step:
        case Stages():
            module, kind = "torch_stages", "Stages"
            attributes += _stages(step)
            if any(block.implicit for block in step.blocks):
                assert problem.jacobian is not None
                functions.append(_matrix(problem, problem.jacobian, "df/dy"))
                attributes += _places("JACOBIAN", problem.jacobian)
        case Flows():
            module, kind = "torch_splitting", "Flows"
            if step.impulse is not None:
                functions.append(_span(problem, "impulse", step.impulse))
                attributes.append(("IMPULSE", "impulse"))
            rows = (
                f'("{one.letter}", {one.weight.value!r}, {one.start.value!r}, {one.stop.value!r})'
                for one in step.flows
            )
            attributes.append(("FLOWS", tuple_text(rows)))
        case DiscreteGradient():
            module, kind = "torch_discrete_gradient", "DiscreteGradient"
            assert problem.energy is not None
            assert problem.structure is not None
            functions.append(_function(problem, problem.energy.gradient, "The gradient of H."))
            functions.append(_matrix(problem, problem.structure, "S"))
            attributes += [
                ("GRADIENT", "gradient"),
                *_places("STRUCTURE", problem.structure),
                ("NODES", _row(step.nodes)),
                ("WEIGHTS", _row(step.weights)),
                ("DIRECTIONS", repr(step.directions)),
            ]
            if problem.rate is not None:
                functions.append(_rate(problem, problem.rate))
                attributes.append(("FRICTION", "friction"))
    imports = Imports.of(repr(functions))
    return View(product, tuple(functions), module, kind, tuple(attributes), imports)


def _function(
    problem: Problem,
    function: Function,
    doc: str,
    more: str = "",
    single: bool = False,
    first: int = 0,
) -> FunctionView:
    arguments = f"t, state, parameters{more}"
    if problem.lattice:
        finished = lattice_lines(problem, function, arguments, first, single)
        return FunctionView(function.name, arguments, doc, finished)
    results = {array for _, array in function.results}
    inner = [line for line in function.lines if line.target not in results]
    values = [line.expr for line in function.lines]
    spelling = spelling_of(problem, TensorPrinter, arguments, values, (x.name for x in inner))
    printer = TensorPrinter(spelling)
    used = {name for line in function.lines for name in names(line.expr)}
    weights = [name for name in function.scalars if name.startswith("w__")]
    lines = unpacked(problem, used.difference(weights), spelling)
    if more:
        lines.append(", ".join(weights) + (", = w" if len(weights) == 1 else " = w"))
    lines += [f"{spelling.get(x.name, x.name)} = {printer(x.expr)}" for x in inner]
    texts = [printer(line.expr) for line in function.lines if line.target in results]
    lines.append(f"return {texts[0]}" if single else f"return {tuple_text(texts)}")
    return FunctionView(function.name, arguments, doc, tuple(lines))


def _matrix(problem: Problem, matrix: Matrix, doc: str) -> FunctionView:
    return _function(problem, matrix.function, f"{doc}, entry by entry where it is not zero.")


def _span(problem: Problem, name: str, value: Expr) -> FunctionView:
    doc = "exp(-int gamma) over a time span." if name == "decay" else "What a kick adds up to."
    arguments = "start, stop, parameters"
    return FunctionView(name, arguments, doc, _one_line(problem, value, arguments))


def _rate(problem: Problem, value: Expr) -> FunctionView:
    lines = _one_line(problem, value, "t, parameters")
    return FunctionView("friction", "t, parameters", "gamma.", lines)


def _one_line(problem: Problem, value: Expr, arguments: str) -> tuple[str, ...]:
    """The lines of a function of times and parameters."""
    spelling = spelling_of(problem, TensorPrinter, arguments, [value])
    text = TensorPrinter(spelling | {START: "start", STOP: "stop"})(value)
    return (*unpacked(problem, names(value), spelling), f"return {text}")


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
    return repr(tuple(entry.value for entry in row))
