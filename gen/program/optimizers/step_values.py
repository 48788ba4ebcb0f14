"""What a step computes, value by value, and at which of its gradients.

In: assignments to unknowns, scalars and locals.  Out: arrays as values that are set once, each in
the stage whose gradient it may read; numbers as lines of the host.  A gradient at another point
than the last one begins a new stage.  A scalar that is kept and follows from a sum has a value only
when arrays have been read, one for each scope of sums: it is kept in an array of the state, whose
entries are all equal within a scope.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError, Problem, caret, key_text
from hamilforge.gen.declare.expression import AVERAGE, NOISE, Expression, Name, walk
from hamilforge.gen.declare.kept_scalars import following_sums
from hamilforge.gen.declare.kinds import (
    FLAG,
    ZERO_IN_DOMAIN,
    Loop,
    Parameter,
    Rule,
    StateUpdate,
)
from hamilforge.gen.declare.read_loops import LOOP_SCALARS, LOOPS, PLACE, WORKERS
from hamilforge.gen.declare.toml_source import Source
from hamilforge.gen.derive.calculus import (
    FUNCTIONS,
    Coordinate,
    Expr,
    Total,
    coordinates,
    is_host,
    to_sympy,
)
from hamilforge.gen.derive.optimizers.rotation import g, x
from hamilforge.gen.derive.scheme import PROGRAM_NAMES, noise_named
from hamilforge.gen.derive.symbols import LOSS, loss, n, parameter_symbol

workers = sp.Symbol(WORKERS, positive=True)
#: A key of a declaration, from the outermost table on.
Place = tuple[str | int, ...]
#: What no number of a declaration is.
INFINITE = (sp.zoo, sp.nan, sp.oo, sp.I)


@dataclass(frozen=True, slots=True)
class ArrayValue:
    """An array that is computed once.

    Attributes:
        symbol: what later values call it.
        stage: the stage in which it is computed.
        value: in symbols of the values before it.
        note: what was typed.
    """

    symbol: Coordinate
    stage: int
    value: Expr
    note: str


@dataclass(slots=True)
class StepValues:
    """All values of a step.

    Attributes:
        hyper: the symbols of the hyper-parameters.
        old, final: the unknowns before and after the step; the point first.
        arrays: what is computed, by symbol and in order.
        points, gradients: of each stage.
        ahead: the point of the first gradient in the unknowns before the step; None where it is
            the first unknown itself.
        lines: host numbers with a name, in order; of scalars that are kept too.
        memory: for each scalar the symbol of what the last step left, and its new value.
        start: for each state what it begins at, where that is not zero.
        scalar_start: the same of scalars.
        started: for each line of a scalar that begins so, what the last step left.
        solution: after a step.
        decays: for each stage, whether L2 decay is added to its gradient.
        noises: the arrays of noise, in the order in which they occur.
        requirements: conditions on hyper-parameters, and what is said where one does not hold.
        closes: the line that is 1 where the step is the last of a loop, else 0; None without loops.
        outer: what the outer step computes then.
        averages: for each array that is a mean over workers, of what; only an outer step has any.
        held: arrays that keep locals of the last step for the outer one.
        shared: arrays that keep a scalar which follows from a sum: a number for each scope of sums.
    """

    hyper: dict[str, sp.Symbol] = field(default_factory=dict)
    old: dict[str, Coordinate] = field(default_factory=dict)
    final: dict[str, Expr] = field(default_factory=dict)
    arrays: dict[Coordinate, ArrayValue] = field(default_factory=dict)
    points: list[Coordinate] = field(default_factory=list)
    gradients: list[Coordinate] = field(default_factory=list)
    ahead: Expr | None = None
    lines: dict[sp.Symbol, Expr] = field(default_factory=dict)
    memory: dict[str, tuple[sp.Symbol, Expr]] = field(default_factory=dict)
    start: dict[str, Expr] = field(default_factory=dict)
    scalar_start: dict[str, Expr] = field(default_factory=dict)
    started: dict[sp.Symbol, sp.Symbol] = field(default_factory=dict)
    solution: Expr | None = None
    decays: tuple[bool, ...] = ()
    noises: list[Coordinate] = field(default_factory=list)
    requirements: list[tuple[Expr, str]] = field(default_factory=list)
    closes: sp.Symbol | None = None
    outer: StepValues | None = None
    averages: dict[Coordinate, Coordinate] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    shared: tuple[str, ...] = ()

    @property
    def last(self) -> int:
        """The number of the last stage."""
        return len(self.points) - 1

    def needed(self, targets: Iterable[Coordinate]) -> dict[Coordinate, ArrayValue]:
        """The arrays that some of them follow from, in order, with these."""
        wanted = {*targets}
        for array in reversed(self.arrays.values()):
            wanted |= array.value.atoms(Coordinate) if array.symbol in wanted else set()
        return {symbol: array for symbol, array in self.arrays.items() if symbol in wanted}

    def written_out(self, expr: Expr) -> Expr:
        """An expression without the names of host lines; of scalars, what the last step left."""
        for symbol, value in reversed(self.lines.items()):
            expr = expr.xreplace({symbol: self.started.get(symbol, value)})
        return expr


class Recorder:
    """Takes what a step assigns, in order.

    Args:
        source: the file, for errors.
        hyperparameters: what users set.
        unknowns: the point, then the arrays of the state.
        of_sums: scalars that are kept and follow from sums, in arrays of the state as well.
        scalars: other numbers that are kept from step to step.
        scope: over what sums run.
        taken: names that are assigned later.
    """

    def __init__(
        self,
        source: Source,
        hyperparameters: Sequence[Parameter],
        unknowns: Sequence[str],
        of_sums: Sequence[str],
        scalars: Sequence[str],
        scope: str,
        taken: Iterable[str] = (),
    ) -> None:
        self._source, self._scope = source, scope
        self._unknowns, self._scalars = (*unknowns, *of_sums), scalars
        self.values = values = StepValues(shared=tuple(map(stored_name, of_sums)))
        values.hyper = {entry.name: _symbol(entry) for entry in hyperparameters}
        point, *states = self._unknowns
        values.old = {point: x} | {name: Coordinate(stored_name(name)) for name in states}
        self.known: dict[str, Expr] = {LOSS: loss, **values.hyper, "n": n, **values.old}
        self._at: Place = ()
        self._oracles = {"grad": self.gradient, NOISE: self.noise, AVERAGE: self.average}
        self._taken = {*PROGRAM_NAMES, *values.hyper, "n", *self._unknowns, *scalars, *taken}
        for name in scalars:
            last = sp.Symbol(self._unused(f"last_{name}"), real=True)
            values.memory[name] = (last, last)
            self.known[name] = last

    def _unused(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def start(self, name: str, value: Expr) -> None:
        """What a state or a scalar begins at, in the point ``x`` and hyper-parameters."""
        values = self.values
        if value == 0:
            return
        if name in self._scalars:
            values.scalar_start[name] = value
            started = sp.Symbol(self._unused(f"old_{name}"), real=True)
            values.lines[started] = _where_first(value, values.memory[name][0])
            values.started[started] = values.memory[name][0]
            self.known[name] = started
        else:
            values.start[name] = value

    def assign(
        self, target: str, value: Expr, note: str, at: Place = (), named: bool = False
    ) -> None:
        """An unknown, a scalar or a local becomes a value.

        Args:
            target: its name.
            value: in what is known.
            note: how it is written.
            at: where in the file, for errors.
            named: whether a number becomes a line of its own.
        """
        values = self.values
        follows = target in values.old and not is_host(value)  # of a sum or of entries
        if target in values.old and not follows:
            message = f"'{target}' becomes the number {value}, without entries"
            raise self.refused(note, message, at)
        if target in self._scalars:
            self.known[target] = self._line(target, value)
            values.memory[target] = (values.memory[target][0], self.known[target])
        elif follows or coordinates(value):
            name = values.old[target].name if target in values.old else target
            symbol = Coordinate(f"{name}_new" if target in values.old else name)
            while symbol in values.arrays:  # an unknown that moves more than once
                symbol = Coordinate(f"{symbol.name}_")
            stage = max(values.last, 0)
            values.arrays[symbol] = ArrayValue(symbol, stage, value, note)
            self.known[target] = symbol
        elif is_host(value) and not value.is_Atom and named:
            self.known[target] = self._line(target, value)
        else:
            self.known[target] = value

    def begin_loop(self, loop: Loop) -> None:
        """Count steps and loops, and compute what holds to the end of a loop.

        ``l = 1`` where the last loop has ended, else one more; the numbers of :data:`LOOP_SCALARS`
        and schedules are kept from step to step.
        """
        known, values = self.known, self.values
        last = {name: values.memory[name][0] for name in self._scalars if name in values.memory}
        place, length = last[PLACE], last["loop_length"]
        ended = FUNCTIONS["at_least"](place, length)
        self.assign(PLACE, FUNCTIONS["where"](ended, sp.Integer(1), place + 1), "")
        known[LOOPS] = last["loops"]
        first = FUNCTIONS["equal"](known[PLACE], 1)
        begun = {"loop_length": ("outer", "every"), **{s: ("scope", s) for s, _ in loop.schedules}}
        begin = {**values.hyper, LOOPS: last["loops"], WORKERS: workers}
        for name, value in (("loop_length", loop.every), *loop.schedules):
            now = self.converted(value, begin, begun[name])
            self.assign(name, FUNCTIONS["where"](first, now, last[name]), "")
            begin[name] = known[name]
        closes = FUNCTIONS["at_least"](known[PLACE], known["loop_length"])
        values.closes = self._line("closes", closes)
        loops = self._line("loops", last["loops"] + values.closes)
        values.memory["loops"] = (last["loops"], loops)

    def end_loop(self, loop: Loop) -> None:
        """Take the assignments of the outer step, in what the last step leaves.

        Arrays of the last step that are read and means over workers become arrays of the state.
        """
        values = self.values
        after = Recorder(
            self._source,
            (),
            self._unknowns,
            (),
            (),
            self._scope,
            (a.target for a in loop.assignments),
        )
        self._taken |= after._taken | {*self.known}
        after._taken = self._taken
        after.values.noises = values.noises  # they are numbered through
        own = (*values.hyper, LOOPS, PLACE, "n", *(name for name, _ in loop.schedules))
        after.known |= {name: self.known[name] for name in own} | {WORKERS: workers}
        assigned: set[str] = set()
        for assignment in loop.assignments:
            at = ("outer", "assign", assignment.number)
            for name in sorted(assignment.value.names() - assigned - {*after.known}):
                after.known[name] = self._held(name, assignment.value.text, at)
            after._at = at
            value = after.converted(assignment.value, after.known, at)
            after.assign(assignment.target, value, assignment.value.text, at)
            assigned.add(assignment.target)
        after.values.final = {name: after.known[name] for name in after._unknowns}
        values.outer = after.values
        for mean in after.values.averages:
            values.old[mean.name] = self.known[mean.name] = mean
            self._unknowns = (*self._unknowns, mean.name)

    def _held(self, name: str, text: str, at: Place) -> Expr:
        """What the last step of a loop computes on the way, for the outer step.

        Args:
            name: of a local.
            text: where it is read.
            at: the same in the file, for errors.

        Returns:
            The number, or an array of the state that keeps what the local is.
        """
        local = self.known[name]
        if is_host(local):
            return local
        if not isinstance(local, Coordinate):
            raise self.refused(text, f"'{name}' is a sum over entries, which is not kept", at)
        if local in self.values.old.values():
            return local
        kept = Coordinate(self._unused(f"{name}_kept"))
        self.values.old[kept.name] = kept
        self.values.held.append(kept.name)
        self.known[kept.name] = local
        self._unknowns = (*self._unknowns, kept.name)
        return kept

    def average(self, argument: Expr) -> Coordinate:
        """The mean of an array over workers.

        Raises:
            DeclarationError: what it is taken of follows from another mean.
        """
        values = self.values
        olds = {symbol: name for name, symbol in values.old.items()}
        name = "mean"
        if isinstance(argument, Coordinate):
            name = f"{olds.get(argument, argument.name.removesuffix('_new'))}_mean"
        else:
            symbol = Coordinate(self._unused("averaged"))
            values.arrays[symbol] = ArrayValue(symbol, 0, argument, "what a mean is taken of")
            argument = symbol
        known = {of: mean for mean, of in values.averages.items()}
        if argument in known:
            return known[argument]
        reads = {argument}.union(
            *(array.value.atoms(Coordinate) for array in values.needed([argument]).values())
        )
        if others := reads & {*values.averages}:
            of = values.averages[min(others, key=str)]
            message = (
                f"a mean over workers of what follows from that of {olds.get(of, of)}: all means "
                "of an outer step are taken at once"
            )
            raise self.refused("", message, self._at)
        mean = Coordinate(self._unused(name))
        values.averages[mean] = argument
        return mean

    def _line(self, name: str, value: Expr) -> sp.Symbol:
        """A host number with a name of its own."""
        symbol = sp.Symbol(name, real=True)
        self.values.lines[symbol] = value
        return symbol

    def gradient(self, point: Expr) -> Expr:
        """The gradient at a point, which may begin a new stage."""
        values, first = self.values, self.values.old[self._unknowns[0]]
        if point in values.points:
            return values.gradients[values.points.index(point)]
        if not values.points and point != first:
            values.ahead = self._in_old(point)
            if values.ahead.has(*values.noises):
                message = "the first gradient of a step is taken at a point without noise"
                raise self.refused("", message, ("assign",))
        if not isinstance(point, Coordinate):
            symbol = Coordinate(self._unused("point"))
            stage = max(values.last, 0)
            values.arrays[symbol] = ArrayValue(symbol, stage, point, "where the gradient is taken")
            point = symbol
        values.points.append(point)
        number = len(values.points)
        values.gradients.append(g if number == 1 else Coordinate(f"g_{number}"))
        return values.gradients[-1]

    def noise(self) -> Coordinate:
        """An array of noise that no other one is."""
        noises = self.values.noises
        noises.append(noise_named(len(noises) + 1, self._taken))
        self._taken.add(noises[-1].name)
        return noises[-1]

    def _in_old(self, point: Expr) -> Expr:
        """A point in the unknowns before the step."""
        for symbol, array in reversed(self.values.arrays.items()):
            point = point.xreplace({symbol: array.value})
        return self.values.written_out(point)

    def finish(
        self,
        solution: Expression | None,
        decay_at: Expression | None,
        requirements: Iterable[tuple[Expression, str]],
    ) -> StepValues:
        """All values, with what is said of them.

        Args:
            solution: after a step; the point if None.
            decay_at: the point at whose gradient L2 decay is added; at every one if None.
            requirements: conditions on hyper-parameters, with what is said.

        Returns:
            The values.
        """
        values = self.values
        values.final = {name: self.known[name] for name in self._unknowns}
        if solution:
            values.solution = self.converted(solution, self.known, ("solution",))
        if decay_at:
            at = ("options", "decay_at")
            olds: dict[str, Expr] = {**self.known, **values.old}
            points = [self.converted(decay_at, known, at) for known in (self.known, olds)]
            values.decays = tuple(point in points for point in values.points)
            if not any(values.decays):
                raise self.refused(decay_at.text, "no gradient is taken there", at)
        own = {WORKERS: workers, **values.hyper}
        for condition, message in requirements:
            test = self.converted(condition, own, ("require", condition.text))
            values.requirements.append((test, message))
        return values

    def converted(self, expression: Expression, known: Mapping[str, Expr], at: Place) -> Expr:
        """What was typed, in what is known.

        Args:
            expression: of the declaration.
            known: what each name stands for.
            at: where it stands, for errors.

        Returns:
            The expression in SymPy.

        Raises:
            DeclarationError: it is no real number.
        """
        value = to_sympy(expression, known, self._oracles)
        if value.has(*INFINITE):
            raise self.refused(expression.text, "divides by zero, or is no real number", at)
        return value.replace(Total, lambda entry: entry) if self._scope == "coordinate" else value

    def refused(self, text: str, message: str, at: Place) -> DeclarationError:
        """An error about a text of the declaration.

        Args:
            text: what is wrong.
            message: why.
            at: where it stands.

        Returns:
            The error.
        """
        key = key_text(at)
        where, line = self._source.where, self._source.line(*at) if at else None
        excerpt = caret(text, 0, len(text)) if text else ""
        return DeclarationError((Problem(where, line, key, message, excerpt),))


def _symbol(parameter: Parameter) -> sp.Symbol:
    """A hyper-parameter as a symbol; what is typed is also meant where it is 0."""
    if parameter.domain == FLAG:
        return sp.Symbol(parameter.name, integer=True, nonnegative=True)
    if parameter.domain in ZERO_IN_DOMAIN:
        return sp.Symbol(parameter.name, nonnegative=True)
    return parameter_symbol(parameter)


def stored_name(name: str) -> str:
    """The array of an unknown of this name, unlike those that every program has."""
    return f"{name}_state" if name in PROGRAM_NAMES else name


def _where_first(first: Expr, later: Expr) -> Expr:
    """One value in the first step, and another one after it."""
    value: Expr = FUNCTIONS["where"](FUNCTIONS["equal"](n, 1), first, later)
    return value


def record(
    recorder: Recorder,
    rule: Rule | StateUpdate,
    known: Mapping[str, Expr] = MappingProxyType({}),
) -> None:
    """Hand the starts and assignments of a rule or an update to a recorder.

    Args:
        recorder: takes them.
        rule: what was declared.
        known: what further names stand for.
    """
    values, point = recorder.values, rule.unknowns[0]
    recorder.known |= known
    begin: dict[str, Expr] = {**values.hyper, **known, point: x}
    for name, expression in rule.start:
        recorder.start(name, recorder.converted(expression, begin, ("start", name)))
    uses = _uses(rule)
    for assignment in rule.assignments:
        at = ("assign", assignment.number)
        value = recorder.converted(assignment.value, recorder.known, at)
        target = assignment.target
        recorder.assign(target, value, assignment.value.text, at, named=uses[target] > 1)


def loop_scalars(loop: Loop | None) -> tuple[str, ...]:
    """What steps with a loop keep from step to step; nothing without one."""
    return (*LOOP_SCALARS, *(name for name, _ in loop.schedules)) if loop else ()


def rule_values(rule: Rule) -> StepValues:
    """The values of a rule.

    Raises:
        DeclarationError: a value is no real number, or has no meaning where it stands.
    """
    of_sums = following_sums(rule.assignments, rule.scalars)
    loop, of_loop = rule.loop, loop_scalars(rule.loop)
    recorder = Recorder(
        rule.head.source,
        rule.hyperparameters,
        rule.unknowns,
        of_sums,
        [*of_loop, *(name for name in rule.scalars if name not in of_sums)],
        rule.scope,
        (assignment.target for assignment in rule.assignments),
    )
    if loop:
        recorder.begin_loop(loop)
    record(recorder, rule)
    if loop:
        recorder.end_loop(loop)
    return recorder.finish(rule.solution, rule.decay_at, rule.requirements)


def _uses(rule: Rule | StateUpdate) -> Counter[str]:
    """How often each name is read."""
    values = [assignment.value for assignment in rule.assignments]
    values += [rule.solution] if rule.solution else []
    return Counter(
        node.name for value in values for node in walk(value.tree) if isinstance(node, Name)
    )
