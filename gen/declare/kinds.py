"""The kinds of declaration, as frozen data.

Out of the reader, into the derivation.  Everything here has been checked for form; nothing here has
been derived or believed: a claim is carried along as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Union

from hamilforge.gen.declare.expression import AVERAGE, Expression, Operation, constant
from hamilforge.gen.declare.matrix_functions import ALONG
from hamilforge.gen.declare.toml_source import Source

DOMAINS = {
    "positive": "(0, inf)",
    "nonnegative": "[0, inf)",
    "unit-interval": "[0, 1)",
    "open-unit-interval": "(0, 1)",
    "closed-unit-interval": "[0, 1]",
    "real": "(-inf, inf)",
    "flag": "{False, True}",
    "count": "{1, 2, ...}",
    "choice": "one of",
    "nonnegative-or-none": "[0, inf), or None",
}
#: Domains of numbers at or above 0 that have 0 in them.
ZERO_IN_DOMAIN = ("nonnegative", "unit-interval", "closed-unit-interval")
FLAG, COUNT, CHOICE = "flag", "count", "choice"
#: None stands for the distance from 1 to the next number of the type of the parameters.
OR_NONE, NONE = "nonnegative-or-none", "none"
#: Domains that only optimizers of assignments have; and those that only optimizers of matrices.
DISCRETE = (FLAG, COUNT)
OF_MATRICES = (CHOICE, OR_NONE)
SCOPES = ("all", "group", "tensor", "coordinate")
LETTERS = ("A", "B", "D", "BD", "P", "O", "C")
#: What stands beside a constrained step, C, in a splitting.
BESIDE_CONSTRAINED = ("D",)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number the user may choose: its default, the domain it lives in, what it means.

    Attributes:
        default: of a choice the number of its name; of a number that may be None, -1 for None.
        part_of: the tuple in which an optimizer takes it; empty where it is an argument itself.
        choices: the names among which it is chosen; None is the first.
    """

    name: str
    default: Fraction
    domain: str
    doc: str
    part_of: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """What every declaration begins with.

    Attributes:
        source: the text it came from.
        claims: what its author says of it; to be checked.
    """

    name: str
    title: str
    reference: str
    claims: Mapping[str, object] = field(hash=False)
    source: Source


