"""Methods by coefficients: Runge–Kutta, partitioned, discrete gradients, Taylor's."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.kinds.parts import Head, Parameter


@dataclass(frozen=True, slots=True)
class Root:
    """The real root of a polynomial in x nearest to a number."""

    polynomial: Expression
    near: Fraction


@dataclass(frozen=True, slots=True)
class Rows:
    """Coefficients one by one; rows may leave out trailing zeros.

    Attributes:
        a, b: the table.
        b_hat: embedded weights.
        c: nodes; the row sums if None.
        row_sums: whether the nodes must be the row sums.
    """

    a: tuple[tuple[Expression, ...], ...]
    b: tuple[Expression, ...]
    b_hat: tuple[Expression, ...] | None
    c: tuple[Expression, ...] | None
    row_sums: bool


@dataclass(frozen=True, slots=True)
class Formula:
    """An explicit method by formulas: ``a`` in i > j, ``b`` in j, both from 1; and the stages."""

    stages: Expression
    a: Expression
    b: Expression


@dataclass(frozen=True, slots=True)
class Collocation:
    """A method on the roots of a polynomial.

    Attributes:
        nodes: a polynomial in x, where ``legendre(n)`` is the n-th shifted Legendre polynomial.
        conditions: what determines A: ``C`` for C(s), ``D`` for D(s).
        column: with C: (``first`` or ``last``, ``b`` or ``0``): that column of A is b_j or 0, and
            C(s - 1) determines the rest.
    """

    nodes: Expression
    conditions: str
    column: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Mean:
    """The arithmetic mean of tableaux with the same nodes."""

    of: tuple[RungeKutta, ...]


@dataclass(frozen=True, slots=True)
class Composed:
    """A method applied with several step sizes ``weight * h``, one after the other."""

    block: RungeKutta
    weights: tuple[Expression, ...]


#: How the coefficients of a Runge–Kutta method are given.
Table = Rows | Formula | Collocation | Mean | Composed


@dataclass(frozen=True, slots=True)
class RungeKutta:
    """A Runge–Kutta method.

    Attributes:
        table: how its coefficients are given.
        constants: named numbers, each an expression in those before it or a root.
        parameters: free symbols of a family, with defaults.
        exact: whether the coefficients are exact (else published digits).
    """

    head: Head
    table: Table
    constants: tuple[tuple[str, Expression | Root], ...]
    parameters: tuple[Parameter, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class Partitioned:
    """A pair of methods: one for q, one for p; None for p means Hager's adjoint of q."""

    head: Head
    q: RungeKutta
    p: RungeKutta | None


@dataclass(frozen=True, slots=True)
class DiscreteGradient:
    """A discrete gradient: a mean of gradients between two points that is exact for H.

    Attributes:
        quadrature: the method whose nodes and weights take the mean of grad H along the segment;
            what is missing to exactness is added along the segment.
        increments: instead, ``forward`` for the increments of H coordinate by coordinate,
            ``symmetric`` for their mean with those in the reverse direction, or ``random`` for
            that along a direction that is drawn for each step: of a gradient flow alone.
    """

    head: Head
    quadrature: RungeKutta | None
    increments: str | None


@dataclass(frozen=True, slots=True)
class Taylor:
    """Taylor's method: the solution's own series, to an order.

    Attributes:
        order: the highest power of the step; None where it follows from the tolerance.
        chosen: the order that code is made for.
        varied: what the caller set instead of the declaration, as options of the command line.
    """

    head: Head
    order: int | None
    chosen: int | None = None
    varied: tuple[str, ...] = ()
