"""numba: optimizers of matrices: a step of one matrix, and all matrices through it in parallel.

In: a derivation and its report.  Out: a view of names and texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.matrix_functions import ALONG, dimensions
from hamilforge.gen.emit.numba.arrays import FunctionView
from hamilforge.gen.emit.numba.matrices import MatrixWriter, size_name
from hamilforge.gen.emit.products.matrix import MatrixProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.optimizers.preparation import prepared_matrices

TEMPLATE = "numba/optimizers/matrix.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows.

    Attributes:
        functions: elementwise loops and sums, then the step of one matrix, that of a vector.
        drivers: what calls the step of a matrix, and that of a vector.
        scalars: how many a row has.
        dimensions: the names of their sizes.
        rooms: how many numbers a matrix, and a vector, needs beside itself, in these names.
    """

    product: MatrixProduct
    imports: tuple[tuple[str, str, str], ...]
    functions: tuple[FunctionView, ...]
    drivers: tuple[DriverView, ...]
    scalars: int
    dimensions: tuple[str, ...]
    rooms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArrayView:
    """An array of a step.

    Attributes:
        place: its row of addresses.
        rows: how many it has, as an expression in those of an item.
        columns: the same.
    """

    name: str
    place: int
    rows: str
    columns: str


@dataclass(frozen=True, slots=True)
class DriverView:
    """What calls a step: its name and its arrays."""

    step: str
    arrays: tuple[ArrayView, ...]


def view(product: MatrixProduct) -> View:
    """The view of a product's numba file."""
    need = Requirements()
    writer = MatrixWriter(need)
    optimizer = product.matrices.optimizer
    steps, drivers, rooms = [], [], []
    for own, what in zip(product.matrices.steps, ("matrix", "vector"), strict=False):
        function = prepared_matrices(own, optimizer.shrinks)
        owned = (*product.program.states, own.arrays[0])
        writer.mark = "vector_" if what == "vector" else ""
        steps.append(writer.function(f"{what}_step", f"A step of one {what}.", function, owned))
        rooms.append(" + ".join(writer.room) or "0")
        drivers.append(DriverView(f"{what}_step", _arrays(function, optimizer.shape)))
    loops = (writer.loops[name] for name in sorted(writer.loops))
    return View(
        product,
        need.modules(),
        (*loops, *steps),
        tuple(drivers),
        len(function.scalars),
        tuple(map(size_name, dimensions(optimizer.shape))),
        tuple(rooms),
    )


def _arrays(function: Function, shape: Shape) -> tuple[ArrayView, ...]:
    """The arrays of a step; their sizes are those of an item."""
    sizes = dict(zip(shape, ("rows", "columns"), strict=True)) | {ALONG: "1"}
    return tuple(
        ArrayView(name, place, *(sizes[axis] for axis in function.types[name].shape))
        for place, name in enumerate(function.arrays)
    )