@dataclass(frozen=True, slots=True)
class Hamiltonian:
    """H = K(p) + J(q) with friction: q' = grad K(p), p' = -grad J(q) - gamma(t) p.

    Attributes:
        temperature: of the heat bath that friction belongs to; None where there is none.
    """

    head: Head
    kinetic: Expression
    friction: Expression
    parameters: tuple[Parameter, ...]
    start_time: Fraction
    temperature: Expression | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a trajectory begins by default.

    Attributes:
        time: t.
        values: some or all of the components.
    """

    time: Fraction
    values: tuple[tuple[str, Fraction], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """A function of the state and the time whose zeros along solutions are looked for.

    Attributes:
        direction: 1 for zeros at which it grows, -1 for those at which it falls, 0 for both.
        terminal: at which of its zeros a run ends; 0 for none.
    """

    name: str
    value: Expression
    direction: int
    terminal: int


@dataclass(frozen=True, slots=True)
class Sites:
    """The places of a lattice, in a ring: each coordinate has a value at every one of them.

    Attributes:
        name: what their number is called.
        count: how many there are; None until code is made.
        start: what coordinates begin with, in ``i`` = 0, 1, … and the number of sites.
    """

    name: str
    count: int | None
    start: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Mechanics:
    """H(q, p, t) in named coordinates: q' = dH/dp, p' = -dH/dq - gamma(t) p.

    Attributes:
        positions, momenta: the names, in pairs.
        invariants: what is constant along solutions, by name.
        methods: with which its generated code ships.
        sites: of a lattice; then every coordinate has a value at each of them.
        varied: what the caller set instead of the declaration, as options of the command line.
        constraints: what vanishes along solutions, by name: functions g of the positions, whose
            forces are those of multipliers, p' = -dH/dq - G' lambda - gamma(t) p with G = dg/dq.
        events: whose zeros along solutions are looked for where they are asked for.
    """

    head: Head
    positions: tuple[str, ...]
    momenta: tuple[str, ...]
    energy: Expression
    friction: Expression
    parameters: tuple[Parameter, ...]
    invariants: tuple[tuple[str, Expression], ...]
    start: Start
    methods: tuple[str, ...]
    sites: Sites | None = None
    varied: tuple[str, ...] = ()
    constraints: tuple[tuple[str, Expression], ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """The exact flow of one letter over ``weight * h``."""

    letter: str
    weight: Expression


@dataclass(frozen=True, slots=True)
class Composition:
    """A block applied with several step sizes ``weight * h``, one after the other."""

    block: Splitting | ConstrainedSplitting
    weights: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Splitting:
    """A composition of exact flows, in the order they are applied.

    Attributes:
        steps: flows, or one composition of another splitting.
        constants: named numbers, each an expression in those before it.
        exact: whether the constants are exact (else published digits).
    """

    head: Head
    steps: tuple[Flow, ...] | Composition
    constants: tuple[tuple[str, Expression], ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class ConstrainedSplitting:
    """A composition of constrained steps, C, and friction, D, in the order they are applied.

    C is a kick, a drift and a kick whose multipliers keep positions and velocities on constraints.

    Attributes:
        steps: steps and flows, or one composition of another such splitting.
        constants: named numbers, each an expression in those before it.
        exact: whether the constants are exact (else published digits).
    """

    head: Head
    steps: tuple[Flow, ...] | Composition
    constants: tuple[tuple[str, Expression], ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """``target = value`` in an update or a rule; its number in the list, from 0."""

    target: str
    value: Expression
    number: int


@dataclass(frozen=True, slots=True)
class Update:
    """Assignments in order; targets other than q and p are local."""

    head: Head
    assignments: tuple[Assignment, ...]
    parameters: tuple[Parameter, ...]


Method = Splitting | Update


def draws_noise(method: Method | ConstrainedSplitting) -> bool:
    """Whether a method has the letter O."""
    if not isinstance(method, Splitting):
        return False
    if isinstance(method.steps, Composition):
        return draws_noise(method.steps.block)
    return any(flow.letter == "O" for flow in method.steps)


def without_noise(splitting: Splitting) -> Splitting:
    """The splitting with friction alone, D, wherever it has friction with noise, O."""
    return relettered(splitting, {"O": "D"})


def relettered(splitting: Splitting, letters: Mapping[str, str]) -> Splitting:
    """The splitting with other letters in the place of some.

    Args:
        splitting: the declaration.
        letters: what stands for each that is replaced.
    """
    steps = splitting.steps
    if isinstance(steps, Composition):
        assert isinstance(steps.block, Splitting)  # else it is no splitting itself
        return replace(splitting, steps=replace(steps, block=relettered(steps.block, letters)))
    flows = (replace(flow, letter=letters.get(flow.letter, flow.letter)) for flow in steps)
    return replace(splitting, steps=tuple(flows))


@dataclass(frozen=True, slots=True)
class Optimizer:
    """A system, a method, and the hyper-parameters as users say them.

    Attributes:
        settings: ``[set]``, in order: what the hyper-parameters mean for system and method.
        buffer: the name of the state buffer.
        buffer_value: what the buffer stores, linear in p.
        scope: over what dot, sum and norm run.
        start_time: t at the first step.
        reductions: what it becomes at some hyper-parameters.
    """

    head: Head
    system: Hamiltonian
    method: Method
    hyperparameters: tuple[Parameter, ...]
    settings: tuple[tuple[str, Expression], ...]
    buffer: str
    buffer_value: Expression | None
    scope: str
    start_time: Fraction
    reductions: tuple[Reduction, ...] = ()

    @property
    def unknowns(self) -> tuple[str, ...]:
        """What is stored: the point ``x`` at which gradients are taken, and the buffer."""
        return ("x", self.buffer)

    @property
    def numbers(self) -> tuple[Parameter, ...]:
        """What may be set: hyper-parameters, and parameters that ``[set]`` does not determine."""
        own = self.method.parameters if isinstance(self.method, Update) else ()
        taken = {entry.name for entry in self.hyperparameters} | {*dict(self.settings)}
        left = (entry for entry in (*self.system.parameters, *own) if entry.name not in taken)
        return (*self.hyperparameters, *left)


@dataclass(frozen=True, slots=True)
class Reduction:
    """Another optimizer that one becomes, at some of its hyper-parameters.

    Attributes:
        to: the other optimizer.
        values: of our hyper-parameters, in theirs and n; the others may have any value.
        state: their arrays, in our unknowns and their hyper-parameters.
        at: hyper-parameters of theirs that are not free, in those that are.
        late: whether it is so in the limit n -> oo, not at every step.
        number: its number in the list, from 0.
    """

    to: Optimizer | Rule | Discretised
    values: tuple[tuple[str, Expression], ...]
    state: tuple[tuple[str, Expression], ...]
    at: tuple[tuple[str, Expression], ...]
    late: bool
    number: int


@dataclass(frozen=True, slots=True)
class Rule:
    """An optimizer that is a list of assignments, of which no differential equation is declared.

    Attributes:
        unknowns: the point, then the arrays of the state.
        scalars: numbers that are kept from step to step.
        start: what states and scalars begin at, in the point and hyper-parameters; zero where it
            says nothing.
        assignments: in order; targets that are neither unknowns nor scalars are local.
        solution: in the unknowns after a step; the point if None.
        scope: over what dot, sum and norm run.
        options: defaults of the options that every optimizer has.
        decay_at: the point at whose gradient L2 decay is added; at every one if None.
        requirements: conditions on hyper-parameters that hold where they are positive, with what is
            said where one does not.
        reductions: what it becomes at some hyper-parameters.
        loop: what it does every so many steps; None where all steps are alike.
    """

    head: Head
    hyperparameters: tuple[Parameter, ...]
    unknowns: tuple[str, ...]
    scalars: tuple[str, ...]
    start: tuple[tuple[str, Expression], ...]
    assignments: tuple[Assignment, ...]
    solution: Expression | None
    scope: str
    options: tuple[tuple[str, Fraction | bool], ...]
    decay_at: Expression | None
    requirements: tuple[tuple[Expression, str], ...]
    reductions: tuple[Reduction, ...] = ()
    loop: Loop | None = None

    @property
    def numbers(self) -> tuple[Parameter, ...]:
        """What may be set."""
        return self.hyperparameters


@dataclass(frozen=True, slots=True)
class Loop:
    """What a rule does every so many steps, at the end of the last of them: its outer step.

    Attributes:
        every: how many steps make a loop, in hyper-parameters.
        assignments: of the outer step, in order, in the unknowns as the last step leaves them.
        schedules: numbers that are computed where a loop begins and hold to its end, in
            hyper-parameters and the number k of loops before.
        unknowns: arrays of the state that only the outer step moves.
        start: what these begin at, in the point and hyper-parameters.
        solution: what is evaluated, instead of that of the steps inside.
    """

    every: Expression
    assignments: tuple[Assignment, ...]
    schedules: tuple[tuple[str, Expression], ...]
    unknowns: tuple[str, ...] = ()
    start: tuple[tuple[str, Expression], ...] = ()
    solution: Expression | None = None

    @property
    def averages(self) -> bool:
        """Whether it takes a mean over the workers of a group."""
        return any(AVERAGE in line.value.functions() for line in self.assignments)


@dataclass(frozen=True, slots=True)
class GradientSystem:
    """A differential equation in arrays like the point, with the gradient of a loss in it.

    Attributes:
        equations: for each unknown, of which the first in ``grad(...)`` is the point, its
            right-hand side: in the unknowns, t and parameters.
        point: the unknown at which the gradient is taken.
        start: what unknowns begin at, in the point and parameters; zero where it says nothing.
        start_time: t at the first step.
        lyapunov: an energy that is claimed to fall along solutions.
        noise: for some unknowns the diffusion s of ``du = ... dt + s dW``, in Ito's sense: in
            parameters, t and the other unknowns; each has a Brownian motion of its own.
    """

    head: Head
    equations: tuple[tuple[str, Expression], ...]
    point: str
    parameters: tuple[Parameter, ...]
    start: tuple[tuple[str, Expression], ...]
    start_time: Fraction
    lyapunov: Lyapunov | None
    noise: tuple[tuple[str, Expression], ...] = ()

    @property
    def unknowns(self) -> tuple[str, ...]:
        """The unknowns, the point first."""
        others = (name for name, _ in self.equations if name != self.point)
        return (self.point, *others)


@dataclass(frozen=True, slots=True)
class Lyapunov:
    """An energy that falls along the solutions of a system, for some values of a number.

    Attributes:
        energy: in the unknowns, the loss J, parameters and the free number.
        free: the name of the number.
        interval: between which values of it the energy falls, in the parameters.
    """

    energy: Expression
    free: str
    interval: tuple[Expression, Expression]


@dataclass(frozen=True, slots=True)
class Move:
    """Some unknowns of a system move together for a time, all else frozen.

    Attributes:
        unknowns: their names; ``t`` is the clock.
        weight: of the step.
        table: an explicit table that they move by; their exact flow if None.
    """

    unknowns: tuple[str, ...]
    weight: Expression
    table: RungeKutta | None


@dataclass(frozen=True, slots=True)
class UnknownSplitting:
    """A composition of flows of unknowns of a system, in the order they are applied."""

    head: Head
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class StateUpdate:
    """Assignments to a point and arrays of a state, in parameters, h, n and t."""

    head: Head
    unknowns: tuple[str, ...]
    scalars: tuple[str, ...]
    start: tuple[tuple[str, Expression], ...]
    assignments: tuple[Assignment, ...]
    solution: Expression | None
    parameters: tuple[Parameter, ...]


Discretisation = Union["UnknownSplitting", "RungeKutta", "StateUpdate"]


@dataclass(frozen=True, slots=True)
class Discretised:
    """An optimizer that is a method for a gradient system, or an update that may approximate one.

    Attributes:
        system: the equation; None of an update that names none.
        settings: ``[set]``, in order: what h and the parameters of system and method are.
    """

    head: Head
    system: GradientSystem | None
    method: Discretisation
    hyperparameters: tuple[Parameter, ...]
    settings: tuple[tuple[str, Expression], ...]
    scope: str
    options: tuple[tuple[str, Fraction | bool], ...]
    decay_at: Expression | None
    requirements: tuple[tuple[Expression, str], ...]
    reductions: tuple[Reduction, ...] = ()
    loop: Loop | None = None

    @property
    def unknowns(self) -> tuple[str, ...]:
        """The unknowns, the point first, those of the outer step last."""
        made = self.method if isinstance(self.method, StateUpdate) else self.system
        assert made is not None
        return (*made.unknowns, *(self.loop.unknowns if self.loop else ()))

    @property
    def scalars(self) -> tuple[str, ...]:
        """Numbers that are kept from step to step."""
        return self.method.scalars if isinstance(self.method, StateUpdate) else ()

    @property
    def numbers(self) -> tuple[Parameter, ...]:
        """What may be set."""
        return self.hyperparameters


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


@dataclass(frozen=True, slots=True)
class Poisson:
    """The structure of a system y' = S(y) grad H(y) with a skew-symmetric S."""

    energy: Expression
    matrix: tuple[tuple[Expression, ...], ...]


