"""A Runge–Kutta step in numba, with one solver per pattern of dependence.

In: an integrator with :class:`Stages`.  Out: its view.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hamilforge.gen.emit.numba.integrators.solvers import (
    Solvers,
    SolverView,
    SolveView,
    factor_of,
)
from hamilforge.gen.emit.numba.integrators.storage import Storage
from hamilforge.gen.emit.products.integrator import prefixes
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import moment, tuple_text
from hamilforge.gen.program.integrators.integrator import Integrator
from hamilforge.gen.program.stages import Block, Increment, Row, Stages, Value


@dataclass(frozen=True, slots=True)
class Sum:
    """A weighted sum of increments for the components from ``start`` to ``stop``."""

    start: int
    stop: int
    value: str


@dataclass(frozen=True, slots=True)
class BlockView:
    """Stages that are computed, or solved for.

    Attributes:
        lines: that compute them, or what a solver starts from.
        first: the right-hand side at the beginning of the step, where the step before may have left
            it; empty else.
        solve: the calls of a solver; None for an explicit block.
    """

    lines: tuple[str, ...]
    first: str = ""
    solve: SolveView | None = None


@dataclass(frozen=True, slots=True)
class StagesView:
    """A Runge–Kutta step."""

    before: str
    node_table: str
    scale_table: str
    template: str
    count: int
    reuse: bool
    stage_array: bool
    blocks: tuple[BlockView, ...]
    solvers: tuple[SolverView, ...]
    damping: tuple[tuple[str, str], ...]
    forecasts: tuple[str, ...]
    additions: tuple[tuple[str, ...], ...]
    changes: tuple[Sum, ...]
    estimates: tuple[Sum, ...]
    error_order: int
    dense: str
    dense_order: int


class StagesWriter:
    """The view of a Runge–Kutta step."""

    def __init__(self, integrator: Integrator, storage: Storage, need: Requirements) -> None:
        assert isinstance(integrator.step, Stages)
        self._need, self._storage = need, storage
        self._problem, self._step = integrator.problem, integrator.step
        self._prefix = prefixes(self._step)
        self._damped = integrator.problem.decay is not None
        self._solvers = Solvers(integrator.problem, self._step, storage, need)

    def view(self) -> StagesView:
        """All blocks in order."""
        step = self._step
        blocks = tuple(self._blocks())
        row = any(block.solve and block.solve.height for block in blocks)
        return StagesView(
            before=_table(step.alpha[0]) if row else "",
            node_table=_list(step.nodes[0]) if row else "",
            scale_table=_list(step.scale[0]) if row else "",
            template="numba/integrators/stages.py.jinja",
            count=step.count,
            reuse=step.reuse and not self._damped,
            stage_array=not self._storage.named or bool(self._solvers.views),
            blocks=blocks,
            solvers=self._solvers.views,
            damping=self._damping(),
            forecasts=tuple(self._forecasts()),
            additions=tuple(map(self._addition, range(len(self._problem.parts)))),
            changes=tuple(
                self._sum(part, f"{self._prefix[part]}W", step.weights[part])
                for part in range(len(self._problem.parts))
            ),
            estimates=tuple(
                self._sum(part, f"{self._prefix[part]}E", row)
                for part, row in enumerate(step.error or ())
            ),
            error_order=step.error_order,
            dense=_table(step.interpolant.weights) if step.interpolant else "",
            dense_order=step.interpolant.order if step.interpolant else 0,
        )

    @property
    def kept(self) -> tuple[tuple[str, ...], ...]:
        """The rows from which solves of the next step begin."""
        blocks = (block for block in self._step.blocks if block.implicit)
        return tuple(("k", str(node.stage)) for block in blocks for node in block.increments)

    def _times(self, row: Row, name: str, storage: Storage, i: str) -> list[str]:
        """The terms ``a_ij k_j`` of a row for a component, zeros dropped."""
        return [
            factor_of(name, coefficient, column, self._need) + storage.entry("k", str(column), i)
            for column, coefficient in enumerate(row)
            if coefficient.value
        ]

    def _sum(self, part: int, name: str, row: Row) -> Sum:
        where, arrays = self._problem.parts[part], Storage(self._problem.size, named=False)
        return Sum(where.start, where.stop, self._weighted(row, name, arrays, "i"))

    def _weighted(self, row: Row, name: str, storage: Storage, i: str) -> str:
        """The weighted sum of the increments of a component."""
        return " + ".join(self._times(row, name, storage, i)) or "0.0"

    def _addition(self, part: int) -> tuple[str, ...]:
        """The lines that add the increments to the state."""
        where, storage = self._problem.parts[part], self._storage
        name, row = f"{self._prefix[part]}W", self._step.weights[part]

        def line(i: str) -> Iterator[str]:
            y, low = storage.entry("y", i), storage.entry("low", i)
            change = self._weighted(row, name, storage, i)
            yield f"{y}, {low} = {self._need('compensation.added')}({y}, {low}, {change})"
            if self._damped and part == 1:
                yield f"{y} *= damp"
                yield f"{low} *= damp"

        return tuple(storage.each(where.start, where.stop, line))

    def _damping(self) -> tuple[tuple[str, str], ...]:
        """The friction factors of the stages, each with its time."""
        if not self._damped:
            return ()
        nodes = {c.value: f"D_{k}" for k, c in enumerate(self._step.clock, start=1)}
        nodes |= {
            c.value: f"C1_{k}"
            for k, c in enumerate(self._step.nodes[1], start=1)
            if c.value not in nodes
        }
        return tuple(
            (self._damp(node), moment(name, node, self._need))
            for node, name in nodes.items()
            if node
        )

    def _damp(self, node: float) -> str:
        """The name of the factor over ``node * h``; empty for none."""
        every = dict.fromkeys(c.value for c in (*self._step.clock, *self._step.nodes[1]) if c.value)
        return f"damp_{[*every].index(node) + 1}" if node else ""

    def _value(
        self, node: Value, array: str, columns: Sequence[int] | None, damp: str = ""
    ) -> list[str]:
        """The lines of a stage value; ``columns`` restricts the increments."""
        step, part, storage = self._step, self._problem.parts[node.part], self._storage
        row = step.alpha[node.part][node.stage]
        kept = tuple(
            entry if columns is None or j in columns else type(entry)(0.0)
            for j, entry in enumerate(row)
        )
        name = f"{self._prefix[node.part]}A_{node.stage + 1}"

        def line(i: str) -> str:
            terms = [storage.entry("y", i), *self._times(kept, name, storage, i)]
            value = " + ".join(terms)
            target = storage.entry(array, str(node.stage), i)
            return f"{target} = {f'{damp} * ({value})' if damp else value}"

        return storage.each(part.start, part.stop, line)

    def _damped_value(self, node: Value) -> str:
        """The factor of a stage's momenta."""
        if not self._damped or node.part == 0:
            return ""
        return self._damp(self._step.clock[node.stage].value)

    def _factor(self, node: Increment) -> str:
        """``h`` times the scale of an increment, and what takes friction back."""
        scale = self._step.scale[node.part][node.stage]
        name = f"{self._prefix[node.part]}B_{node.stage + 1}"
        text = "h" if scale.value == 1 else f"h * {self._need(name)}"
        if self._damped and node.part == 1:
            damp = self._damp(self._step.nodes[1][node.stage].value)
            text += f" / {damp}" if damp else ""
        return text

    def _time(self, node: Increment) -> str:
        coefficient = self._step.nodes[node.part][node.stage]
        return moment(f"C{node.part or ''}_{node.stage + 1}", coefficient.value, self._need)

    def _blocks(self) -> Iterator[BlockView]:
        """The views of all blocks; solves of one kind that follow each other are one loop."""
        for run in _runs(self._step) if not self._storage.named else self._alone():
            if len(run) == 1:
                yield self._block(run[0])
                continue
            columns = {0: [node.stage for node in run[0].increments]}
            solver = self._solvers.of(run[0], columns)
            height = len(columns[0])
            rows = ["r" if k == 0 else f"r + {k}" for k in range(height)]
            solve = self._solvers.call(
                solver,
                rows,
                tuple_text(f"t + NODES[{row}] * h" for row in rows),
                tuple_text(f"h * SCALES[{row}]" for row in rows),
            )
            first, stop = run[0].increments[0].stage, run[-1].increments[-1].stage + 1
            yield BlockView(
                (), solve=dataclasses.replace(solve, height=height, first=first, stop=stop)
            )

    def _alone(self) -> Iterator[list[Block]]:
        return ([block] for block in self._step.blocks)

    def _block(self, block: Block) -> BlockView:
        if block.implicit:
            return self._implicit(block)
        (node,) = block.nodes
        stage = str(node.stage)
        if isinstance(node, Value):
            return BlockView(tuple(self._value(node, "stage", None, self._damped_value(node))))
        part = self._problem.parts[node.part]
        call = (
            f"{part.name}({self._time(node)}, {self._storage.whole('stage', stage)}, parameters, "
            f"{self._factor(node)}, k[{stage}])"
        )
        if self._step.reuse and not self._damped and node.stage == 0:
            return BlockView((), first=call)
        return BlockView((call, *self._storage.loaded([("k", stage)])))

    def _implicit(self, block: Block) -> BlockView:
        """A call of the solver of the block's pattern."""
        columns = {
            part: [node.stage for node in block.increments if node.part == part]
            for part in range(len(self._problem.parts))
        }
        bases: list[str] = []
        for value in block.values:
            outside = [j for j in range(self._step.count) if j not in columns[value.part]]
            bases += self._value(value, "base", outside)
        solver = self._solvers.of(block, columns)
        stages = [str(stage) for stage in dict.fromkeys(node.stage for node in block.nodes)]
        damps = []
        if self._damped:
            damps = [
                tuple_text(self._damped_value(value) or "1.0" for value in block.values),
                tuple_text(self._inner_damp(node, block) for node in block.increments),
            ]
        solve = self._solvers.call(
            solver,
            stages,
            tuple_text(self._time(node) for node in block.increments),
            tuple_text(self._factor(node) for node in block.increments),
            *damps,
        )
        return BlockView(tuple(bases), solve=solve)

    def _inner_damp(self, node: Increment, block: Block) -> str:
        """The factor of the momenta at an increment's stage, if they are unknown."""
        for value in block.values:
            if value.stage == node.stage and value.part == 1:
                return self._damped_value(value) or "1.0"
        return "1.0"

    def _forecasts(self) -> Iterator[str]:
        """First guesses of increments in the place of those of the step before."""
        step, storage = self._step, self._storage
        if step.forecast is None or step.error is not None:
            return
        for part, table in enumerate(step.forecast):
            where, scale = self._problem.parts[part], step.scale[part]

            def line(i: str, table: Sequence[Row] = table, scale: Row = scale) -> str:
                increments = [storage.entry("k", str(j), i) for j in range(len(table))]
                guesses = []
                for r, row in enumerate(table):
                    factors = [
                        coefficient.value * scale[r].value / scale[j].value
                        for j, coefficient in enumerate(row)
                    ]
                    terms = zip(factors, increments, strict=True)
                    guess = " + ".join(f"{factor:.17g} * {k}" for factor, k in terms)
                    guesses.append(guess.replace("+ -", "- "))
                return f"{', '.join(increments)} = {', '.join(guesses)}"

            yield from storage.each(where.start, where.stop, line)


def _runs(step: Stages) -> Iterator[list[Block]]:
    """Neighbouring solves over adjacent stages with equal coefficients; else one by one."""

    def pattern(block: Block) -> tuple[float, ...] | None:
        rows = [node.stage for node in block.increments]
        if len(step.alpha) > 1 or not block.implicit or rows != [*range(rows[0], rows[-1] + 1)]:
            return None
        return tuple(step.alpha[0][i][j].value for i in rows for j in rows)

    run: list[Block] = []
    for block in step.blocks:
        coefficients = pattern(block)
        follows = run and coefficients is not None and coefficients == pattern(run[-1])
        if run and not (follows and run[-1].increments[-1].stage + 1 == block.increments[0].stage):
            yield run
            run = []
        run.append(block)
    if run:
        yield run


def _list(row: Row) -> str:
    return repr([coefficient.value for coefficient in row])


def _table(rows: Sequence[Row]) -> str:
    return repr([[coefficient.value for coefficient in row] for row in rows])
