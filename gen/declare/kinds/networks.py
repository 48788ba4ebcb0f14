"""Fields of networks, and what they are trained for."""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.kinds.parts import Head, Parameter, Shape


@dataclass(frozen=True, slots=True)
class FixedArray:
    """An array of a field that is not trained: exact rational numbers.

    Attributes:
        shape: one or two dimensions, by name or number.
        unit: of a unit vector, which one: a number from 1, or a dimension for its last.
        draw: between which whole numbers, both included, its entries are drawn.
        where: what becomes of what is drawn, in its own name and the dimensions.
    """

    name: str
    shape: Shape
    unit: str
    draw: tuple[int, int] | None
    where: Expression | None


@dataclass(frozen=True, slots=True)
class Field:
    """A network's vector field y' = f(t, y, U) with states y and controls U.

    Attributes:
        states: each state with its shape: one dimension, by name or number.
        controls: each control with its shape: at most two dimensions.
        rates: the right-hand side of each state, in the order of the states.
        activation: what ``sigma(x)`` means, an expression in x.
        parameters: scalars that are no controls.
        running: the running cost r(t, y, U), a scalar; None for none.
        regulariser: the cost r(U, U') of the controls of a layer and of their rates of change, a
            scalar; None for none.
        methods: with which its generated code ships.
        varied: what the caller set instead of the declaration, as options of the command line.
        fixed: dimensions with the sizes that the caller gave them.
        by_stage: whether every stage of a layer has controls of its own.
        arrays: those that are not trained.
    """

    head: Head
    states: tuple[tuple[str, Shape], ...]
    controls: tuple[tuple[str, Shape], ...]
    rates: tuple[tuple[str, Expression], ...]
    activation: Expression | None
    parameters: tuple[Parameter, ...]
    running: Expression | None
    regulariser: Expression | None
    methods: tuple[str, ...]
    varied: tuple[str, ...] = ()
    fixed: tuple[tuple[str, int], ...] = ()
    by_stage: bool = False
    arrays: tuple[FixedArray, ...] = ()


@dataclass(frozen=True, slots=True)
class Objective:
    """What a network is trained for: a read-out of its last state, and a loss for each sample.

    Attributes:
        states: what it reads, with shapes.
        weights: of the read-out, with shapes; shared by all samples.
        data: what is given with each sample, with shapes.
        prediction: the read-out.
        loss: a scalar; it may use ``prediction``.
        activation: what ``sigma(x)`` means.
    """

    head: Head
    states: tuple[tuple[str, Shape], ...]
    weights: tuple[tuple[str, Shape], ...]
    data: tuple[tuple[str, Shape], ...]
    prediction: Expression
    loss: Expression
    activation: Expression | None
    parameters: tuple[Parameter, ...]
