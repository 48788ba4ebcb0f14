"""A Runge–Kutta step in numba: loops over components, one solver per pattern of dependence.

In: an integrator with :class:`Stages`.  Out: its view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hamilforge.gen.emit.products.integrator import prefixes
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import moment, tuple_text
from hamilforge.gen.program.integrators.integrator import Integrator
from hamilforge.gen.program.stages import Block, Increment, Row, Stages, Value

#: What every solver is given beside its stages.
_WORK = "parameters, stage, k, base, fresh, square, slopes, flags"


@dataclass(frozen=True, slots=True)
class Span:
    """A loop over the components from ``start`` to ``stop`` that assigns one expression."""

    start: int
    stop: int
    target: str
    value: str


@dataclass(frozen=True, slots=True)
class BlockView:
    """Stages that are computed, or a call that solves for them.

    Attributes:
        first: whether it is the right-hand side at the beginning of the step.
        values: loops that form stage values.
        calls: right-hand sides.
        solve: the call of a solver; empty for an explicit block.
        bases: loops that form what a solver starts from.
        table: whether the call stands for several blocks, one after the other, of ``height`` stages
            each, from ``first_row`` to ``last_row``.
    """

    first: bool
    values: tuple[Span, ...]
    calls: tuple[str, ...]
    solve: str
    bases: tuple[Span, ...]
    table: bool = False
    first_row: int = 0
    last_row: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class SolverView:
    """A function that solves for the stages of one pattern of dependence."""

    name: str
    unknowns: int
    width: int
    rows: str
    row_of: str
    values: tuple[Span, ...]
    calls: tuple[str, ...]
    increments: tuple[tuple[str, int, int], ...]
    inner: str
    parts: str
    damped: bool


@dataclass(frozen=True, slots=True)
class StagesView:
    """A Runge–Kutta step."""

    before: str
    node_table: str
    scale_table: str
    template: str
    count: int
    reuse: bool
    blocks: tuple[BlockView, ...]
    solvers: tuple[SolverView, ...]
    damping: tuple[tuple[str, str], ...]
    forecasts: tuple[tuple[Span, ...], ...]
    changes: tuple[Span, ...]
    estimates: tuple[Span, ...]
    error_order: int
    dense: str
    dense_order: int


class StagesWriter:
    """The view of a Runge–Kutta step."""

    def __init__(self, integrator: Integrator, need: Requirements) -> None:
        assert isinstance(integrator.step, Stages)
        self._need = need
        self._problem, self._step = integrator.problem, integrator.step
        self._prefix = prefixes(self._step)
        self._damped = integrator.problem.decay is not None
        self._solvers: dict[object, SolverView] = {}

    def view(self) -> StagesView:
        """All blocks in order."""
        step = self._step
        blocks = tuple(self._blocks())
        row = any(block.table for block in blocks)
        return StagesView(
            before=_table(step.alpha[0]) if row else "",
            node_table=_list(step.nodes[0]) if row else "",
            scale_table=_list(step.scale[0]) if row else "",
            template="numba/integrators/stages.py.jinja",
            count=step.count,
            reuse=step.reuse and not self._damped,
            blocks=blocks,
            solvers=tuple(self._solvers.values()),
            damping=self._damping(),
            forecasts=self._forecasts(),
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

    def _factor_of(self, name: str, row: Row, column: int) -> str:
        """What the increment of a column is multiplied by; nothing for 1."""
        return "" if row[column].value == 1 else f"{self._need(f'{name}_{column + 1}')} * "

    def _times(self, row: Row, name: str) -> list[str]:
        """The terms ``a_ij k_j`` of a row, zeros dropped."""
        columns = (column for column, coefficient in enumerate(row) if coefficient.value)
        return [f"{self._factor_of(name, row, column)}k[{column}, i]" for column in columns]

    def _sum(self, part: int, name: str, row: Row) -> Span:
        where = self._problem.parts[part]
        terms = self._times(row, name)
        return Span(where.start, where.stop, "", " + ".join(terms) or "0.0")

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

    def _value(self, node: Value, array: str, columns: Sequence[int] | None, base: str) -> Span:
        """The loop of a stage value; ``columns`` restricts the increments."""
        step, part = self._step, self._problem.parts[node.part]
        row = step.alpha[node.part][node.stage]
        kept = tuple(
            entry if columns is None or j in columns else type(entry)(0.0)
            for j, entry in enumerate(row)
        )
        name = f"{self._prefix[node.part]}A_{node.stage + 1}"
        terms = [base, *self._times(kept, name)]
        return Span(part.start, part.stop, array, " + ".join(terms))

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
        for run in _runs(self._step):
            if len(run) == 1:
                yield self._block(run[0])
                continue
            columns = {0: [node.stage for node in run[0].increments]}
            solver = self._solver(run[0], columns)
            height = len(columns[0])
            rows = ["r" if k == 0 else f"r + {k}" for k in range(height)]
            arguments = (
                tuple_text(rows),
                tuple_text(f"t + NODES[{row}] * h" for row in rows),
                tuple_text(f"h * SCALES[{row}]" for row in rows),
            )
            call = f"{solver.name}({', '.join(arguments)}, {_WORK})"
            first, last = run[0].increments[0].stage, run[-1].increments[-1].stage + 1
            yield BlockView(False, (), (), call, (), True, first, last, height)

    def _block(self, block: Block) -> BlockView:
        if block.implicit:
            return self._implicit(block)
        (node,) = block.nodes
        if isinstance(node, Value):
            span = self._value(node, f"stage[{node.stage}, i]", None, "y[i]")
            damp = self._damped_value(node)
            if damp:
                span = Span(span.start, span.stop, span.target, f"{damp} * ({span.value})")
            return BlockView(False, (span,), (), "", ())
        part = self._problem.parts[node.part]
        call = (
            f"{part.name}({self._time(node)}, stage[{node.stage}], parameters, "
            f"{self._factor(node)}, k[{node.stage}])"
        )
        return BlockView(node.stage == 0, (), (call,), "", ())

    def _implicit(self, block: Block) -> BlockView:
        """A call of the solver of the block's pattern."""
        columns = {
            part: [node.stage for node in block.increments if node.part == part]
            for part in range(len(self._problem.parts))
        }
        outside = [
            tuple(j for j in range(self._step.count) if j not in columns[value.part])
            for value in block.values
        ]
        bases = tuple(
            self._value(value, f"base[{value.stage}, i]", others, "y[i]")
            for value, others in zip(block.values, outside, strict=True)
        )
        solver = self._solver(block, columns)
        stages = [*dict.fromkeys(node.stage for node in block.nodes)]
        arguments = [
            tuple_text(map(str, stages)),
            tuple_text(self._time(node) for node in block.increments),
            tuple_text(self._factor(node) for node in block.increments),
        ]
        if self._damped:
            arguments.append(
                tuple_text(self._damped_value(value) or "1.0" for value in block.values)
            )
            arguments.append(tuple_text(self._inner_damp(node, block) for node in block.increments))
        call = f"{solver.name}({', '.join(arguments)}, {_WORK})"
        return BlockView(False, (), (), call, bases)

    def _inner_damp(self, node: Increment, block: Block) -> str:
        """The factor of the momenta at an increment's stage, if they are unknown."""
        for value in block.values:
            if value.stage == node.stage and value.part == 1:
                return self._damped_value(value) or "1.0"
        return "1.0"

    def _solver(self, block: Block, columns: Mapping[int, Sequence[int]]) -> SolverView:
        step = self._step
        stages = [*dict.fromkeys(node.stage for node in block.nodes)]
        local = {stage: k for k, stage in enumerate(stages)}
        increments, values = block.increments, set(block.values)
        inner = []
        for node in increments:
            entries = []
            for increment in increments:
                coefficient = step.alpha[increment.part][node.stage][increment.stage].value
                known = Value(node.stage, increment.part) in values
                needed = increment.part in self._problem.parts[node.part].needs
                entries.append(coefficient if known and needed else 0.0)
            inner.append(entries)
        key = (
            tuple((local[node.stage], node.part) for node in block.values),
            tuple((local[node.stage], node.part) for node in increments),
            tuple(map(tuple, inner)),
            tuple(
                tuple(step.alpha[value.part][value.stage][j].value for j in columns[value.part])
                for value in block.values
            ),
        )
        if key in self._solvers:
            return self._solvers[key]
        spans = []
        for number, value in enumerate(block.values):
            part = self._problem.parts[value.part]
            name = f"{self._prefix[value.part]}A_{value.stage + 1}"
            row = step.alpha[value.part][value.stage]
            terms = [f"base[r_{local[value.stage] + 1}, i]"]
            for j in columns[value.part]:
                if row[j].value:
                    terms.append(f"{self._factor_of(name, row, j)}k[r_{local[j] + 1}, i]")
            text = " + ".join(terms)
            if self._damped and value.part == 1:
                text = f"damps[{number}] * ({text})"
            spans.append(Span(part.start, part.stop, f"stage[r_{local[value.stage] + 1}, i]", text))
        calls = []
        for number, node in enumerate(increments):
            part = self._problem.parts[node.part]
            row_name = f"r_{local[node.stage] + 1}"
            calls.append(
                f"{part.name}(times[{number}], stage[{row_name}], parameters, factors[{number}], "
                f"fresh[{row_name}])"
            )
        width = self._problem.parts[0].stop - self._problem.parts[0].start
        view = SolverView(
            name=f"solve_{len(self._solvers) + 1}",
            unknowns=len(increments),
            width=width,
            rows=_names("r", len(stages)),
            row_of=tuple_text(f"r_{local[node.stage] + 1}" for node in increments),
            values=tuple(spans),
            calls=tuple(calls),
            increments=tuple(
                (
                    f"r_{local[node.stage] + 1}",
                    self._problem.parts[node.part].start,
                    self._problem.parts[node.part].stop,
                )
                for node in increments
            ),
            inner=repr(inner),
            parts=repr(tuple(node.part for node in increments)),
            damped=self._damped,
        )
        self._solvers[key] = view
        return view

    def _forecasts(self) -> tuple[tuple[Span, ...], ...]:
        """First guesses of increments, in ``fresh``; then they replace the old ones."""
        if self._step.forecast is None or self._step.error is not None:
            return ()
        spans_by_part = []
        for part, table in enumerate(self._step.forecast):
            where = self._problem.parts[part]
            scale = self._step.scale[part]
            spans = []
            for r, row in enumerate(table):
                terms = []
                for j, coefficient in enumerate(row):
                    factor = coefficient.value * scale[r].value / scale[j].value
                    terms.append(f"{factor:.17g} * k[{j}, i]")
                value = " + ".join(terms).replace("+ -", "- ")
                spans.append(Span(where.start, where.stop, f"fresh[{r}, i]", value))
            spans_by_part.append(tuple(spans))
        return tuple(spans_by_part)


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


def _names(letter: str, count: int) -> str:
    return ", ".join(f"{letter}_{k + 1}" for k in range(count)) + ("," if count == 1 else "")


def _list(row: Row) -> str:
    return repr([coefficient.value for coefficient in row])


def _table(rows: Sequence[Row]) -> str:
    return repr([[coefficient.value for coefficient in row] for row in rows])
