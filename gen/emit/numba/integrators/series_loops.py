"""Series in loops over their powers: sums line by line, groups of like operations by the runtime's
kernels.

In: operations on series.  Out: a column for each series, and the lines that fill a row, the
coefficients of one power, from the rows before.
"""

from __future__ import annotations

from collections.abc import Iterator

from hamilforge.gen.emit.numba.printer import NumbaPrinter
from hamilforge.gen.emit.products.integrator import spelling_of, unpacked
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.integrators.integrator import Problem
from hamilforge.gen.program.integrators.series import (
    FIRST,
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
from hamilforge.gen.program.ir import Expr, Ref, names
from hamilforge.gen.program.lower import add, scaled

#: The variables of the loop.
VARIABLES = ("k", "row", "first", "i", "series_kernels", "range")


class SeriesLoops:
    """The lines of a loop over powers.

    Attributes:
        width: how many columns there are.
        header: lines before the loop: the parameters that it reads.
    """

    def __init__(
        self,
        problem: Problem,
        program: SeriesProgram,
        arguments: tuple[str, ...],
        need: Requirements,
    ) -> None:
        self._program, self._need = program, need
        self._groups = grouped(program)
        self.width = self._groups.width
        values = [value for line in program.lines for value in _numbers(line)]
        values += [factor for factor, _ in program.results]
        self._spelling = spelling_of(problem, NumbaPrinter, (*arguments, *VARIABLES), values)
        self._printer = NumbaPrinter(self._spelling, need)
        used = {name for value in values for name in names(value)}
        parameters = {entry.name for entry in problem.parameters}
        self.header = unpacked(problem, used & parameters, self._spelling)

    @property
    def time(self) -> int | None:
        """The column of the time, where it is read."""
        read = {name for line in self._program.lines for name in line.operation.reads}
        read |= {series for _, series in self._program.results if series is not None}
        return self._groups.columns[TIME] if TIME in read else None

    def body(self) -> Iterator[str]:
        """What fills ``row``, that of power ``k``."""
        for statement in self._groups.statements:
            match statement:
                case SeriesLine(name=name, operation=Sum() as operation):
                    yield from self._sum(self._groups.columns[name], operation)
                case Copies(sources=sources, target=target):
                    yield from _copies(sources, target)
                case Group():
                    yield from self._group(statement)

    def results(self, row: str, first: int = 0) -> Iterator[str]:
        """What writes the results into columns of a row.

        Args:
            row: its name.
            first: the column of the first result.
        """
        for place, (factor, series) in enumerate(self._program.results, first):
            if series is None:
                yield from ("if k == 0:", f"    {row}[{place}] = {self._printer(factor)}")
                continue
            text = self._text(scaled(factor, Ref(f"row {self._groups.columns[series]}")))
            yield f"{row}[{place}] = {text}"

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

    def _group(self, group: Group) -> Iterator[str]:
        kernels = self._need("series_kernels")
        places = [-1 if operand is None else operand for operand in group.operands]
        end = f"{group.result}, {group.width})"
        match group.operation:
            case Product(left=left, right=right):
                name = "square" if left == right else "product"
                yield f"{kernels}.{name}(rows, k, {', '.join(map(str, places))}, {end}"
            case Quotient():
                yield f"{kernels}.quotient(rows, k, {places[0]}, {places[1]}, {end}"
            case Power(exponent=exponent, value=value):
                yield from self._first(group, value)
                text = self._printer(exponent)
                yield f"    {kernels}.power(rows, k, {text}, {places[0]}, {end}"
            case Elementary(factor=factor, value=value):
                yield from self._first(group, value)
                text = self._printer(factor)
                operands = ", ".join(map(str, places))
                yield f"    {kernels}.elementary(rows, k, {text}, {operands}, {end}"

    def _first(self, group: Group, value: Expr) -> Iterator[str]:
        """The first row of a group, from what it is a function of."""
        yield "if k == 0:"
        yield f"    for i in range({group.count}):"
        yield f"        first = row[{group.operands[0]} + i]"
        text = NumbaPrinter({**self._spelling, FIRST: "first"}, self._need)(value)
        yield f"        row[{group.result} + i] = {text}"
        yield "else:"


def _copies(sources: tuple[int, ...], target: int) -> Iterator[str]:
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


def _numbers(line: SeriesLine) -> list[Expr]:
    """The expressions in parameters that a line has."""
    match line.operation:
        case Sum(terms=terms, constant=first):
            return [*(factor for factor, _ in terms), *([] if first is None else [first])]
        case Power(exponent=exponent, value=value):
            return [exponent, value]
        case Elementary(factor=factor, value=value):
            return [factor, value]
    return []
