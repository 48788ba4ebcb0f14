"""Discrete gradients in numba: where a function is evaluated, and what follows from that.

In: a discrete gradient's product.  Out: a view of finished lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hamilforge.gen.emit.products.descent import DescentProduct

TEMPLATE = "numba/optimizers/descent.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows.

    Attributes:
        samples: what ``mean_gradient`` is computed of: ``gradients``, ``values`` or, where a
            direction is drawn, what J grows by alone.
        implicit: whether all of v stands in one equation.
        directions: of increments.
        points: expressions for where gradients are taken.
        mean: an expression for their mean.
    """

    product: DescentProduct
    samples: str
    implicit: bool
    directions: tuple[int, ...]
    points: tuple[str, ...]
    mean: str


def view(product: DescentProduct) -> View:
    """The view of a discrete gradient's numba file."""
    gradient = product.gradient
    samples = "gradients" if gradient.nodes else "increase" if product.drawn else "values"
    points = (f"u + {node.value!r} * difference" for node in gradient.nodes)
    mean = " + ".join(_terms(product))
    implicit = bool(gradient.nodes) or len(gradient.directions) > 1
    return View(product, samples, implicit, gradient.directions, tuple(points), mean)


def _terms(product: DescentProduct) -> Iterator[str]:
    for number, weight in enumerate(product.gradient.weights):
        factor = "" if weight.value == 1.0 else f"{weight.value!r} * "
        yield f"{factor}gradients[{number}]"
