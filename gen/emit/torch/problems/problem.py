"""Minimization problems in torch: what is computed once, the loss, and loss with gradient.

In: a problem's product.  Out: a view of finished lines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hamilforge.gen.emit.products.problem import DOCS, ProblemProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.arrays import FunctionView, function_view
from hamilforge.gen.emit.torch.printer import Imports

TEMPLATE = "torch/problems/problem.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows."""

    product: ProblemProduct
    functions: tuple[FunctionView, ...]
    imports: Imports
    attributes: tuple[tuple[str, str], ...]


def view(product: ProblemProduct) -> View:
    """The view of a problem's torch file."""
    need = Requirements()
    functions, calls = [], {}
    for name, doc in DOCS.items():
        function = getattr(product.landscape, name)
        arrays = [array for _, array in function.results]
        distinct = tuple(dict.fromkeys(arrays))
        functions.append(function_view(name, doc, replace(function, results=()), need, distinct))
        calls[name] = (
            tuple(array.name for array in function.inputs),
            {
                key: distinct.index(array)
                for key, array in zip(product.declared(function), arrays, strict=True)
            },
        )
    attributes = (*product.tables, ("CALLS", repr(calls)))
    return View(product, tuple(functions), Imports.of(need), attributes)
