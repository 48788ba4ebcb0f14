"""The regulariser of a network's controls in numba: one layer after another, in one call.

In: a network product.  Out: a view of finished lines and the tables that the runtime reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.emit.numba.arrays import ArrayWriter, FunctionView
from hamilforge.gen.emit.products.network import NetworkProduct
from hamilforge.gen.emit.requirements import Requirements


@dataclass(frozen=True, slots=True)
class View:
    """What the template shows of a regulariser.

    Attributes:
        functions: elementwise loops, then the function of a layer.
        inputs: controls, then rates of change.
        parameters: those of the field.
        buffers: what the function fills.
        call: of the function, with what it returns.
        value: which of that is the cost.
        gradients: for each input the array of its derivative, and whether that is a number; none
            where nothing depends on it.
        tables: for the runtime.
    """

    functions: tuple[FunctionView, ...]
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    call: str
    value: str
    gradients: tuple[tuple[str, str, bool], ...]
    tables: tuple[tuple[str, str], ...]


def view(product: NetworkProduct, need: Requirements) -> View | None:
    """The view of a regulariser, where one is declared; ``need`` notes what its text uses."""
    cost = product.network.regulariser
    if cost is None:
        return None
    writer = ArrayWriter(need, "cost___")  # no name of the layers has three underscores in a row
    function = writer.function("regulariser", "The cost of a layer's controls.", cost.gradient)
    targets = writer.targets(cost.gradient)
    returned = [array.name for array in writer.returned(cost.gradient)]
    own = [parameter.name for parameter in product.network.parameters]
    inputs = [array.name for array in product.cost_inputs]
    ends: dict[str, Array] = {key: array for key, array in cost.gradient.results if key != "cost"}
    return View(
        functions=(*(writer.loops[name] for name in sorted(writer.loops)), function),
        inputs=tuple(inputs),
        parameters=tuple(own),
        buffers=tuple(array.name for array in targets),
        call=f"{', '.join(returned)} = {function.name}({', '.join(function.arguments)})",
        value=dict(cost.gradient.results)["cost"].name,
        gradients=tuple(
            (name, ends[name].name, ends[name].is_scalar) for name in inputs if name in ends
        ),
        tables=(
            *product.cost_tables,
            ("COST_BUFFERS", repr({array.name: array.shape for array in targets})),
        ),
    )
