"""Optimizers that are assignments: rules of which no differential equation is declared.

In: the file of an optimizer with ``unknowns`` and ``assign``.  Out: a :class:`Rule`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import ExpressionError, did_you_mean
from hamilforge.gen.declare.expression import (
    AVERAGE,
    ELEMENTWISE,
    NOISE,
    REDUCTIONS,
    Expression,
    Name,
    Number,
    numerical,
)
from hamilforge.gen.declare.kept_scalars import following_sums
from hamilforge.gen.declare.kinds import Assignment, Shape
from hamilforge.gen.declare.read_loops import LOOPS, PLACE, RESERVED, WORKERS, loop
from hamilforge.gen.declare.read_parts import (
    Find,
    assignments,
    default_numbers,
    hyperparameters,
    names_at,
    place_of,
    scope,
)
from hamilforge.gen.declare.read_reductions import reductions
from hamilforge.gen.declare.reader import Reader, shortened
from hamilforge.gen.declare.shapes import SCALAR, VECTOR, infer_shape, written

#: What a rule may do itself, by a hyper-parameter of the option's name.
DECAY = "weight_decay"
#: Names that a rule may have for its own.
OWN = frozenset({DECAY, "q", "p"})
#: Options whose defaults a rule may choose, with what a value must be.
_DEFAULTS: Mapping[str, type] = {"weight_decay": Fraction, "decoupled_weight_decay": bool}
_KEYS = (
    *("unknowns", "scalars", "assign", "solution", "hyperparameters"),
    *("start", "reduce", "options", "require", "reductions", "outer", "scope"),
)
_CALLS = (*ELEMENTWISE, *REDUCTIONS)
#: The loss at the point of the gradient.
_LOSS = ("J",)


def rule(reader: Reader, head: kinds.Head, find: Find) -> kinds.Rule:
    """Read unknowns, of which the first is the point, and assignments to them, in order.

    Args:
        reader: the file.
        head: name, title, reference, claims and source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The rule, its types checked.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys(_KEYS)
    numbers = hyperparameters(reader, OWN, more=kinds.DISCRETE)
    taken = {name for entry in numbers for name in (entry.name, entry.part_of)}
    unknowns = names_at(reader, "unknowns", taken=taken)
    scalars = names_at(reader, "scalars", taken={*taken, *unknowns}, optional=True)
    over = scope(reader)
    lines = assignments(reader, (*unknowns, *scalars)) or ()
    solution = expression_at(reader, "solution")
    chosen, decay_at = options(reader, {entry.name for entry in numbers})
    start = [
        (name, value)
        for name, text in reader.table("start").items()
        if (value := reader.expression(text, "start", name))
    ]
    required = requirements(reader)
    others = reductions(reader, numbers, unknowns, find)
    looped = loop(reader, unknowns)
    if looped:
        unknowns, start = (*unknowns, *looped.unknowns), [*start, *looped.start]
        if solution and looped.solution:
            reader.problem("there is another one in [outer]", "solution")
        solution = solution or looped.solution
    reader.finish()
    declared = kinds.Rule(
        head,
        numbers,
        unknowns,
        scalars,
        tuple(start),
        lines,
        solution,
        over,
        chosen,
        decay_at,
        required,
        others,
        looped,
    )
    Check(reader, declared).run()
    reader.finish()
    return declared


def expression_at(reader: Reader, *path: str) -> Expression | None:
    """An expression where there is one."""
    text: Any = reader.source.tables
    for key in path:
        text = text.get(key) if isinstance(text, Mapping) else None
    return None if text is None else reader.expression(text, *path)


def options(
    reader: Reader, own: set[str]
) -> tuple[tuple[tuple[str, Fraction | bool], ...], Expression | None]:
    """Defaults of options, and the point whose gradient decays."""
    chosen: list[tuple[str, Fraction | bool]] = []
    known = (*_DEFAULTS, "decay_at")
    for name, value in reader.table("options").items():
        at = ("options", name)
        if name not in known:
            message = f"no option that has a default here; expected one of {', '.join(known)}"
            reader.problem(message + did_you_mean(name, known), *at)
        elif DECAY in own:
            reader.problem("the rule has a hyper-parameter weight_decay, and does its own", *at)
        elif name == "decay_at":
            continue
        elif _DEFAULTS[name] is bool:
            if not isinstance(value, bool):
                reader.problem(f"true or false was expected, not {shortened(value)}", *at)
            chosen.append((name, value is True))
        else:
            number = reader.number(value, *at)
            if number < 0:
                reader.problem(f"{number} is negative", *at)
            chosen.append((name, number))
    return tuple(chosen), expression_at(reader, "options", "decay_at")


def requirements(reader: Reader) -> tuple[tuple[Expression, str], ...]:
    """``[require]``: conditions, with what is said where one does not hold."""
    return tuple(
        (condition, reader.text("require", text))
        for text in reader.table("require")
        if (condition := reader.condition(text, "require", text))
    )