@dataclass(frozen=True, slots=True)
class System:
    """A first-order ordinary differential equation in named components.

    Attributes:
        equations: the right-hand side of each component, in the components, t and parameters.
        invariants: what is constant along solutions, by name.
        poisson: its Poisson structure, if one is declared.
        methods: with which its generated code ships.
        events: whose zeros along solutions are looked for where they are asked for.
    """

    head: Head
    equations: tuple[tuple[str, Expression], ...]
    parameters: tuple[Parameter, ...]
    invariants: tuple[tuple[str, Expression], ...]
    poisson: Poisson | None
    start: Start
    methods: tuple[str, ...]
    events: tuple[Event, ...] = ()


Shape = tuple[str, ...]


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


@dataclass(frozen=True, slots=True)
class Datum:
    """An array that a loss has beside its variables.

    Attributes:
        shape: its dimensions.
        value: an expression in its indices ``i`` and ``j`` from 0, in dimensions, parameters and
            the data before it; None if it is drawn.
        draw: the distribution it is drawn from, one of :data:`DRAWS`; empty if it is not.
        seed: of the generator.
    """

    name: str
    shape: Shape
    value: Expression | None
    draw: str
    seed: int


#: From what data are drawn: independent entries, or a rotation uniform among all.
DRAWS = ("normal", "uniform", "rotation")


