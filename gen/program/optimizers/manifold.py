"""A declared manifold becomes functions.

In: a declaration.  Out: a :class:`Geometry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive.optimizers.manifold import maps
from hamilforge.gen.program.cut import lower_line
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.spelling import spelling


@dataclass(frozen=True, slots=True)
class Geometry:
    """The maps of a manifold.

    Attributes:
        functions: by name, each with one result, ``value``.
    """

    name: str
    functions: Mapping[str, Function]


@remembered
def build_manifold(manifold: kinds.Manifold) -> Geometry:
    """The functions of a manifold."""
    spelled = spelling(name for name, _ in manifold.shorthands)
    functions = {}
    for name, part in maps(manifold, spelled):
        arrays = part.lines.arrays
        functions[name] = Function(
            name,
            tuple(arrays[letter] for letter in part.reads),
            tuple(map(lower_line, part.lines.lines)),
            (("value", arrays[part.value]),),
        )
    return Geometry(manifold.head.name, functions)
