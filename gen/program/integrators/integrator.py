"""Integrators as programs: a problem's functions in the driver of a method's step.

A :class:`Problem` holds straight-line functions of t, the components and the parameters.  A step is
one of five drivers: :class:`Stages` (Runge–Kutta methods and pairs, explicit or implicit),
:class:`Flows` (splittings), :class:`ConstrainedFlows` (splittings with constrained steps, which
solve for multipliers), :class:`DiscreteGradient` or :class:`TaylorSteps`.  A trajectory repeats the
step.

Friction stands beside the field as its exact factor d(a, b) = exp(-int_a^b gamma); with eta(t) its
exponent since the beginning of the step, stages follow the conformal rule (A. Bhatt, D. Floyd and
B. E. Moore, J. Sci. Comput. 66 (2016) 1234-1259)

    P_i = e^(-eta_i) (p + sum_j a_ij h e^(eta_j) p'_j),
    p+  = e^(-eta_h) (p + sum_j b_j h e^(eta_j) p'_j).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.declare import kinds
from hamilforge.gen.program.integrators.series import SeriesProgram
from hamilforge.gen.program.ir import Expr, Function
from hamilforge.gen.program.stages import Coefficient, Row, Stages

#: The ends of a time span; no declared name has two underscores in a row.
START, STOP = "start__", "stop__"


@dataclass(frozen=True, slots=True)
class Lattice:
    """Sites in a ring, at each of which every component has a value.

    Functions of a lattice have arrays, one entry for each site: components, and components some
    sites further (:func:`stencil`).

    Attributes:
        name: what the number of sites is called.
        count: how many there are.
        start: what each component begins with, in ``i`` = 0, 1, …; None where nothing is declared.
    """

    name: str
    count: int
    start: tuple[Expr | None, ...]


def stencil(name: str) -> tuple[str, int]:
    """Which array a name means, and how many sites further."""
    match = re.fullmatch(r"(.*)__(plus|minus)_([0-9]+)", name)
    if match is None:
        return name, 0
    return match[1], int(match[3]) * (1 if match[2] == "plus" else -1)


@dataclass(frozen=True, slots=True)
class Band:
    """Entries of a matrix, one for each site i: at ``row + i`` and ``column + i + offset``."""

    row: int
    column: int
    offset: int


@dataclass(frozen=True, slots=True)
class Part:
    """The components from ``start`` to ``stop``, and their right-hand sides.

    Attributes:
        field: the right-hand sides; results in the order of the components.
        product: ``w' df/d(y, parameters)`` for a vector w with an entry for each right-hand side;
            None where no method asks for it.
        needs: the numbers of the parts it depends on.
    """

    name: str
    start: int
    stop: int
    field: Function
    product: Function | None
    needs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A function whose results are the nonzero entries of a matrix."""

    function: Function
    places: tuple[tuple[int, int] | Band, ...]


@dataclass(frozen=True, slots=True)
class Energy:
    """H, its gradient and its second derivative, and the sum of the sizes of its terms."""

    value: Function
    size: Function
    gradient: Function
    hessian: Matrix | None


@dataclass(frozen=True, slots=True)
class Constraints:
    """g(q) = 0, with what Newton's method for the multipliers needs.

    Attributes:
        names: of the constraints.
        value: g, a result for each.
        slopes: G = dg/dq, a row for each constraint and a column for each position.
        mass: d^2K/dp^2, the inverse mass, a row and a column for each momentum.
    """

    names: tuple[str, ...]
    value: Function
    slopes: Matrix
    mass: Matrix


@dataclass(frozen=True, slots=True)
class Event:
    """What is looked for along solutions: the zeros of a function.

    Attributes:
        direction: 1 for zeros at which it grows, -1 for those at which it falls, 0 for both.
        terminal: at which of its zeros a run ends; 0 for none.
        value: the function.
    """

    name: str
    direction: int
    terminal: int
    value: Function


