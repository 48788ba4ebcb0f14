"""Objectives in torch: prediction, loss and its gradient.

In: an objective's product.  Out: a view of finished lines.  Arrays are `(samples, size)`, what is a
scalar for each sample is `(samples, 1)`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.network_product import TargetProduct, shape_table
from hamilforge.gen.emit.torch.network import FunctionView, function_view

TEMPLATE = "torch/target.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows."""

    product: TargetProduct
    functions: tuple[FunctionView, ...]
    attributes: tuple[tuple[str, str], ...]


def view(product: TargetProduct) -> View:
    """The view of an objective's torch file."""
    target, rename = product.target, product.rename
    value = function_view(
        "value", "Prediction and loss of each sample.", target.value, rename, target.kept
    )
    gradient = function_view(
        "gradient",
        "The gradient of the losses, each times its seed: by states, and by weights.",
        target.gradient,
        rename,
    )
    attributes = (
        ("STATES", shape_table(target.states)),
        ("WEIGHTS", shape_table(target.weights)),
        ("DATA", shape_table(target.data)),
        ("PARAMETERS", product.parameters),
        ("SEED", repr(target.seed.name)),
        ("READS", repr(tuple(array.name for array in target.value.inputs))),
        ("KEPT", repr(_kept(product))),
        ("BACK", repr(tuple(array.name for array in target.gradient.inputs))),
        ("GRADIENTS", repr(tuple(name for name, _ in target.gradient.results))),
    )
    return View(product, (value, gradient), attributes)


def _kept(product: TargetProduct) -> tuple[str, ...]:
    """What ``value`` returns, by name: prediction, loss, and what else is kept."""
    results = [array.name for _, array in product.target.value.results]
    rest = [array.name for array in product.target.kept if array.name not in results]
    return (*results, *rest)
