"""torch: the maps of a manifold, as functions of stacked matrices.

In: a manifold's product.  Out: a view of finished lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.products.manifold import DOCS, ManifoldProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.arrays import FunctionView
from hamilforge.gen.emit.torch.matrices import matrix_view
from hamilforge.gen.emit.torch.printer import Imports

TEMPLATE = "torch/optimizers/manifold.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows."""

    product: ManifoldProduct
    functions: tuple[FunctionView, ...]
    imports: Imports
    uses_matrices: bool


def view(product: ManifoldProduct) -> View:
    """The view of a manifold's torch file."""
    need = Requirements()
    functions = tuple(
        matrix_view(name, DOCS[name.partition("_")[0]], function, need)
        for name, function in product.functions.items()
    )
    return View(product, functions, Imports.of(need), "torch_matrices" in need)
