"""Objectives in numba: prediction, loss and its gradient over a block of samples.

In: an objective's product.  Out: a view of finished lines.  Arrays are `(size, samples)`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.emit.numba.arrays import ArrayWriter, FunctionView
from hamilforge.gen.emit.products.network import TargetProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import shape_table
from hamilforge.gen.program.ir import Function

TEMPLATE = "numba/networks/target.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows.

    Attributes:
        inputs: the arguments of the kernel, in order: states, weights, data, parameters, seed.
        buffers: what it fills.
        calls: of ``value`` and ``gradient``.
        tables: of names and shapes.
    """

    product: TargetProduct
    imports: tuple[tuple[str, str, str], ...]
    functions: tuple[FunctionView, ...]
    inputs: tuple[str, ...]
    buffers: tuple[str, ...]
    calls: tuple[str, ...]
    numbers: tuple[str, ...]
    tables: tuple[tuple[str, str], ...]


def view(product: TargetProduct) -> View:
    """The view of an objective's numba file."""
    target, objective = product.target, product.objective
    need = Requirements()
    writer = ArrayWriter(need)
    buffers: dict[str, Array] = {}
    calls, views = [], []
    for name, function in (("value", target.value), ("gradient", target.gradient)):
        before = {*writer.partial}
        doc = "Prediction and loss." if name == "value" else "The gradient, by states and weights."
        views.append(writer.function(name, doc, function))
        partial = {key: value for key, value in writer.partial.items() if key not in before}
        fresh = {array.name: array for array in writer.targets(function)}
        buffers |= {**fresh, **partial}
        scalars = [array.name for array in writer.returned(function)]
        call = f"{name}({', '.join(views[-1].arguments)})"
        calls.append(f"{', '.join(scalars)} = {call}" if scalars else call)
    arrays = [*target.states, *target.weights, *target.data]
    inputs = [array.name for array in arrays]
    inputs += [parameter.name for parameter in target.parameters]
    inputs.append(target.seed.name)
    ends = {key: array.name for key, array in target.value.results}
    gradients = {target.declared[key]: array.name for key, array in target.gradient.results}
    tables = (
        ("STATES", shape_table(objective.states)),
        ("WEIGHTS", shape_table(objective.weights)),
        ("DATA", shape_table(objective.data)),
        ("PARAMETERS", product.parameters),
        ("BUFFERS", _table(buffers)),
        ("RESULTS", repr(ends)),
        ("GRADIENTS", repr(gradients)),
    )
    return View(
        product=product,
        imports=need.modules(),
        functions=(*(writer.loops[name] for name in sorted(writer.loops)), *views),
        inputs=tuple(inputs),
        buffers=tuple(buffers),
        calls=tuple(calls),
        numbers=_numbers(target.gradient, writer),
        tables=tables,
    )


def _numbers(function: Function, writer: ArrayWriter) -> tuple[str, ...]:
    """Gradients by weights that are numbers."""
    return tuple(a.name for _, a in function.results if a.is_scalar)


def _table(arrays: dict[str, Array]) -> str:
    entries = ", ".join(
        f'"{name}": ({array.shape!r}, {array.batched})' for name, array in arrays.items()
    )
    return f"{{{entries}}}"
