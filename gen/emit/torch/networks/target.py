"""Objectives in torch: prediction, loss and its gradient.

In: an objective's product.  Out: a view of finished lines.  Arrays are `(samples, size)`, what is a
scalar for each sample is `(samples, 1)`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.products.network import TargetProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import shape_table
from hamilforge.gen.emit.torch.arrays import FunctionView, function_view
from hamilforge.gen.emit.torch.printer import Imports

TEMPLATE = "torch/networks/target.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows."""

    product: TargetProduct
    functions: tuple[FunctionView, ...]
    imports: Imports
    attributes: tuple[tuple[str, str], ...]


def view(product: TargetProduct) -> View:
    """The view of an objective's torch file."""
    target, objective = product.target, product.objective
    need = Requirements()
    doc = "Prediction and loss of each sample."
    value = function_view("value", doc, target.value, need, target.kept)
    gradient = function_view(
        "gradient",
        "The gradient of the losses, each times its seed: by states, and by weights.",
        target.gradient,
        need,
    )
    attributes = (
        ("STATES", shape_table(objective.states)),
        ("WEIGHTS", shape_table(objective.weights)),
        ("DATA", shape_table(objective.data)),
        ("PARAMETERS", product.parameters),
        ("SPELLED", repr({raw: name for name, raw in target.declared.items() if raw != name})),
        ("SEED", repr(target.seed.name)),
        ("READS", repr(tuple(array.name for array in target.value.inputs))),
        ("KEPT", repr(_kept(product))),
        ("BACK", repr(tuple(array.name for array in target.gradient.inputs))),
        ("GRADIENTS", repr(tuple(target.declared[name] for name, _ in target.gradient.results))),
    )
    functions = (value, gradient)
    return View(product, functions, Imports.of(need), attributes)


def _kept(product: TargetProduct) -> tuple[str, ...]:
    """What ``value`` returns, by name: prediction, loss, and what else is kept."""
    results = [array.name for _, array in product.target.value.results]
    rest = [array.name for array in product.target.kept if array.name not in results]
    return (*results, *rest)