@dataclass(frozen=True, slots=True)
class Problem:
    """What a method needs of a declared problem.

    Attributes:
        start: the components at the start, where declared.
        jacobian: df/dy without friction; None where no method asks for it.
        energy: H, if it has one.
        conservative: whether H is constant along solutions.
        structure: S of y' = S grad H, if it has one.
        structure_slope: the derivative of S(y) w by y for a vector w, where S depends on y.
        decay: the friction factor between the times ``start`` and ``stop``; None without friction.
        rate: gamma at ``t``; None without friction.
        lattice: the sites, if there are any: then there are as many entries of each component.
        constraints: on the positions; None where there are none.
        events: what can be looked for along solutions.
        event_series: their Taylor series, of those of the components; None where there are none.
    """

    name: str
    components: tuple[str, ...]
    parameters: tuple[kinds.Parameter, ...]
    start_time: Fraction
    start: tuple[Fraction | None, ...]
    parts: tuple[Part, ...]
    jacobian: Matrix | None
    energy: Energy | None
    conservative: bool
    structure: Matrix | None
    structure_slope: Matrix | None
    decay: Expr | None
    rate: Expr | None
    invariants: tuple[tuple[str, Function], ...]
    lattice: Lattice | None = None
    constraints: Constraints | None = None
    events: tuple[Event, ...] = ()
    event_series: SeriesProgram | None = None

    @property
    def size(self) -> int:
        """How many numbers a state is."""
        return len(self.components) * (self.lattice.count if self.lattice else 1)


@dataclass(frozen=True, slots=True)
class Flow:
    """An exact flow over ``weight * h`` from ``start * h`` on the clock of the step.

    Attributes:
        letter: A drift, B kick, D friction, BD kick with friction.
        kept: whether its right-hand side is the one that the last kick has left.
    """

    letter: str
    weight: Coefficient
    start: Coefficient
    stop: Coefficient
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Flows:
    """A composition of exact flows of H = K(p, t) + V(q, t)."""

    flows: tuple[Flow, ...]
    impulse: Expr | None


@dataclass(frozen=True, slots=True)
class Friction:
    """Momenta times their friction factor from ``start * h`` to ``stop * h``."""

    start: Coefficient
    stop: Coefficient


@dataclass(frozen=True, slots=True)
class ConstrainedMove:
    """A kick, a drift and a kick, with multipliers lambda and nu that keep the constraints.

        P  = p - before h (dV/dq(q) + G(q)' lambda),
        q+ = q + drift h dK/dp(P),                    g(q+) = 0,
        p+ = P - after h (dV/dq(q+) + G(q+)' nu),     G(q+) dK/dp(p+) = 0.

    Forces and velocities are those at ``time * h`` on the clock of the step.

    Attributes:
        before, drift, after: numbers of steps h.
        projected: whether nu is solved for; without, it is 0.
    """

    time: Coefficient
    before: Coefficient
    drift: Coefficient
    after: Coefficient
    projected: bool = True


@dataclass(frozen=True, slots=True)
class ConstrainedFlows:
    """Constrained steps and friction, one after the other."""

    moves: tuple[Friction | ConstrainedMove, ...]


#: Up to how many roundings of the sizes of its terms hide what H misses.
ROUNDINGS = 4


@dataclass(frozen=True, slots=True)
class DiscreteGradient:
    """z+ = z + h S grad(z, z+) with a discrete gradient.

    A mean of grad H, of the quadrature or of the two ends of an increment, is made exact by what it
    misses of the difference of H.  That is left out where it is not told from rounding, no more
    than :data:`ROUNDINGS` times the machine epsilon times the sizes of H's terms: near rest, where
    H is not small and the increments are, rounding would be all that is added.

    Attributes:
        nodes, weights: of the quadrature of the mean gradient; empty for increments.
        directions: of the increments, 1 forward and -1 backward; empty where one is drawn.
    """

    nodes: Row
    weights: Row
    directions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TaylorSteps:
    """y(t + h) = sum_k c_k h^k with the Taylor coefficients c_k of the solution.

    Attributes:
        order: the highest power.
        series: what the coefficients are computed by, whatever the order.
        coefficients: all of them up to the order; friction is a term of the right-hand sides.
        looped: whether kernels take like operations of the series together, in loops, instead of
            all coefficients line by line.
    """

    order: int
    series: SeriesProgram
    coefficients: Function
    looped: bool


Step = Stages | Flows | ConstrainedFlows | DiscreteGradient | TaylorSteps


@dataclass(frozen=True, slots=True)
class Integrator:
    """A problem with a method.

    Attributes:
        name: ``<problem>__<method>``.
    """

    name: str
    problem: Problem
    step: Step
