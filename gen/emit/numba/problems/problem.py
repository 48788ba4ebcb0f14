"""Minimization problems in numba: what is computed once, the loss, and loss with gradient.

In: a problem's product.  Out: a view of finished lines, and for each function what it reads, which
buffers it fills, what it returns and which of that are its results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hamilforge.gen.emit.numba.arrays import ArrayWriter, FunctionView
from hamilforge.gen.emit.products.problem import DOCS, ProblemProduct
from hamilforge.gen.emit.requirements import Requirements

TEMPLATE = "numba/problems/problem.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows.

    Attributes:
        functions: elementwise loops, then the three functions.
        tables: of names, shapes and what is drawn.
        calls: for each function its inputs, buffers with shapes, and results, as tables.
    """

    product: ProblemProduct
    imports: tuple[tuple[str, str, str], ...]
    functions: tuple[FunctionView, ...]
    tables: tuple[tuple[str, str], ...]
    calls: tuple[tuple[str, str], ...]


def view(product: ProblemProduct) -> View:
    """The view of a problem's numba file."""
    need = Requirements()
    often = ArrayWriter(need)
    once = ArrayWriter(need, "data___")  # no declared name has three underscores in a row
    views, calls = [], []
    for name, doc in DOCS.items():
        function = getattr(product.landscape, name)
        writer = once if name == "prepare" else often
        views.append(replace(writer.function(name, doc, function), options="**ENTRY"))
        results = zip(product.declared(function), function.results, strict=True)
        table = {
            "reads": tuple(array.name for array in function.inputs),
            "buffers": {array.name: array.shape for array in writer.targets(function)},
            "returns": tuple(array.name for array in writer.returned(function)),
            "results": {key: array.name for key, (_, array) in results},
        }
        calls.append((name, repr(table)))
    written = once.loops | often.loops
    loops = (written[name] for name in sorted(written))
    return View(product, need.modules(), (*loops, *views), product.tables, tuple(calls))
