"""What the template of a network's numba file shows."""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.emit.numba.arrays import FunctionView
from hamilforge.gen.emit.numba.networks import regulariser
from hamilforge.gen.emit.products.network import NetworkProduct


@dataclass(frozen=True, slots=True)
class Copy:
    """One of the sets of controls that a layer has.

    Attributes:
        suffix: what follows their names.
        place: where they are in the arrays of all.
        cell: the same as a slice, for numbers.
        totals: the sums for their gradients.
        numbers: where those that are numbers are among all.
    """

    suffix: str
    place: str
    cell: str
    totals: tuple[str, ...]
    numbers: str


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows.

    Attributes:
        imports: modules of the runtime: room, name, digest.
        loops: elementwise loops; then the functions of the field.
        combinations: how many terms the sums of arrays have that occur.
        forward, backward: the lines of a layer and of its adjoint.
        states, controls, parameters, kept, scratch, matrices, totals: names of arguments.
        scalars: sums that are numbers.
        copies: the sets of controls that a layer has: one, or one for each stage.
        prepared: the calls of what depends on controls alone; then that for one copy.
        sums, numbers: what one copy has of totals and scalars.
        cost: the regulariser, if there is one.
    """

    product: NetworkProduct
    timed: bool
    imports: tuple[tuple[str, str, str], ...]
    loops: tuple[FunctionView, ...]
    functions: tuple[FunctionView, ...]
    combinations: tuple[int, ...]
    copies: tuple[Copy, ...]
    prepared: tuple[str, ...]
    prepared_one: str
    sums: tuple[str, ...]
    numbers: tuple[str, ...]
    forward: tuple[str, ...]
    backward: tuple[str, ...]
    finish: tuple[str, ...]
    states: tuple[str, ...]
    controls: tuple[str, ...]
    parameters: tuple[str, ...]
    kept: tuple[str, ...]
    scratch: tuple[str, ...]
    matrices: tuple[str, ...]
    totals: tuple[str, ...]
    scalars: tuple[str, ...]
    costates: tuple[str, ...]
    gradients: tuple[tuple[str, str, bool], ...]
    tables: tuple[tuple[str, str], ...]
    cost: regulariser.View | None
