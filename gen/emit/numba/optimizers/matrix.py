"""numba: optimizers of matrices: a step of one matrix, and all matrices through it in parallel.

In: a derivation and its report.  Out: a view of names and texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.declare.matrix_functions import dimensions
from hamilforge.gen.emit.numba.arrays import FunctionView
from hamilforge.gen.emit.numba.matrices import MatrixWriter, size_name
from hamilforge.gen.emit.products.matrix import MatrixProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.optimizers.preparation import prepared_matrices

TEMPLATE = "numba/optimizers/matrix.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows.

    Attributes:
        functions: elementwise loops and sums, then the step of one matrix.
        arrays: point, state and gradient, each with its row of addresses.
        scalars: with their places in a row.
        dimensions: the names of their sizes.
        room: how many numbers a matrix needs beside itself, in these names.
    """

    product: MatrixProduct
    imports: tuple[tuple[str, str, str], ...]
    functions: tuple[FunctionView, ...]
    arrays: tuple[tuple[str, int], ...]
    scalars: tuple[tuple[str, int], ...]
    dimensions: tuple[str, ...]
    room: str


def view(product: MatrixProduct) -> View:
    """The view of a product's numba file."""
    need = Requirements()
    writer = MatrixWriter(need)
    (own,) = product.program.functions
    function = prepared_matrices(own, not product.matrices.optimizer.manifold)
    owned = (*product.program.states, own.arrays[0])
    step = writer.function("matrix_step", "A step of one matrix.", function, owned)
    loops = (writer.loops[name] for name in sorted(writer.loops))
    return View(
        product,
        need.modules(),
        (*loops, step),
        tuple((name, place) for place, name in enumerate(function.arrays)),
        tuple((name, place) for place, name in enumerate(function.scalars)),
        tuple(map(size_name, dimensions(product.matrices.optimizer.shape))),
        " + ".join(writer.room) or "0",
    )
