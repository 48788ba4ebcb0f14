"""A manifold as a product: the text that its generated files share.

In: a manifold, proved, with its maps.  Out: header, docstring, and tables of names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from hamilforge.gen.declare import kinds
from hamilforge.gen.emit.text import alone_header, class_name, escaped, wrapped
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.optimizers.manifold import Geometry

#: What each map is, by the first word of its name.
DOCS = {
    "constraint": "What vanishes on the manifold.",
    "project": "V in the tangent space at X.",
    "retract": "The point to which V leads from X.",
    "inner": "The inner product of U and V at X.",
    "gradient": "The gradient at X, of a derivative G by the entries.",
    "geodesic": "The point at time 1 on the geodesic from X with velocity V.",
    "transport": "U at X carried to Y, to where V leads.",
    "condition": "What is positive, or definite.",
    "where": "What is positive, or definite, where V leads to a point.",
    "sample": "A point, from any matrix Z.",
}


def tables(
    manifold: kinds.Manifold | None, shape: kinds.Shape, is_vector: bool, retraction: str = ""
) -> dict[str, str]:
    """What generated files say of where parameters lie.

    Args:
        manifold: None for all matrices.
        shape: of a parameter, in dimensions by name.
        is_vector: whether parameters are vectors.
        retraction: by which they move, if it has not a value for every vector.

    Returns:
        Constants in Python, by name.
    """
    conditions = manifold.conditions if manifold else ()
    limited = manifold.retraction(retraction) if manifold and retraction else None
    return {
        "MANIFOLD": repr(manifold.head.name if manifold else ""),
        "SHAPE": repr(shape),
        "VECTORS": repr(is_vector),
        "CONSTRAINT": repr(manifold.constraint.text if manifold else ""),
        "CONDITIONS": repr({condition.name: condition.value.text for condition in conditions}),
        "REACH": repr(limited.limit if limited else ""),
        "REACH_DEFINITE": repr(bool(limited and limited.definite)),
        "DEFINITE": repr(tuple(condition.name for condition in conditions if condition.definite)),
    }


@dataclass(frozen=True)
class ManifoldProduct:
    """What the templates of all backends read of a manifold."""

    geometry: Geometry
    manifold: kinds.Manifold
    template: str = ""
    kind: ClassVar[str] = "manifold"

    @property
    def name(self) -> str:
        """``<manifold>__manifold``."""
        return f"{self.geometry.name}__manifold"

    @property
    def class_name(self) -> str:
        """The name of the module's class."""
        return class_name(self.name)

    @property
    def functions(self) -> Mapping[str, Function]:
        """The maps, by name."""
        return self.geometry.functions

    @cached_property
    def header(self) -> str:
        """Where the file comes from."""
        return alone_header(self.manifold, self.template)

    @cached_property
    def docstring(self) -> str:
        """Title, constraint, projection, retractions, metrics, reference."""
        manifold = self.manifold
        lines = [*wrapped(f"{escaped(manifold.head.title)}."), ""]
        lines.append(f"    {escaped(manifold.constraint.text)} = 0")
        lines.append(f"    project: {escaped(manifold.project.text)}")
        told = [(retraction.name, retraction.value) for retraction in manifold.retractions]
        for name, value in (*told, *manifold.shorthands):
            lines.append(f"    {name} = {escaped(value.text)}")
        for metric in manifold.metrics:
            lines.append(f"    {metric.name}: <U, V> = {escaped(metric.inner.text)}")
        lines += ["", *wrapped(f"Reference: {escaped(manifold.head.reference)}")]
        return '"""' + "\n".join(lines) + '\n"""'

    @cached_property
    def tables(self) -> tuple[tuple[str, str], ...]:
        """What both backends say of shapes and names."""
        manifold = self.manifold
        own = {
            "METRICS": repr(tuple(metric.name for metric in manifold.metrics)),
            "GEODESICS": repr(tuple(m.name for m in manifold.metrics if m.geodesic is not None)),
            "LIMITS": repr(
                {own.name: (own.limit, own.definite) for own in manifold.retractions if own.limit}
            ),
            "TRANSPORTS": repr(tuple(name for name, _ in manifold.transports)),
            "RETRACTIONS": repr(tuple(own.name for own in manifold.retractions)),
        }
        shared = tables(manifold, manifold.shape, manifold.is_vector)
        return (*(shared | own).items(),)
