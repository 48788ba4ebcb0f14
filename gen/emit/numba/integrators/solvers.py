"""The solvers of implicit stages in numba: one for each pattern of dependence.

In: the blocks of a Runge–Kutta step.  Out: views with the lines of an iteration, where the storage
of the step has its numbers, and of Newton's method, in arrays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hamilforge.gen.emit.numba.integrators.storage import Storage, Term
from hamilforge.gen.emit.products.integrator import prefixes
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import tuple_text
from hamilforge.gen.program.integrators.integrator import Problem
from hamilforge.gen.program.stages import Block, Coefficient, Stages, Value

#: What Newton's method is given behind the rows, the times and the factors of increments and, with
#: friction, the factors of stages and of increments; and what iteration is given there.
_NEWTON = ("parameters", "stage", "k", "base", "fresh", "square", "slopes", "flags")
_ITERATION = ("parameters", "stage", "k", "base", "fresh", "flags")
_NAMED_ITERATION = ("parameters", "fresh", "flags")


@dataclass(frozen=True, slots=True)
class SolverView:
    """Functions that solve for the stages of one pattern of dependence: iteration, Newton's method.

    Attributes:
        suffix: of their names.
        unknowns, width: how many increments, and how many components each has.
        rows: names of the rows of its stages.
        row_of: the row of each increment.
        iterate_arguments: of the iteration.
        begin: takes them apart.
        zeroed: increments of zero.
        evaluated: stages and the increments there.
        sizes: how far increments are from those there.
        scales: how large stages and increments are.
        following: the increments there become the next ones.
        settled, given_up: what the iteration gives back.
        newton_arguments: of Newton's method.
        in_arrays: ``evaluated`` for Newton's method.
        inner: coefficients of the increments.
        parts: of the increments.
        damped: whether there is friction.
    """

    suffix: str
    unknowns: int
    width: int
    rows: str
    row_of: str
    iterate_arguments: str
    begin: tuple[str, ...]
    zeroed: tuple[str, ...]
    evaluated: tuple[str, ...]
    sizes: tuple[str, ...]
    scales: tuple[str, ...]
    following: tuple[str, ...]
    settled: str
    given_up: str
    newton_arguments: str
    in_arrays: tuple[str, ...]
    inner: str
    parts: str
    damped: bool


@dataclass(frozen=True, slots=True)
class SolveView:
    """The calls of a solver for a block.

    Attributes:
        iterate, newton: the calls.
        results: what the first is assigned to.
        stored, loaded: lines that bring numbers to where Newton's method has them, and back.
        height: of how many stages a block is where the calls stand for several blocks, one after
            the other, from stage ``first`` to ``stop``; 0 for one block.
    """

    iterate: str
    newton: str
    results: str = "settled"
    stored: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    height: int = 0
    first: int = 0
    stop: int = 0


class Solvers:
    """The solvers of a step, each made when a block first asks for it."""

    def __init__(
        self, problem: Problem, step: Stages, storage: Storage, need: Requirements
    ) -> None:
        self._problem, self._step, self._storage, self._need = problem, step, storage, need
        self._prefix = prefixes(step)
        self._damped = problem.decay is not None
        self._views: dict[object, SolverView] = {}

    @property
    def views(self) -> tuple[SolverView, ...]:
        """All that were asked for."""
        return tuple(self._views.values())

    def of(self, block: Block, columns: Mapping[int, Sequence[int]]) -> SolverView:
        """The solver of a block's pattern.

        Args:
            block: an implicit one.
            columns: for each part, the stages whose increments are unknown.
        """
        alpha = self._step.alpha
        stages = [*dict.fromkeys(node.stage for node in block.nodes)]
        local = {stage: k for k, stage in enumerate(stages)}
        increments, values = block.increments, set(block.values)
        inner = []
        for node in increments:
            entries = []
            for increment in increments:
                coefficient = alpha[increment.part][node.stage][increment.stage].value
                known = Value(node.stage, increment.part) in values
                needed = increment.part in self._problem.parts[node.part].needs
                entries.append(coefficient if known and needed else 0.0)
            inner.append(entries)
        key = (
            tuple((local[node.stage], node.part) for node in block.values),
            tuple((local[node.stage], node.part) for node in increments),
            tuple(map(tuple, inner)),
            tuple(
                tuple(alpha[value.part][value.stage][j].value for j in columns[value.part])
                for value in block.values
            ),
        )
        if key not in self._views:
            rows = {stage: f"r{k + 1}" for stage, k in local.items()}
            self._views[key] = self._view(block, columns, rows, inner)
        return self._views[key]

    def _view(
        self,
        block: Block,
        columns: Mapping[int, Sequence[int]],
        rows: Mapping[int, str],
        inner: Sequence[Sequence[float]],
    ) -> SolverView:
        storage, parts = self._storage, self._problem.parts
        arrays = Storage(self._problem.size, named=False)
        entry = storage.entry
        stages = ", ".join(rows.values()) + ("," if len(rows) == 1 else "")
        damps = ("damps", "inner_damps") if self._damped else ()
        begin, settled, given_up = [f"{stages} = rows"], "True", "False"
        if storage.named:
            bases, increments = (self._whole(name, rows.values()) for name in ("base", "k"))
            begin += [f"{bases} = bases", f"{increments} = increments"]
            settled, given_up = (f"{text}, {increments}" for text in (settled, given_up))

        spans = _joined(
            (rows[node.stage], parts[node.part].start, parts[node.part].stop)
            for node in block.increments
        )

        def each(line: Callable[[str, str], str]) -> list[Term]:
            """What is written for each entry of each increment, by its row and its place."""
            return [(start, stop, functools.partial(line, row)) for row, start, stop in spans]

        def lines(line: Callable[[str, str], str]) -> tuple[str, ...]:
            return tuple(text for term in each(line) for text in storage.each(*term))

        def total(name: str, term: Callable[[str, str], str]) -> tuple[str, ...]:
            return tuple(storage.total(name, each(term)))

        return SolverView(
            suffix=f"_{len(self._views) + 1}",
            unknowns=len(block.increments),
            width=parts[0].stop - parts[0].start,
            rows=stages,
            row_of=tuple_text(rows[node.stage] for node in block.increments),
            iterate_arguments=self._iteration(
                ("rows", "times", "factors", *damps), "bases", "increments"
            ),
            begin=tuple(begin),
            zeroed=lines(lambda row, i: f"{entry('k', row, i)} = 0.0"),
            evaluated=tuple(self._evaluated(block, columns, rows, storage)),
            sizes=total(
                "size", lambda row, i: f"abs({entry('k', row, i)} - {entry('fresh', row, i)})"
            ),
            scales=total(
                "scale",
                lambda row, i: f"abs({entry('stage', row, i)}) + abs({entry('fresh', row, i)})",
            ),
            following=lines(lambda row, i: f"{entry('k', row, i)} = {entry('fresh', row, i)}"),
            settled=settled,
            given_up=given_up,
            newton_arguments=", ".join(("rows", "times", "factors", *damps, *_NEWTON)),
            in_arrays=tuple(self._evaluated(block, columns, rows, arrays)),
            inner=repr(inner),
            parts=repr(tuple(node.part for node in block.increments)),
            damped=self._damped,
        )

    def _whole(self, name: str, rows: Iterable[str]) -> str:
        return tuple_text(self._storage.whole(name, row) for row in rows)

    def call(
        self, solver: SolverView, rows: Sequence[str], times: str, factors: str, *damps: str
    ) -> SolveView:
        """The calls of a solver.

        Args:
            solver: which.
            rows: of the stages in it.
            times: of its increments.
            factors: of its increments.
            damps: the friction factors of its stages and of its increments, if there is friction.

        Returns:
            Their view.
        """
        storage = self._storage
        arguments = (tuple_text(rows), times, factors, *damps)
        bases, increments = self._whole("base", rows), self._whole("k", rows)
        iterate = f"iterate{solver.suffix}({self._iteration(arguments, bases, increments)})"
        newton = f"newton{solver.suffix}({', '.join((*arguments, *_NEWTON))})"
        if not storage.named:
            return SolveView(iterate, newton)
        return SolveView(
            iterate,
            newton,
            f"settled, {increments}",
            tuple(storage.stored([(name, row) for name in ("base", "k") for row in rows])),
            tuple(storage.loaded([("k", row) for row in rows])),
        )

    def _iteration(self, arguments: Sequence[str], bases: str, increments: str) -> str:
        """The arguments of an iteration, of those that come first in Newton's method."""
        rows, times, factors, *damps = arguments
        if self._storage.named:
            return ", ".join((rows, times, factors, bases, increments, *_NAMED_ITERATION))
        return ", ".join((rows, times, factors, *damps[:1], *_ITERATION))

    def _evaluated(
        self,
        block: Block,
        columns: Mapping[int, Sequence[int]],
        rows: Mapping[int, str],
        storage: Storage,
    ) -> Iterator[str]:
        """The lines of the stages, and of the increments there."""
        for number, value in enumerate(block.values):
            part = self._problem.parts[value.part]
            damp = f"damps[{number}]" if self._damped and value.part == 1 else ""

            def line(i: str, value: Value = value, damp: str = damp) -> str:
                coefficients = self._step.alpha[value.part][value.stage]
                name = f"{self._prefix[value.part]}A_{value.stage + 1}"
                terms = [storage.entry("base", rows[value.stage], i)]
                for j in columns[value.part]:
                    if coefficients[j].value:
                        factor = factor_of(name, coefficients[j], j, self._need)
                        terms.append(f"{factor}{storage.entry('k', rows[j], i)}")
                total = " + ".join(terms)
                target = storage.entry("stage", rows[value.stage], i)
                return f"{target} = {f'{damp} * ({total})' if damp else total}"

            yield from storage.each(part.start, part.stop, line)
        for number, node in enumerate(block.increments):
            row = rows[node.stage]
            yield (
                f"{self._problem.parts[node.part].name}(times[{number}], "
                f"{storage.whole('stage', row)}, parameters, factors[{number}], fresh[{row}])"
            )
            yield from storage.loaded([("fresh", row)])


def factor_of(name: str, coefficient: Coefficient, column: int, need: Requirements) -> str:
    """What the increment of a column is multiplied by; nothing for 1.

    Args:
        name: of the row of coefficients.
        coefficient: that of the column.
        column: its number.
        need: notes the name of the coefficient.

    Returns:
        The text of the factor and of its multiplication.
    """
    return "" if coefficient.value == 1 else f"{need(f'{name}_{column + 1}')} * "


def _joined(spans: Iterable[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Spans of rows, with those made one that continue another."""
    joined: list[tuple[str, int, int]] = []
    for row, start, stop in spans:
        if joined and (joined[-1][0], joined[-1][2]) == (row, start):
            joined[-1] = (row, joined[-1][1], stop)
        else:
            joined.append((row, start, stop))
    return joined