@dataclass(frozen=True, slots=True)
class MinimizationProblem:
    """A loss in closed form, with a start and its minimum.

    Attributes:
        variables: each with its shape, of at most two dimensions.
        sizes: each dimension that has a name, and how large it is where nothing else is said.
        data: in order.
        loss: a scalar.
        start: for each variable an expression in its indices, dimensions, parameters and data.
        minimizers: points of least loss, alike; none if none is declared.
        minimum: the least loss; the loss at the first minimizer if None.
        critical: further points where the gradient vanishes, or where 0 is a convex combination of
            its limits.
    """

    head: Head
    variables: tuple[tuple[str, Shape], ...]
    sizes: tuple[tuple[str, int], ...]
    data: tuple[Datum, ...]
    loss: Expression
    parameters: tuple[Parameter, ...]
    start: tuple[tuple[str, Expression], ...]
    minimizers: tuple[tuple[tuple[str, Expression], ...], ...]
    minimum: Expression | None
    critical: tuple[tuple[tuple[str, Expression], ...], ...]

    @property
    def points(self) -> dict[str, tuple[tuple[str, Expression], ...]]:
        """All points: ``start``, ``minimizers.0``, …, ``critical.0``, …"""
        points = {"start": self.start}
        points |= {f"minimizers.{number}": point for number, point in enumerate(self.minimizers)}
        return points | {f"critical.{number}": point for number, point in enumerate(self.critical)}

    @property
    def places(self) -> tuple[str, ...]:
        """The names of all points."""
        return tuple(self.points)


