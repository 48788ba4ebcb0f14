"""Minimization problems as programs: what is computed once, the loss, and loss with gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.problems.loss import Index
from hamilforge.gen.program.ir import Function


@dataclass(frozen=True, slots=True)
class Draw:
    """An array that is drawn, of a distribution of :data:`kinds.DRAWS`."""

    array: Array
    distribution: str
    seed: int


@dataclass(frozen=True, slots=True)
class Landscape:
    """A loss with its gradient, its data and its points.

    Attributes:
        variables: in order, as the program names them.
        dimensions: the names of sizes.
        declared: the name in the declaration, by that in the program.
        indices: rows and columns that ``prepare`` reads.
        draws: arrays that are drawn.
        prepare: data by ``data.A``, points by ``start.x``, ``minimizers.0.x``, ``critical.0.x``,
            and ``minimum``, from indices, sizes, parameters and draws; names are declared ones.
        loss: ``loss``, from variables, sizes, parameters and data.
        gradient: ``loss``, and its derivative ``by.x`` for each variable it depends on, by the
            name that it has in the program.
    """

    name: str
    variables: tuple[Array, ...]
    dimensions: tuple[str, ...]
    parameters: tuple[kinds.Parameter, ...]
    declared: Mapping[str, str]
    indices: tuple[Index, ...]
    draws: tuple[Draw, ...]
    prepare: Function
    loss: Function
    gradient: Function
