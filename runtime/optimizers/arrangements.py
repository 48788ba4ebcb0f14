"""How a parameter of a group is read as a matrix, or as points: by rows, by axes, or as it is.

In: the options ``rows``, ``matrix`` and ``manifold`` of a group, and tensors.  Out: tensors in
which points are what generated code takes, and back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from hamilforge.runtime.core.loader import FLAT

Tensor = torch.Tensor
#: The options of a group, with their defaults.
OPTIONS: dict[str, Any] = {"rows": False, "matrix": None}
#: What a group may have of its own: where its parameters lie, and how they move there.
MAPS = ("manifold", "metric", "retraction")


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How tensors become points.

    Args:
        rows: whether rows are what the rule takes for columns; where points are vectors, whether
            rows are points.
        matrix: the axes that make the rows of a matrix, and those that make its columns; None for
            a tensor that is one.
        vectors: whether points are vectors.
        column: whether all entries make one column, whatever the axes.
    """

    rows: bool
    matrix: tuple[tuple[int, ...], tuple[int, ...]] | None
    vectors: bool
    column: bool = False

    def points(self, tensor: Tensor) -> Tensor:
        """A tensor as points; maybe a view of it."""
        if self.column:
            return tensor.reshape(-1, 1)
        if self.matrix is not None:
            above, below = self.matrix
            sizes = [math.prod(tensor.shape[axis] for axis in axes) for axes in self.matrix]
            tensor = tensor.permute(*above, *below).reshape(sizes)
        return tensor.mT if self.rows and not self.vectors else tensor

    def tensor(self, points: Tensor, shape: Sequence[int]) -> Tensor:
        """The tensor of a shape that these are the points of."""
        if self.column:
            return points.reshape(shape)
        if self.rows and not self.vectors:
            points = points.mT
        if self.matrix is None:
            return points
        order = [*self.matrix[0], *self.matrix[1]]
        back = sorted(range(len(order)), key=order.__getitem__)
        return points.reshape([shape[axis] for axis in order]).permute(back)

    def __str__(self) -> str:
        if self.column:
            return "manifold=None"
        taken = [f"matrix={self.matrix}"] if self.matrix is not None else []
        return ", ".join([*taken, *["rows=True"] * self.rows])


def arrangement(group: Mapping[str, Any], product: ModuleType) -> Arrangement | None:
    """That of a group; None where tensors are taken as they are.

    Args:
        group: of parameters.
        product: the generated module.

    Raises:
        ValueError: an option has no such value, or has no meaning for the rule.
    """
    rows, matrix = (group.get(name, default) for name, default in OPTIONS.items())
    if group.get("manifold", "") is None:
        if rows or matrix is not None:
            raise ValueError(
                "manifold=None takes parameters of any axes: no rows, no matrix (a group that has "
                "them from the optimizer sets rows=False, matrix=None)"
            )
        return Arrangement(False, None, False, column=True)
    if not isinstance(rows, bool):
        raise ValueError(f"rows = {rows!r}: True or False was expected")
    if matrix is not None:
        if product.VECTORS:
            raise ValueError(
                f"matrix = {matrix!r}: points of {product.MANIFOLD} are vectors; rows=True takes "
                "those along the last axis"
            )
        matrix = _axes(matrix)
    return Arrangement(rows, matrix, product.VECTORS) if rows or matrix else None


def refuse_shape(own: Arrangement, shape: Sequence[int], name: str) -> None:
    """Refuse a parameter that has other axes.

    Args:
        own: how it is to be read.
        shape: of the parameter.
        name: what it is called.

    Raises:
        ValueError: its axes are not those that are named, or it has no rows.
    """
    if own.matrix is not None and sorted([*own.matrix[0], *own.matrix[1]]) != [*range(len(shape))]:
        raise ValueError(
            f"{name} has the shape {tuple(shape)}, and matrix={own.matrix} does not name each of "
            f"its axes 0 to {len(shape) - 1} once"
        )
    if own.rows and len(shape) < 2:
        raise ValueError(f"{name} has the shape {tuple(shape)}, and rows=True wants a matrix")


def maps(group: Mapping[str, Any]) -> dict[str, str]:
    """What a group has of its own of :data:`MAPS`; the flat manifold where it has none.

    Args:
        group: of parameters.

    Raises:
        TypeError: one is no name.
    """
    named = {key: group[key] for key in MAPS if group.get(key) is not None}
    for key, name in named.items():
        if not isinstance(name, str | Path):
            raise TypeError(f"{key} = {name!r}: a name was expected")
    if "manifold" in group and "manifold" not in named:
        named["manifold"] = FLAT
    return {key: str(name) for key, name in named.items()}


def _axes(matrix: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    try:
        above, below = (tuple(axes) for axes in matrix)
    except (TypeError, ValueError):
        above = below = ()
    whole = all(isinstance(axis, int) and not isinstance(axis, bool) for axis in (*above, *below))
    if not (above and below and whole):
        raise ValueError(
            f"matrix = {matrix!r}: the axes of rows and those of columns were expected, such as "
            "((1, 2, 3), (0,)) for a kernel of a convolution"
        )
    return above, below