@dataclass(frozen=True, slots=True)
class Metric:
    """An inner product of tangent vectors at each point.

    Attributes:
        inner: of U and V at X, a scalar.
        gradient: the tangent vector whose inner product with V is sum(G*V), for a gradient G.
        geodesic: the point at time 1 on the geodesic from X with velocity V; None if none is
            declared.
        rates: the eigenvalues of V -> gradient(V) on tangent vectors: how fast, by gamma, a force
            -gamma V fades the parts of V; none where they are not declared.
    """

    name: str
    inner: Expression
    gradient: Expression
    geodesic: Expression | None
    rates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Retraction:
    """A map of tangent vectors to points.

    Attributes:
        value: the new point, from X and a tangent vector V.
        normal: what is normal at X, where the point is X + V less that, as Lagrange multipliers
            lead back; None of others.
        where: the V that have one: what is positive; None where all have.
        definite: whether that is a symmetric matrix, and positive definite; a scalar else.
    """

    name: str
    value: Expression
    normal: Expression | None = None
    where: Expression | None = None
    definite: bool = False

    @property
    def limit(self) -> str:
        """For which V it has a value, as a text; empty where all have."""
        if self.where is None:
            return ""
        return self.where.text + " positive definite" * self.definite


@dataclass(frozen=True, slots=True)
class Condition:
    """What points satisfy beside the constraint, on an open set.

    Attributes:
        value: a scalar that is positive, or a matrix that is symmetric and positive definite.
    """

    name: str
    value: Expression
    definite: bool


