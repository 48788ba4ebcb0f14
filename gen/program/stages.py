"""A step of a Runge–Kutta method, for integrators and for the layers of networks.

Increments and values of stages, their coefficients, and in which order they are computed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A number of a method.

    Attributes:
        value: in double precision, correctly rounded.
        exact: as a text, where it has a short one.
    """

    value: float
    exact: str = ""


ZERO = Coefficient(0.0, "0")


ONE = Coefficient(1.0, "1")


Row = tuple[Coefficient, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a part at a stage: ``y + sum_j a_ij L_j``, times its friction factor."""

    stage: int
    part: int


@dataclass(frozen=True, slots=True)
class Increment:
    """``L_j``: a part's right-hand side at a stage, times h and the scale of the stage."""

    stage: int
    part: int


Node = Value | Increment


@dataclass(frozen=True, slots=True)
class Block:
    """Values and increments that determine each other; one by itself is computed at once."""

    nodes: tuple[Node, ...]
    implicit: bool

    @property
    def values(self) -> tuple[Value, ...]:
        """The stage values in it."""
        return tuple(node for node in self.nodes if isinstance(node, Value))

    @property
    def increments(self) -> tuple[Increment, ...]:
        """The increments in it."""
        return tuple(node for node in self.nodes if isinstance(node, Increment))


@dataclass(frozen=True, slots=True)
class Interpolant:
    """Continuous weights: y(t + theta h) = y + sum_i (sum_k weights[i][k] theta^(k+1)) L_i.

    Attributes:
        weights: for each stage, and for the right-hand side at the end of the step.
        order: of the curve.
    """

    weights: tuple[Row, ...]
    order: int


@dataclass(frozen=True, slots=True)
class Stages:
    """A Runge–Kutta method, one table for each part of the problem.

    Increments are ``L_j = h scale_j f(t + node_j h, Y_j)``.  A symplectic table with weights that
    do not vanish is scaled by its weights: then ``alpha_ij + alpha_ji = 1`` holds exactly in
    floating point, and rounding of coefficients makes no energy drift (M. Antonana, J. Makazaga and
    A. Murua, Numer. Algorithms 76 (2017) 861-880).

    Attributes:
        count: the number of stages.
        alpha: for each part, the coefficients of the stages.
        scale, weights: for each part, of the stages.
        nodes: for each part, where its right-hand side is taken.
        clock: the nodes at which the friction of momenta is taken.
        error: for each part, weights of the error estimate, if there is one.
        error_order: the order of the estimate.
        blocks: in the order of computation.
        reuse: whether the first stage is the end of the step before.
        forecast: for each part, the first guess of the increments from those of the step before.
        interpolant: dense output, where the method has an error estimate.
        symplectic: whether the step conserves the symplectic form, up to friction.
    """

    count: int
    alpha: tuple[tuple[Row, ...], ...]
    scale: tuple[Row, ...]
    weights: tuple[Row, ...]
    nodes: tuple[Row, ...]
    clock: Row
    error: tuple[Row, ...] | None
    error_order: int
    blocks: tuple[Block, ...]
    reuse: bool
    forecast: tuple[tuple[Row, ...], ...] | None
    interpolant: Interpolant | None
    symplectic: bool
