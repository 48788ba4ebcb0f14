"""Taylor's method in numba: coefficients line by line or, if they are many, in loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hamilforge.gen.emit.numba.printer import NumbaPrinter
from hamilforge.gen.emit.products.integrator import spelling_of, unpacked
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.integrators.integrator import Integrator, Problem, TaylorSteps
from hamilforge.gen.program.integrators.series import (
    TIME,
    Elementary,
    Power,
    Product,
    Quotient,
    SeriesLine,
    SeriesProgram,
    Sum,
)
from hamilforge.gen.program.integrators.series_groups import Copies, Group, grouped
from hamilforge.gen.program.ir import Apply, Expr, Ref, names
from hamilforge.gen.program.lower import add, scaled

#: What the function of the coefficients is given, and its own variables in loops.
_ARGUMENTS = ("t", "state", "parameters", "rows")
_VARIABLES = ("k", "row", "above", "first", "i", "series_kernels", "range", "ORDER")
#: The first coefficient of an operand; no declared name has two underscores in a row.
_FIRST = "first__"


@dataclass(frozen=True, slots=True)
class TaylorView:
    """Taylor's method.

    Attributes:
        order: the highest power of the step.
        columns: how many series stand in a row of coefficients.
        lines: of the function that writes the coefficients into ``rows``, a row for each power.
    """

    template: str
    order: int
    columns: int
    lines: tuple[str, ...]


def taylor_view(integrator: Integrator, step: TaylorSteps, need: Requirements) -> TaylorView:
    """The view of Taylor's method.

    Args:
        integrator: the problem with the method.
        step: the method's step.
        need: notes what the texts use.

    Returns:
        The view.
    """
    need("step_lengths")
    problem = integrator.problem
    if step.looped:
        writer = _Loops(problem, step.series, need)
        columns, lines = writer.width, writer.lines()
    else:
        columns, lines = problem.size, _unrolled(problem, step, need)
    return TaylorView("numba/integrators/taylor.py.jinja", step.order, columns, tuple(lines))


def _unrolled(problem: Problem, step: TaylorSteps, need: Requirements) -> list[str]:
    """A line for each coefficient."""
    function = step.coefficients
    values = [line.expr for line in function.lines]
    targets = [line.name for line in function.lines]
    spelling = spelling_of(problem, NumbaPrinter, _ARGUMENTS, values, targets)
    printer = NumbaPrinter(spelling, need)
    used = {name for value in values for name in names(value)} | {*problem.components}
    lines = unpacked(problem, used, spelling)
    lines += [f"{printer.variable(line.name)} = {printer(line.expr)}" for line in function.lines]
    places = [(0, name) for name in problem.components]
    places += [(1 + k // problem.size, array.name) for k, (_, array) in enumerate(function.results)]
    for k, (power, name) in enumerate(places):
        lines.append(f"rows[{power}, {k % problem.size}] = {printer.variable(name)}")
    return lines


class _Loops:
    """A loop over powers: sums line by line, groups of like operations by the runtime's kernels."""

    def __init__(self, problem: Problem, program: SeriesProgram, need: Requirements) -> None:
        self._problem, self._program, self._need = problem, program, need
        self._groups = grouped(program)
        self.width = self._groups.width
        values = [value for line in program.lines for value in _numbers(line)]
        values += [factor for factor, _ in program.rates]
        arguments = (*_ARGUMENTS, *_VARIABLES)
        self._spelling = spelling_of(problem, NumbaPrinter, arguments, values)
        self._printer = NumbaPrinter(self._spelling, need)
        self._used = {name for value in values for name in names(value)}

    def lines(self) -> list[str]:
        """The whole function."""
        parameters = {entry.name for entry in self._problem.parameters}
        lines = unpacked(self._problem, self._used & parameters, self._spelling)
        lines += [f"for i in range({self._problem.size}):", "    rows[0, i] = state[i]"]
        read = {name for line in self._program.lines for name in line.operation.reads}
        if TIME in read | {series for _, series in self._program.rates}:
            place = self._groups.columns[TIME]
            lines += [f"rows[0, {place}] = t", f"rows[1, {place}] = 1.0"]
        lines += ["for k in range(ORDER):", "    row, above = rows[k], rows[k + 1]"]
        for statement in self._groups.statements:
            match statement:
                case SeriesLine(name=name, operation=Sum() as operation):
                    own = self._sum(self._groups.columns[name], operation)
                case Copies(sources=sources, target=target):
                    own = self._copies(sources, target)
                case Group():
                    own = self._group(statement)
            lines += [f"    {line}" for line in own]
        for place, (factor, series) in enumerate(self._program.rates):
            if series is None:
                lines += ["    if k == 0:", f"        above[{place}] = {self._printer(factor)}"]
                continue
            text = self._text(scaled(factor, Ref(f"row {self._groups.columns[series]}")))
            lines.append(f"    above[{place}] = {text}")
        size = self._problem.size
        return [*lines, f"    for i in range({size}):", "        above[i] /= k + 1"]

    def _text(self, expr: Expr) -> str:
        """An expression in entries of the row."""
        entries = {f"row {place}": f"row[{place}]" for place in range(self._groups.width)}
        return NumbaPrinter({**self._spelling, **entries}, self._need)(expr)

    def _sum(self, place: int, operation: Sum) -> Iterator[str]:
        terms = [
            scaled(factor, Ref(f"row {self._groups.columns[name]}"))
            for factor, name in operation.terms
        ]
        yield f"row[{place}] = {self._text(add(*terms))}"
        if operation.constant is not None:
            yield "if k == 0:"
            yield f"    row[{place}] += {self._printer(operation.constant)}"

    def _copies(self, sources: tuple[int, ...], target: int) -> Iterator[str]:
        """Runs of neighbours in loops, others one by one."""
        begin = 0
        while begin < len(sources):
            end = begin + 1
            while end < len(sources) and sources[end] == sources[begin] + end - begin:
                end += 1
            if end - begin == 1:
                yield f"row[{target + begin}] = row[{sources[begin]}]"
            else:
                yield f"for i in range({end - begin}):"
                yield f"    row[{target + begin} + i] = row[{sources[begin]} + i]"
            begin = end

    def _group(self, group: Group) -> Iterator[str]:
        kernels, places = (
            self._need("series_kernels"),
            [-1 if operand is None else operand for operand in group.operands],
        )
        end = f"{group.result}, {group.width})"
        match group.operation:
            case Product(left=left, right=right):
                name = "square" if left == right else "product"
                yield f"{kernels}.{name}(rows, k, {', '.join(map(str, places))}, {end}"
            case Quotient():
                yield f"{kernels}.quotient(rows, k, {places[0]}, {places[1]}, {end}"
            case Power(exponent=exponent, base=base, value=value):
                yield from self._first(group, value, base)
                text = self._printer(exponent)
                yield f"    {kernels}.power(rows, k, {text}, {places[0]}, {end}"
            case Elementary(function=function, factor=factor):
                yield from self._first(group, Apply(function, (Ref(_FIRST),)), "")
                text = self._printer(factor)
                operands = ", ".join(map(str, places))
                yield f"    {kernels}.elementary(rows, k, {text}, {operands}, {end}"

    def _first(self, group: Group, value: Expr, base: str) -> Iterator[str]:
        """The first row of a group, from what it is a function of."""
        rename = {**self._spelling, f"{base}__0": "first", base: "first", _FIRST: "first"}
        yield "if k == 0:"
        yield f"    for i in range({group.count}):"
        yield f"        first = row[{group.operands[0]} + i]"
        text = NumbaPrinter(rename, self._need)(value)
        yield f"        row[{group.result} + i] = {text}"
        yield "else:"


def _numbers(line: SeriesLine) -> list[Expr]:
    """The expressions in parameters that a line has."""
    match line.operation:
        case Sum(terms=terms, constant=first):
            return [*(factor for factor, _ in terms), *([] if first is None else [first])]
        case Power(exponent=exponent, value=value):
            return [exponent, value]
        case Elementary(function=function, factor=factor):
            return [factor, Apply(function, (Ref(_FIRST),))]
    return []
