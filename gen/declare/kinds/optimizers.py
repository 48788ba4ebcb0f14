"""Optimizers of parameters of any shape: from a Hamiltonian, from an equation, by assignments."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Union

from hamilforge.gen.declare.expression import AVERAGE, Expression
from hamilforge.gen.declare.kinds.mechanics import Hamiltonian
from hamilforge.gen.declare.kinds.parts import Assignment, Head, Parameter
from hamilforge.gen.declare.kinds.splittings import Method, Update
from hamilforge.gen.declare.kinds.tableaux import RungeKutta

SCOPES = ("all", "group", "tensor", "coordinate")


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