def refuse_unmet(
    reader: Reader,
    requirements: Iterable[tuple[Expression, str]],
    hyperparameters: Iterable[kinds.Parameter],
) -> None:
    """Note conditions that do not hold at the defaults, with one worker.

    Args:
        reader: the file.
        requirements: conditions, with what is said where one does not hold.
        hyperparameters: with their defaults.
    """
    defaults = {WORKERS: mpmath.mpf(1), **default_numbers(hyperparameters)}
    for condition, _ in requirements:
        try:
            holds = numerical(condition.tree, defaults) > 0
        except ZeroDivisionError:
            reader.problem("divides by zero at the defaults", "require", condition.text)
            continue
        except (ArithmeticError, TypeError, ValueError):
            continue  # of what has no value something is said already
        if not holds:
            reader.problem("does not hold at the defaults", "require", condition.text)


class Check:
    """The types of all that a rule computes, and what each must not be."""

    def __init__(self, reader: Reader, rule: kinds.Rule) -> None:
        self._reader, self._rule = reader, rule
        names = [*(entry.name for entry in rule.hyperparameters), "n", *rule.scalars]
        # the loss, unless the rule has another use for its name
        self._types: dict[str, Shape] = {name: SCALAR for name in (*_LOSS, *names)}
        self._types |= {name: VECTOR for name in rule.unknowns}
        self._taken = {*self._types} - {*rule.unknowns, *rule.scalars, *_LOSS}
        if rule.loop:
            schedules = [name for name, _ in rule.loop.schedules]
            self._types |= dict.fromkeys((LOOPS, PLACE, *schedules), SCALAR)
            self._taken |= {*RESERVED, *schedules}

    def run(self, whole: bool = True) -> None:
        """Note what is wrong.

        Args:
            whole: whether it is a whole rule: a hyper-parameter that nothing reads is wrong then.
        """
        self._start()
        self._assignments(self._rule.assignments, ("assign",))
        self._loop()
        self._complete()
        self._uses(whole)

    def outer_step(self) -> None:
        """Note what is wrong with the outer step of a rule whose steps inside are derived."""
        self._start()
        self._loop()
        if self._rule.solution:
            self._typed(self._rule.solution, VECTOR, "outer", "solution")

    def _typed(
        self, value: Expression, wanted: Shape | None, *path: str | int, known: Any = None
    ) -> Shape:
        """The type of an expression; what is not fit for its place is noted."""
        if AVERAGE in value.functions() and path[:2] != ("outer", "assign"):
            message = f"{AVERAGE}(...) is the mean over workers, and stands in [outer] alone"
            self._reader.problem(message, *path)
            return wanted or SCALAR
        calls: tuple[str, ...] = _CALLS
        calls += ("grad",) if path[0] == "assign" else ()
        calls += (NOISE,) if "assign" in path else ()
        calls += (AVERAGE,) if path[:2] == ("outer", "assign") else ()
        try:
            shape = infer_shape(value, self._types if known is None else known, calls)
            if wanted is not None and shape != wanted:
                article = "a scalar" if shape == SCALAR else written(shape)
                message = f"{article}; {written(wanted)} was expected"
                raise ExpressionError(message, 0, len(value.text))
        except ExpressionError as error:
            self._reader.at_expression(value.text, error, path)
            return wanted or SCALAR
        return shape

    def _start(self) -> None:
        rule, reader = self._rule, self._reader
        point, *states = rule.unknowns
        numbers = {entry.name: SCALAR for entry in rule.hyperparameters}
        in_arrays = {*states, *following_sums(rule.assignments, rule.scalars)}
        for name, value in rule.start:
            at = ("start", name)
            if name == point:
                reader.problem("the point starts where the parameters are", *at)
            elif name not in (*states, *rule.scalars):
                known = (*states, *rule.scalars)
                reader.problem(f"'{name}' is not kept" + did_you_mean(name, known), *at)
            elif others := sorted(value.names() & {*states, *rule.scalars}):
                reader.problem(
                    f"a start is in {point} and hyper-parameters; {others[0]} has none yet", *at
                )
            else:
                readable = numbers | ({point: VECTOR} if name in in_arrays else {})
                wanted = SCALAR if name in rule.scalars else None
                self._typed(value, wanted, *at, known=readable)
        workers = {WORKERS: SCALAR} if rule.loop else {}
        for condition, _ in rule.requirements:
            known_there = {**numbers, **workers}
            self._typed(condition, SCALAR, "require", condition.text, known=known_there)
        refuse_unmet(reader, rule.requirements, rule.hyperparameters)

    def _assignments(self, lines: Iterable[Assignment], table: tuple[str, ...]) -> None:
        """Assignments of the step, or of the outer one."""
        rule, reader = self._rule, self._reader
        assigned: set[str] = set()
        for assignment in lines:
            target, value = assignment.target, assignment.value
            place: tuple[str | int, ...] = (*table, assignment.number)
            if target in assigned:
                reader.problem(f"'{target}' is assigned twice", *place)
            elif target in self._taken:
                reader.problem(f"'{target}' cannot be assigned: it has a meaning already", *place)
            wanted = VECTOR if target in rule.unknowns else None
            wanted = SCALAR if target in rule.scalars else wanted
            self._types[target] = self._typed(value, wanted, *place)
            assigned.add(target)

    def _loop(self) -> None:
        """The outer step, which sees what the step inside computes, and the schedules."""
        rule, reader, looped = self._rule, self._reader, self._rule.loop
        if looped is None:
            return
        numbers: dict[str, Shape] = {entry.name: SCALAR for entry in rule.hyperparameters}
        for entry in rule.hyperparameters:
            if entry.name in RESERVED:
                message = f"'{entry.name}' has a meaning where there is a loop"
                reader.problem(message, *place_of(reader, entry))
        for name in sorted({*rule.unknowns, *rule.scalars} & {*RESERVED}):
            reader.problem(f"'{name}' has a meaning where there is a loop", "unknowns")
        every = looped.every.tree
        counts = {entry.name for entry in rule.hyperparameters if entry.domain == kinds.COUNT}
        whole = isinstance(every, Number) and every.value >= 1 and every.value.denominator == 1
        if not (whole or (isinstance(every, Name) and every.name in counts)):
            message = 'a whole number or a hyper-parameter with domain = "count" was expected'
            reader.problem(message, "outer", "every")
        known: dict[str, Shape] = {**numbers, LOOPS: SCALAR, WORKERS: SCALAR}
        for name, value in looped.schedules:
            if name in {*numbers, *rule.unknowns, *rule.scalars, *RESERVED}:
                reader.problem(f"'{name}' is declared twice", "scope", name)
            self._typed(value, SCALAR, "scope", name, known=known)
            known[name] = SCALAR
        for assignment in looped.assignments:
            if "grad" in assignment.value.functions():
                message = "an outer step takes no gradient"
                reader.problem(message, "outer", "assign", assignment.number)
        inner = self._types
        locals_ = {line.target for line in rule.assignments} - {*rule.scalars}
        self._types = {**known, "n": SCALAR, PLACE: SCALAR}
        self._types |= {name: inner[name] for name in (*locals_, *rule.unknowns)}
        self._assignments(looped.assignments, ("outer", "assign"))
        self._types = inner
        self._workers(looped)

    def _workers(self, looped: kinds.Loop) -> None:
        """How many workers there are is a matter of rules that take a mean over them."""
        if looped.averages:
            return
        values: list[tuple[Expression, tuple[str | int, ...]]] = [
            (condition, ("require", condition.text)) for condition, _ in self._rule.requirements
        ]
        values += [(value, ("scope", name)) for name, value in looped.schedules]
        values += [(line.value, ("outer", "assign", line.number)) for line in looped.assignments]
        for value, place in values:
            if WORKERS in value.names():
                message = f"{WORKERS} is how many there are to take an average(...), and none is"
                self._reader.problem(message, *place)

    def _complete(self) -> None:
        """Everything that is kept is assigned, and a gradient is taken."""
        rule, reader = self._rule, self._reader
        assigned = {assignment.target for assignment in rule.assignments}
        outer = rule.loop.assignments if rule.loop else ()
        assigned |= {assignment.target for assignment in outer}
        for name in (*rule.unknowns, *rule.scalars):
            if name not in assigned:
                reader.problem(f"'{name}' is never assigned", "assign")
        if not any("grad" in assignment.value.functions() for assignment in rule.assignments):
            reader.problem(f"a rule needs grad({rule.unknowns[0]})", "assign")
        if rule.solution:
            self._typed(rule.solution, VECTOR, "solution")
        if rule.decay_at:
            self._typed(rule.decay_at, VECTOR, "options", "decay_at")

    def _uses(self, all_of_them: bool) -> None:
        rule, reader = self._rule, self._reader
        values = [assignment.value for assignment in rule.assignments]
        values += [value for _, value in rule.start]
        values += [rule.solution] if rule.solution else []
        schedules: tuple[str, ...] = ()
        if looped := rule.loop:
            values += [assignment.value for assignment in looped.assignments]
            values += [looped.every, *(value for _, value in looped.schedules)]
            schedules = tuple(name for name, _ in looped.schedules)
        used = set().union(*(value.names() for value in values))
        for name in schedules:
            if name not in used:
                reader.problem(f"'{name}' is used nowhere", "scope", name)
        kept = {*rule.unknowns, *rule.scalars}
        outer = rule.loop.assignments if rule.loop else ()
        read = set().union(*(line.value.names() for line in outer))
        tables = ((("assign",), rule.assignments, used), (("outer", "assign"), outer, read))
        for table, lines, names in tables:
            for line in lines:
                if line.target not in kept | names:
                    reader.problem(f"'{line.target}' is used nowhere", *table, line.number)
        for parameter in rule.hyperparameters if all_of_them else ():
            if parameter.name not in used:
                at = place_of(reader, parameter)
                reader.problem(f"'{parameter.name}' is used nowhere", *at)
