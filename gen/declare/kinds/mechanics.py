"""Hamiltonians and systems: energies without coordinates, problems with their own."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.kinds.parts import Head, Parameter


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