@dataclass(frozen=True, slots=True)
class Manifold:
    """Vectors or matrices with a constraint, as submanifold of all of them.

    Everything is in the point X, an array V (and U) of its shape, a gradient G, the new point Y.

    Attributes:
        shape: of the point, in dimensions by name; a vector is a column.
        is_vector: whether points are declared as vectors.
        shorthands: names that stand for expressions in X and V.
        constraint: what vanishes on the manifold.
        project: V projected to the tangent space at X; horizontally where there is a quotient.
        retractions: the new point, from X and a tangent vector V.
        metrics: the first is the default.
        transport: of a tangent vector U at X to Y; its projection there if None.
        transports: others, by name.
        conditions: on points, beside the constraint.
        quotient: the group whose orbits are the points: ``O(p)`` acts on columns from the right;
            empty if there is none.
        sample: a point, in a random matrix Z of the shape; Newton's method on the constraint if
            None.
    """

    head: Head
    shape: Shape
    is_vector: bool
    shorthands: tuple[tuple[str, Expression], ...]
    constraint: Expression
    project: Expression
    retractions: tuple[Retraction, ...]
    metrics: tuple[Metric, ...]
    transport: Expression | None
    transports: tuple[tuple[str, Expression], ...]
    conditions: tuple[Condition, ...]
    quotient: str
    sample: Expression | None

    @property
    def is_flat(self) -> bool:
        """Whether the constraint is none: a product with zero."""
        tree = self.constraint.tree
        factors = tree.args if isinstance(tree, Operation) and tree.op == "*" else ()
        return any(constant(factor) == 0 for factor in factors)

    @property
    def multipliers(self) -> Retraction | None:
        """The retraction that leads back by what is normal at X."""
        return next((own for own in self.retractions if own.normal is not None), None)

    def retraction(self, name: str) -> Retraction:
        """The retraction with a name.

        Raises:
            KeyError: there is none.
        """
        return {own.name: own for own in self.retractions}[name]

    def metric(self, name: str) -> Metric:
        """The metric with a name.

        Raises:
            KeyError: there is none.
        """
        return {own.name: own for own in self.metrics}[name]

    @property
    def written_shape(self) -> str:
        """The shape of a point as it was declared: ``(n, p)``, ``(n)``."""
        return f"({', '.join(self.shape[: 1 if self.is_vector else 2])})"


@dataclass(frozen=True, slots=True)
class MatrixRule:
    """An optimizer whose parameters are matrices, or points of a manifold.

    Attributes:
        manifold: on which the parameters lie; None for all matrices.
        metric: its gradients are in this metric; empty without a manifold.
        retraction: by which points move; empty without a manifold, or :data:`FREE`.
        shape: of a parameter, in dimensions by name; a vector is a column.
        is_vector: whether parameters are vectors.
        unknowns: the point, then the arrays of the state.
        shapes: of the unknowns.
        assignments: in order; targets that are no unknowns are local.
        of_vectors: instead of these, of a parameter with one axis, a matrix with one column; none
            where such parameters are refused.
        options: defaults of the options that every optimizer has.
        requirements: conditions on hyper-parameters that hold where they are positive, with what is
            said where one does not.
        violations: where points are only near the manifold, what is claimed of the constraint after
            a step, in what the step computes and the point before it: :data:`VIOLATION` from a
            point on it, :data:`VIOLATION_OFF` from any.
        varied: what the caller set instead of the declaration, as options of the command line.
    """

    head: Head
    manifold: Manifold | None
    metric: str
    retraction: str
    shape: Shape
    is_vector: bool
    hyperparameters: tuple[Parameter, ...]
    unknowns: tuple[str, ...]
    shapes: tuple[Shape, ...]
    assignments: tuple[Assignment, ...]
    of_vectors: tuple[Assignment, ...]
    options: tuple[tuple[str, Fraction | bool], ...]
    requirements: tuple[tuple[Expression, str], ...]
    violations: tuple[tuple[str, Expression], ...] = ()
    varied: tuple[str, ...] = ()

    @property
    def shrinks(self) -> bool:
        """Whether parameters may be multiplied by a number, as weight decay does."""
        return self.manifold is None or self.manifold.is_flat

    @property
    def shapes_of_vectors(self) -> tuple[Shape, ...]:
        """Of the unknowns of a parameter with one axis, which is a column."""
        return tuple(
            tuple(ALONG if axis == self.shape[-1] else axis for axis in shape)
            for shape in self.shapes
        )

    @property
    def numbers(self) -> tuple[Parameter, ...]:
        """What may be set."""
        return self.hyperparameters


