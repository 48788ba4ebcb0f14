"""A step of an optimizer: stages that each begin with a gradient, and the host's scalars.

:class:`Program` puts functions of :mod:`ir` into the slots of its driver; :class:`Host` says how
their scalars follow from hyper-parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.declare.kinds import Parameter
from hamilforge.gen.declare.read_loops import WORKERS
from hamilforge.gen.derive.symbols import LOSS
from hamilforge.gen.program.ir import Expr, Function, Line


@dataclass(frozen=True, slots=True)
class Host:
    """The scalars of a step: from hyper-parameters, time ``t``, number ``n`` and memory.

    Attributes:
        inputs: hyper-parameters, then ``t``, ``n`` and ``J``, the loss, where they occur.
        constants: named numbers, exactly.
        body: the lines.
        rows: for each stage, and for the outer step, the line that is each scalar of its function.
        memory: what the next step remembers: name and line; zero before the first step.
        start: the lines by which the scalars of the start function follow from hyper-parameters.
        start_row: the line that is each of these scalars.
        requirements: conditions on hyper-parameters, and what is said where one does not hold.
        closes: the line that says whether a step is the last of a loop; empty where there is none.
        solution: for the solution map, the line that is each of its scalars.
        guards: lines that must exceed a number: a time before which the friction has no meaning.
        step: the line by which the clock advances; empty where nothing depends on the time.
    """

    inputs: tuple[str, ...]
    constants: tuple[Line, ...]
    body: tuple[Line, ...]
    rows: tuple[tuple[str, ...], ...]
    memory: tuple[tuple[str, str], ...]
    solution: tuple[str, ...]
    guards: tuple[tuple[str, Fraction], ...]
    step: str
    start: tuple[Line, ...] = ()
    start_row: tuple[str, ...] = ()
    requirements: tuple[tuple[Expr, str], ...] = ()
    closes: str = ""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where a step begins and ends in q and p, for proofs; ``last__`` marks what the last step had.

    Attributes:
        position: q in ``x`` and the buffer.
        momentum: p in the buffer and, where kicks of two steps were joined, ``g`` at ``x``.
        buffer: the buffer in ``p`` and ``g`` at the point.
        point: the point in ``q`` and the buffer.
    """

    position: Expr
    momentum: Expr
    buffer: Expr
    point: Expr


@dataclass(frozen=True, slots=True)
class Program:
    """An optimizer step: a schedule of stages, each beginning with a gradient.

    Attributes:
        hyperparameters: what the user sets, in order.
        settings: what h and the parameters of system and method are, in the hyper-parameters.
        states: the names of the state's arrays, zero before the first step but for what the start
            function says.
        scope: over what sums run; ``coordinate`` where there are none.
        functions: the different functions of the stages.
        stages: for each stage, the index of its function.
        outer: the indices of the functions of the outer step, which takes no gradient and follows
            the last stage where a loop ends; none where there are no loops.
        averages: the states that become means over workers before the last of these.
        shared: the states that are a number for each scope of sums, all entries equal.
        held: the states that keep what the last step computes on the way, for the outer step.
        solution: the map from the point to the solution.
        shifted: whether the point is not the solution.
        boundary: the ends of a step in q and p, for proofs; None where there are none.
        start_time: t at the first step.
        start: the states that do not begin at zero, from the point; None where all do.
        decays: for each stage, whether L2 decay is added to its gradient; at all of them if empty.
        options: defaults of the options that every optimizer has.
        counts: what counts steps: a ``group``, or each ``parameter`` where no sum goes further.
        noises: the arrays of independent standard normal numbers that functions read, in the order
            of their occurrences.
    """

    name: str
    hyperparameters: tuple[Parameter, ...]
    settings: tuple[Line, ...]
    states: tuple[str, ...]
    scope: str
    host: Host
    functions: tuple[Function, ...]
    stages: tuple[int, ...]
    solution: Function
    shifted: bool
    boundary: Boundary | None
    start_time: Fraction
    start: Function | None = None
    decays: tuple[bool, ...] = ()
    options: tuple[tuple[str, Fraction | bool], ...] = ()
    counts: str = "group"
    noises: tuple[str, ...] = ()
    outer: tuple[int, ...] = ()
    averages: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    @property
    def common(self) -> tuple[str, ...]:
        """The states that are the same in all workers that begin alike, but for the means."""
        same = {*self.states} if self.averages else set()
        count = -1
        while len(same) != count:
            count = len(same)
            for function in self.functions:
                for home, end in function.results:
                    if home not in self.averages and function.reads(end.name) - same:
                        same.discard(home)
        return tuple(name for name in self.states if name in same and name not in self.averages)

    @property
    def calls(self) -> tuple[int, ...]:
        """The index of each function that a step may run, in order: its stages, the outer step."""
        return (*self.stages, *self.outer)

    @property
    def counts_workers(self) -> bool:
        """Whether the host reads how many workers there are."""
        own = (entry.name for entry in self.hyperparameters)
        return WORKERS in self.host.inputs and WORKERS not in own

    @property
    def reads_loss(self) -> bool:
        """Whether a step reads the loss at the point of its gradient."""
        own = {entry.name for entry in self.hyperparameters}
        return LOSS in {*self.host.inputs} - own

    @property
    def own_decay(self) -> bool:
        """Whether the rule has a weight decay of its own instead of that option."""
        return any(entry.name == "weight_decay" for entry in self.hyperparameters)

    @property
    def decaying(self) -> tuple[bool, ...]:
        """For each call, whether L2 decay is added to its gradient."""
        stages = self.decays or (True,) * len(self.stages)
        return (*stages, *(False for _ in self.outer))

    @property
    def buffer(self) -> str:
        """The one array that a rule made of a Hamiltonian keeps."""
        (name,) = self.states
        return name
