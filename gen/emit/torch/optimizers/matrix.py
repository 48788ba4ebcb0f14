"""torch: optimizers of matrices: a step of stacked matrices, and lists of parameters through it.

In: a derivation and its report.  Out: a view of names and texts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hamilforge.gen.declare.matrix_functions import ALONG
from hamilforge.gen.emit.products.manifold import DOCS
from hamilforge.gen.emit.products.matrix import MatrixProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.arrays import FunctionView
from hamilforge.gen.emit.torch.combined import combined_view
from hamilforge.gen.emit.torch.matrices import matrix_view
from hamilforge.gen.emit.torch.optimizers.optimizer import ArgumentView, arguments_of, preparations
from hamilforge.gen.emit.torch.optimizers.optimizer import FunctionView as ListsView
from hamilforge.gen.emit.torch.printer import Imports

TEMPLATE = "torch/optimizers/matrix.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows.

    Attributes:
        prepared: sign and decay of gradients, over lists, in both forms.
        functions: a step of stacked matrices; what is asked of a parameter.
        columns: for each array that the step takes, whether it is a column where parameters are
            vectors.
    """

    product: MatrixProduct
    prepared: tuple[ListsView, ...]
    functions: tuple[FunctionView, ...]
    arguments: tuple[ArgumentView, ...]
    example: str
    imports: Imports
    uses_matrices: bool
    columns: tuple[bool, ...]


def view(product: MatrixProduct) -> View:
    """The view of a product's torch file."""
    need = Requirements()
    prepared = preparations(need)
    functions = []
    of = (("matrix_step", "matrices"), ("vector_step", "vectors as columns"))
    for function, (name, what) in zip(product.matrices.steps, of, strict=False):
        ends = {key: array.name for key, array in function.results}
        doc = f"A step of {what} (..., {', '.join(function.inputs[0].shape)})."
        returned = [ends.get(name, name) for name in function.arrays[:-1]]
        step = matrix_view(name, doc, function, need)
        plain = "The same, of tensors without a graph, in fewer passes and fewer new arrays."
        functions += [
            replace(step, returns=f"{', '.join(returned)},"),
            combined_view(f"{name}_", plain, function, need, returned),
        ]
    if product.program.shifted:
        doc = "The solution, of points (...) and states."
        solved = matrix_view("matrix_solution", doc, product.program.solution, need)
        functions.append(replace(solved, returns=f"{solved.returns},"))
    if product.matrices.reach is not None:
        doc = "What is positive, or positive definite, where a step is not too long."
        reach = matrix_view("matrix_reach", doc, product.matrices.reach, need)
        functions.append(replace(reach, returns=f"{reach.returns},"))
    squared = product.matrices.squared
    if squared is not None and product.report.finding("order").value == 1:
        doc = "The square of the gradient's norm: a step is one of the gradient flow."
        functions.append(matrix_view("squared_gradient", doc, squared, need))
    last = product.matrices.steps[-1]  # that of vectors, if there is one
    checks = tuple(
        matrix_view(name, DOCS[name.partition("_")[0]], check, need)
        for name, check in product.matrices.checks.items()
    )
    if product.uses_math:
        need("math")
    arguments, example = arguments_of(product)
    return View(
        product,
        prepared,
        (*functions, *checks),
        arguments,
        example,
        Imports.of(need),
        "torch_matrices" in need,
        tuple(last.types[name].shape[-1] == ALONG for name in last.arrays),
    )