#: Instead of a retraction: the geodesic of the metric, whose velocity carries the momentum; or
#: none, where points are only near the manifold.
GEODESIC, FREE = "geodesic", "none"
#: How a momentum is carried, beside what a manifold declares: by its default, which is projection
#: if there is none; as the velocity of a geodesic; as the way between points, projected.
PROJECTION, VELOCITY, SECANT = "projection", "velocity", "secant"
#: Claims of how far off the manifold a step leads, from a point on it and from any.
VIOLATION, VIOLATION_OFF = "violation", "violation_off"


@dataclass(frozen=True, slots=True)
class ManifoldOptimizer:
    """A Hamiltonian system on a manifold, and a splitting of it.

    Attributes:
        system: whose kinetic energy is a multiple of the square of the momentum.
        method: its drift moves the point by the retraction and carries the momentum along.
        settings: ``[set]``, in order: what the hyper-parameters mean for the system, and h.
        metric: in which gradients are taken.
        retraction: its name, or :data:`GEODESIC`.
        transport: by which the momentum is carried: its name, or :data:`PROJECTION`,
            :data:`VELOCITY` or :data:`SECANT`.
        varied: what the caller set instead of the declaration, as options of the command line.
    """

    head: Head
    system: Hamiltonian
    method: Splitting | ConstrainedSplitting
    hyperparameters: tuple[Parameter, ...]
    settings: tuple[tuple[str, Expression], ...]
    manifold: Manifold
    metric: str
    retraction: str
    transport: str
    #: The point, and ``V = h grad K(p)``: by how much it moves in a step.
    unknowns: tuple[str, ...] = ("X", "V")
    options: tuple[tuple[str, Fraction | bool], ...] = ()
    requirements: tuple[tuple[Expression, str], ...] = ()
    varied: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """Of a parameter, in dimensions by name; a vector is a column."""
        return self.manifold.shape

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of the unknowns."""
        return (self.shape,) * len(self.unknowns)

    @property
    def is_vector(self) -> bool:
        """Whether parameters are vectors."""
        return self.manifold.is_vector

    @property
    def shrinks(self) -> bool:
        """Whether parameters may be multiplied by a number, as weight decay does."""
        return self.manifold.is_flat

    @property
    def numbers(self) -> tuple[Parameter, ...]:
        """What may be set."""
        taken = {entry.name for entry in self.hyperparameters} | {*dict(self.settings)}
        left = (entry for entry in self.system.parameters if entry.name not in taken)
        return (*self.hyperparameters, *left)


#: Optimizers whose parameters are matrices.
MatrixOptimizer = MatrixRule | ManifoldOptimizer
Problem = Mechanics | System
#: What layers of a network are made with.
LayerMethod = RungeKutta | Partitioned
#: What makes an integrator of a problem.
Integration = (
    RungeKutta | Partitioned | Splitting | ConstrainedSplitting | DiscreteGradient | Taylor
)
Declaration = (
    Hamiltonian
    | Mechanics
    | Splitting
    | ConstrainedSplitting
    | Update
    | Optimizer
    | Rule
    | Discretised
    | GradientSystem
    | UnknownSplitting
    | StateUpdate
    | RungeKutta
    | Partitioned
    | DiscreteGradient
    | Taylor
    | System
    | Field
    | Objective
    | MinimizationProblem
    | Manifold
    | MatrixRule
    | ManifoldOptimizer
)


def varied(declaration: Declaration) -> tuple[str, ...]:
    """What a caller set of a declaration, as options of the command line."""
    chosen: tuple[str, ...] = getattr(declaration, "varied", ())
    return chosen


def sources(declaration: Declaration) -> Iterator[Source]:
    """The texts of a declaration and of all it refers to."""
    yield declaration.head.source
    for part in _parts(declaration):
        if part.head.source is not declaration.head.source:
            yield from sources(part)


def _parts(value: Any) -> Iterator[Declaration]:
    """The declarations within one, or within how its coefficients are given."""
    for name in value.__dataclass_fields__:
        field_value = getattr(value, name)
        for part in field_value if isinstance(field_value, tuple) else (field_value,):
            if hasattr(part, "head"):
                yield part
            elif type(part).__module__ == __name__:
                yield from _parts(part)
