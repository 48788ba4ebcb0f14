"""A rule becomes a program: a stage for each point at which a gradient is taken.

In: a :class:`Rule`.  Out: a :class:`Program` whose functions have a line for each array that is
assigned; what is a number before any array is read is computed on the host.  What a later stage
reads of an earlier one is kept in an array of the state, and so is the point of a rule whose first
gradient is taken somewhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import sympy as sp

from hamilforge.gen.declare.budget import at
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kinds import BETWEEN_0_AND_1, ZERO_IN_DOMAIN, Discretised, Rule
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.declare.read_loops import WORKERS
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.calculus import Coordinate, Expr, tidy
from hamilforge.gen.derive.optimizers.rotation import x
from hamilforge.gen.derive.symbols import loss, n
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.ir import Function, Line, Ref, entries, names
from hamilforge.gen.program.limits import finish
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.discretise import discretised_values
from hamilforge.gen.program.optimizers.functions import ArrayWriter, Hoist
from hamilforge.gen.program.optimizers.homes import Homes
from hamilforge.gen.program.optimizers.optimizer import Host, Program
from hamilforge.gen.program.optimizers.roots import roots_apart
from hamilforge.gen.program.optimizers.step_values import (
    ArrayValue,
    StepValues,
    rule_values,
    stored_name,
)

#: Optimizers whose steps are assignments to arrays: typed, or of a method for a gradient system.
Assigned = Rule | Discretised


@dataclass(frozen=True, slots=True)
class RuleDerivation:
    """A rule and its program; proofs, documents and templates read them.

    Attributes:
        first: where the parameters are before a step, in the arrays of the unknowns; None where
            they are the first unknown.
    """

    optimizer: Assigned
    program: Program
    first: IrExpr | None


@remembered
def derive_rule(rule: Assigned) -> RuleDerivation:
    """Derive the program of a rule, or of a method for a gradient system.

    Raises:
        DeclarationError: a scalar is infinite on the domain of the hyper-parameters, or the first
            gradient is not taken where the parameters are.
    """
    with at("the program of its step"):
        values = rule_values(rule) if isinstance(rule, Rule) else discretised_values(rule)
        builder = _Builder(rule, values)
        return RuleDerivation(rule, builder.program(), builder.first)


class _Builder:
    def __init__(self, rule: Assigned, values: StepValues) -> None:
        self._rule, self._values = rule, values
        self._fractions = {
            parameter.name
            for parameter in rule.hyperparameters
            if parameter.domain in BETWEEN_0_AND_1
        }
        point = rule.unknowns[0]
        #: The symbols of the unknowns that live in arrays of their own, before and after a step.
        self._states = {
            symbol.name: (symbol, values.final[name])
            for name, symbol in values.old.items()
            if name != point
        }
        self._end = values.final[point]
        #: Arrays of the state that become means over workers, and of what.
        self._averages = values.outer.averages if values.outer else {}
        self.first: IrExpr | None = None
        if values.ahead is not None and values.outer is not None:
            raise DeclarationError.single(
                rule.head.source.where,
                f"the first gradient of a step is taken where the parameters are not; with [outer] "
                f"it is taken at {point}, the first unknown, so let that be where it is wanted",
                "assign",
            )
        if values.ahead is not None:
            self._refuse_another_start()
            self._keep_point(point)
        self._homes = Homes(values, self._states, self._end)
        arrays = ("x", *self._states, *self._homes.kept.values(), "g")
        self._arrays = tuple(dict.fromkeys(arrays))
        lines = {symbol.name for symbol in values.arrays}
        fresh = (f"{name}_new" for name in self._arrays)
        self._noises = tuple(symbol.name for symbol in values.noises)
        self._hoist = Hoist((*self._arrays, *self._noises, *fresh, *lines, "n"))
        self._solution_hoist = Hoist((*self._arrays, "x_new"))

    # --- a first gradient somewhere else ----------------------------------------------------------

    def _refuse_another_start(self) -> None:
        """The first gradient of all is taken at the parameters as they are."""
        values, rule = self._values, self._rule
        starts = {
            symbol: values.start.get(name, sp.Integer(0))
            for name, symbol in values.old.items()
            if name != rule.unknowns[0]
        }
        starts |= {
            last: values.scalar_start.get(name, sp.Integer(0))
            for name, (last, _) in values.memory.items()
        }
        assert values.ahead is not None
        first = sp.simplify(values.ahead.xreplace({**starts, n: sp.Integer(1)}) - x)
        if first != 0:
            raise DeclarationError.single(
                rule.head.source.where,
                f"the first gradient of the first step is taken at {rule.unknowns[0]} + {first}, "
                "where the parameters are not; choose another [start]",
                "assign",
            )

    def _keep_point(self, point: str) -> None:
        """The parameters hold where the next gradient is taken; the unknown has its own array."""
        values = self._values
        name = stored_name(point)
        own = Coordinate(name)
        self._states = {name: (own, values.final[point]), **self._states}
        values.start[point] = x
        values.old[point] = own
        swap = {x: own}
        for symbol, array in values.arrays.items():
            if symbol in values.points[:1]:
                continue
            changed = array.value.xreplace(swap)
            values.arrays[symbol] = type(array)(symbol, array.stage, changed, array.note)
        ends = {old: end for old, end in self._states.values()}
        ends |= dict(values.memory.values())
        assert values.ahead is not None
        ahead = values.ahead.xreplace(swap)
        names = {symbol: name for name, (symbol, _) in self._states.items()}
        self.first = lower(ahead, names)
        self._end = ahead.xreplace({n: n + 1}).subs(ends, simultaneous=True)
        values.arrays.pop(values.points[0], None)
        if values.solution is None:
            values.solution = values.final[point]

    # --- the program ------------------------------------------------------------------------------

    def program(self) -> Program:
        """The program."""
        values, rule = self._values, self._rule
        functions = [self._function(stage) for stage in range(len(values.points))]
        solution, solution_scalars = self._solution()
        start, start_lines, start_row = self._start()
        outer = self._outer()
        functions += outer
        host = self._host(functions, solution_scalars, start_lines, start_row)
        stages = tuple(range(len(values.points)))
        sums = any(function.sums for function in functions)
        return Program(
            name=rule.head.name,
            hyperparameters=rule.hyperparameters,
            settings=(),
            states=self._arrays[1:-1],
            scope=rule.scope if sums else "coordinate",
            host=host,
            functions=tuple(functions),
            stages=stages,
            outer=tuple(range(len(stages), len(functions))),
            averages=tuple(mean.name for mean in self._averages),
            held=tuple(values.held),
            shared=values.shared,
            solution=solution,
            shifted=values.solution is not None,
            boundary=None,
            start_time=Fraction(0),
            start=start,
            decays=values.decays,
            options=rule.options,
            counts="parameter" if len(functions) == 1 else "group",  # a loop is one for all
            noises=self._noises,
        )

    def _function(self, stage: int) -> Function:
        values, homes = self._values, self._homes
        writer = ArrayWriter(homes.readable(stage))
        body: list[Line] = []
        results: dict[str, str] = {}
        for symbol, array in values.arrays.items():
            if array.stage != stage or symbol not in homes.read:
                continue
            home = homes.stored(symbol, stage)
            name = f"{home}_new" if home else symbol.name
            if symbol == self._end and stage == values.last:
                name = "x_new"
            name = self._target(name, body)
            value = roots_apart(array.value, self._fractions)
            lowered = writer.line(self._hoist, body, value, name.removesuffix("_new"))
            body.append(Line(entries(name), lowered, array.note))
            writer.names[symbol] = name
            if home:
                results[home] = name
        for symbol, home in homes.copied(stage):
            name = self._target(f"{home}_new", body)
            body.append(Line(entries(name), Ref(writer.names[symbol]), f"{home} is kept"))
            results[home] = name
        results["x"] = self._next_point(stage, writer, body)
        ordered = (array for array in (*self._arrays[1:-1], "x") if array in results)
        read = {name for line in body for name in names(line.value)}
        scalars = [name for name in self._hoist.named if name in read]
        noises = [name for name in self._noises if name in read]
        inputs = (*map(entries, (*self._arrays, *noises)), *map(Array, scalars))
        name = "update" if len(values.points) == 1 else f"update_{stage + 1}"
        return Function(
            name,
            inputs,
            tuple(body),
            tuple((array, entries(results[array])) for array in ordered),
        )

    def _outer(self) -> list[Function]:
        """What follows the last step of a loop, in the arrays as that step leaves them.

        Where means over workers are read it is two functions: arrays that the means are taken of,
        and what follows from the means.
        """
        values = self._values.outer
        if values is None:
            return []
        functions = []
        if self._averages:
            results = {mean.name: of for mean, of in self._averages.items()}
            arrays = values.needed(results.values())
            functions.append(self._outer_function("exchanged", arrays, results))
        finals = {symbol.name: values.final[name] for name, symbol in values.old.items()}
        averaged = values.needed(value for value in finals.values() if value in values.arrays)
        return [*functions, self._outer_function("outer", averaged, finals)]

    def _outer_function(
        self,
        name: str,
        arrays: Mapping[Coordinate, ArrayValue],
        results: Mapping[str, Expr],
    ) -> Function:
        """A function of the outer step.

        Args:
            name: its name.
            arrays: what it computes.
            results: what each array of point and state becomes.
        """
        old = self._values.old.values()
        writer = ArrayWriter({symbol: symbol.name for symbol in (*old, *self._values.noises)})
        homes = {value: array for array, value in results.items()}
        body: list[Line] = []
        for symbol, array in arrays.items():
            home = homes.get(symbol)
            target = self._target(f"{home}_new" if home else symbol.name, body)
            value = roots_apart(array.value, self._fractions)
            lowered = writer.line(self._hoist, body, value, target.removesuffix("_new"))
            body.append(Line(entries(target), lowered, array.note))
            writer.names[symbol] = target
        ends = {home: writer.names[value] for home, value in results.items()}
        for home, value in results.items():
            if ends[home] != home and value not in arrays:  # what another array is
                ends[home] = self._target(f"{home}_new", body)
                body.append(Line(entries(ends[home]), Ref(writer.names[value])))
        read = {name for line in body for name in names(line.value)}
        inputs = (
            *map(entries, (*self._arrays, *(name for name in self._noises if name in read))),
            *(Array(name) for name in self._hoist.named if name in read),
        )
        ordered = (home for home in (*self._arrays[1:-1], "x") if ends.get(home, home) != home)
        changed = tuple((home, entries(ends[home])) for home in ordered)
        return Function(name, inputs, tuple(body), changed)

    def _next_point(self, stage: int, writer: ArrayWriter, body: list[Line]) -> str:
        """The line that the parameters become at the end of a stage."""
        values = self._values
        last = stage == values.last
        point = self._end if last else values.points[stage + 1]
        known = {line.name for line in body}
        if point in writer.names and writer.names[point] in known:
            return writer.names[point]
        name = self._target("x_new", body)
        note = "where the next gradient is taken" if values.ahead is not None or not last else ""
        body.append(Line(entries(name), writer.line(self._hoist, body, point, "x"), note))
        return name

    def _target(self, name: str, body: list[Line]) -> str:
        """A name of a line, unlike those of scalars and of other lines."""
        hoist = self._hoist
        taken = {*hoist.named, *(line.name for line in body), *self._arrays}
        while name in taken:
            name += "_"
        hoist.taken.add(name)
        return name

    def _solution(self) -> tuple[Function, dict[str, Expr]]:
        """The map from the point to the solution, and what its scalars are worth."""
        values = self._values
        if values.solution is None:
            return Function("solution", (entries("x"),), (), ()), {}
        ends: dict[Coordinate, str] = {}
        for array, (_, end) in self._states.items():
            ends.setdefault(end, array)
        if values.ahead is None:
            ends[self._end] = "x"
        unknown = [s for s in values.solution.atoms(Coordinate) if s not in ends]
        if unknown:
            raise DeclarationError.single(
                self._rule.head.source.where,
                f"the solution is in the unknowns after a step; '{unknown[0]}' is none",
                "solution",
            )
        hoist, body = self._solution_hoist, list[Line]()
        value = roots_apart(values.solution, self._fractions)
        lowered = ArrayWriter(ends).line(hoist, body, value, "solution")
        body.append(Line(entries("x_new"), lowered, "solution"))
        inputs = (*map(entries, self._arrays[:-1]), *map(Array, hoist.named))
        return Function("solution", inputs, tuple(body), (("x", entries("x_new")),)), hoist.named

    def _start(self) -> tuple[Function | None, tuple[Line, ...], tuple[str, ...]]:
        """The states that do not begin at zero."""
        values = self._values
        if not values.start:
            return None, (), ()
        hoist = Hoist((*self._arrays, *(f"{name}_new" for name in self._arrays)))
        body: list[Line] = []
        writer = ArrayWriter({x: "x"})
        results = []
        arrays = {name: symbol.name for name, symbol in values.old.items()}
        for name, value in values.start.items():
            array = arrays[name]
            lowered = writer.line(hoist, body, value, array)
            target = f"{array}_new"
            while target in self._arrays:
                target += "_"
            line = Line(entries(target), lowered, f"{array} begins")
            body.append(line)
            results.append((array, entries(line.name)))
        inputs = (*map(entries, self._arrays[:-1]), *map(Array, hoist.named))
        function = Function("started", inputs, tuple(body), tuple(results))
        lines, row = self._finished(hoist.named, {*values.hyper})
        return function, lines, row

    # --- the host ---------------------------------------------------------------------------------

    def _finished(
        self, scalars: Mapping[str, Expr], taken: Iterable[str]
    ) -> tuple[tuple[Line, ...], tuple[str, ...]]:
        """Lines of scalars, and which line each of them is; one that is a name has none."""
        lines: dict[str, Line] = {}
        row = []
        used = {*taken}
        for name, value in scalars.items():
            value = tidy(value)
            if value.is_Symbol:
                row.append(value.name)
                continue
            while name in used:
                name += "_"
            used.add(name)
            lines[name] = Line(Array(name), self._limited(value))
            row.append(name)
        return tuple(lines.values()), tuple(row)

    def _limited(self, value: Expr) -> IrExpr:
        values = self._values
        zeros = [
            values.hyper[entry.name]
            for entry in self._rule.hyperparameters
            if entry.domain in ZERO_IN_DOMAIN
        ]
        return finish(value, zeros, {}, self._rule.head.source.where)

    def _refuse_several_gradients(self) -> None:
        """The loss is that at the one gradient of a step."""
        if len(self._values.points) > 1:
            raise DeclarationError.single(
                self._rule.head.source.where,
                f"a step that reads the loss {loss} takes one gradient; this one takes "
                f"{len(self._values.points)}",
                "assign",
            )

    def _host(
        self,
        functions: list[Function],
        solution: Mapping[str, Expr],
        start: tuple[Line, ...],
        start_row: tuple[str, ...],
    ) -> Host:
        values = self._values
        own = tuple(Line(Array(s.name), self._limited(v)) for s, v in values.lines.items())
        taken = {*values.hyper, "n", *(line.name for line in own)}
        taken |= {symbol.name for symbol, _ in values.memory.values()}
        lines, row = self._finished(self._hoist.named, taken)
        line_of = dict(zip(self._hoist.named, row, strict=True))
        rows = tuple(
            tuple(line_of[scalar] for scalar in function.scalars) for function in functions
        )
        taken |= {line.name for line in lines}
        solution_lines, solution_row = self._finished(solution, taken)
        memory = [(symbol.name, value.name) for symbol, value in values.memory.values()]
        remembered_row = []
        for name, line in zip(solution, solution_row, strict=True):
            kept = f"last_{name}"
            while kept in taken:
                kept += "_"
            taken.add(kept)
            memory.append((kept, line))
            remembered_row.append(kept)
        body = (*own, *lines, *solution_lines)
        reads = {name for line in body for name in names(line.value)} | {*row, *solution_row}
        tests = tuple((lower(test), message) for test, message in values.requirements)
        reads |= {name for test, _ in tests for name in names(test)}
        inputs = (
            *values.hyper,
            *(name for name in ("n", WORKERS) if name in reads - {*values.hyper}),
        )
        if loss.name in reads - taken:
            inputs = (*inputs, loss.name)
            self._refuse_several_gradients()
        return Host(
            inputs,
            (),
            body,
            rows,
            tuple(memory),
            tuple(remembered_row),
            (),
            "",
            start,
            start_row,
            tests,
            values.closes.name if values.closes else "",
        )
