"""Series in loops over their powers: sums in loops over those of like terms, groups of like
operations by the runtime's kernels.

In: operations on series.  Out: a column for each series, and the lines that fill a row, the
coefficients of one power, from the rows before.  Code grows with the number of different sums, not
with that of all: which columns a loop goes through stands in a table.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
#: Terms of sums in a row up to which each sum has a line of its own, which is quicker by a tenth to
#: a fifth, and takes 6 ms to compile for each term.
MOST_TERMS = 600
#: Sums of like terms, and runs of neighbours that are copied, from which on there is a loop then.
FEW = 3


@dataclass(frozen=True, slots=True)
class _Entry:
    """``constant + sum factor * row[column]``, an entry of a row; the constant is of power 0."""

    place: int
    terms: tuple[tuple[Expr, int], ...]
    constant: Expr | None = None


class SeriesLoops:
    """The lines of a loop over powers.

    Args:
        problem: whose components the series are of.
        program: the operations.
        arguments: of the function that the lines are of.
        need: notes what the texts use.
        table: the name of the table of columns.

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
        table: str,
    ) -> None:
        self._program, self._need, self._table = program, need, table
        self._places: list[int] = []
        terms = sum(len(line.operation.reads) for line in program.lines if _is_sum(line))
        self._few: float = math.inf if terms <= MOST_TERMS else FEW
        self._groups = grouped(program)
        self.width = self._groups.width
        values = [value for line in program.lines for value in _numbers(line)]
        values += [factor for factor, _ in program.results]
        self._spelling = spelling_of(problem, NumbaPrinter, (*arguments, *VARIABLES, table), values)
        self._printer = NumbaPrinter(self._spelling, need)
        used = {name for value in values for name in names(value)}
        parameters = {entry.name for entry in problem.parameters}
        self.header = unpacked(problem, used & parameters, self._spelling)

    def table(self) -> tuple[str, ...]:
        """The lines of the table of columns, after :meth:`body` and :meth:`results`."""
        if not self._places:
            return ()
        text = f"{self._table} = np.array([{', '.join(map(str, self._places))}])"
        return tuple(textwrap.wrap(text, 96, subsequent_indent="    "))

    @property
    def time(self) -> int | None:
        """The column of the time, where it is read."""
        read = {name for line in self._program.lines for name in line.operation.reads}
        read |= {series for _, series in self._program.results if series is not None}
        return self._groups.columns[TIME] if TIME in read else None

    def body(self) -> Iterator[str]:
        """What fills ``row``, that of power ``k``."""
        waiting: list[_Entry] = []
        for statement in self._groups.statements:
            if isinstance(statement, SeriesLine):
                entry = self._sum(statement)
                made = {other.place for other in waiting}
                if any(column in made for _, column in entry.terms):
                    yield from self._entries("row", waiting)
                    waiting = []
                waiting.append(entry)
                continue
            yield from self._entries("row", waiting)
            waiting = []
            if isinstance(statement, Copies):
                yield from self._copies(statement.sources, statement.target)
            else:
                yield from self._group(statement)
        yield from self._entries("row", waiting)

    def results(self, row: str, first: int = 0) -> Iterator[str]:
        """What writes the results into columns of a row.

        Args:
            row: its name.
            first: the column of the first result.
        """
        waiting = []
        for place, (factor, series) in enumerate(self._program.results, first):
            if series is None:
                yield from ("if k == 0:", f"    {row}[{place}] = {self._printer(factor)}")
            else:
                waiting.append(_Entry(place, ((factor, self._groups.columns[series]),)))
        yield from self._entries(row, waiting)

    def _sum(self, line: SeriesLine) -> _Entry:
        """A sum, like terms side by side."""
        assert isinstance(line.operation, Sum)
        terms = [(factor, self._groups.columns[name]) for factor, name in line.operation.terms]
        terms.sort(key=lambda term: self._printer(term[0]))
        return _Entry(self._groups.columns[line.name], tuple(terms), line.operation.constant)

    def _entries(self, row: str, entries: Sequence[_Entry]) -> Iterator[str]:
        """Entries of a row of which none reads another, like ones in loops."""
        alike: dict[tuple[tuple[Expr, ...], Expr | None], list[_Entry]] = {}
        for entry in entries:
            factors = tuple(factor for factor, _ in entry.terms)
            alike.setdefault((factors, entry.constant), []).append(entry)
        for (factors, constant), members in alike.items():
            if len(members) < self._few:
                for member in members:
                    columns = [str(column) for _, column in member.terms]
                    yield from self._entry(f"{row}[{member.place}]", factors, columns, constant)
                continue
            place = self._listed([member.place for member in members])
            columns = [
                self._listed([member.terms[k][1] for member in members])
                for k in range(len(factors))
            ]
            yield f"for i in range({len(members)}):"
            for line in self._entry(f"{row}[{place}]", factors, columns, constant):
                yield f"    {line}"

    def _entry(
        self, target: str, factors: Sequence[Expr], columns: Sequence[str], constant: Expr | None
    ) -> Iterator[str]:
        """What writes an entry.

        Args:
            target: its text.
            factors: of its terms.
            columns: the texts of their columns.
            constant: of power 0; None for zero.
        """
        pairs = enumerate(factors)
        value = add(*(scaled(factor, Ref(f"term {k}")) for k, factor in pairs))
        entries = {f"term {k}": f"row[{column}]" for k, column in enumerate(columns)}
        yield f"{target} = {NumbaPrinter({**self._spelling, **entries}, self._need)(value)}"
        if constant is not None:
            yield "if k == 0:"
            yield f"    {target} += {self._printer(constant)}"

    def _listed(self, columns: Sequence[int]) -> str:
        """The text of the i-th of some columns; neighbours need no table."""
        if [*columns] == [*range(columns[0], columns[0] + len(columns))]:
            return f"{columns[0]} + i"
        begin = len(self._places)
        self._places += columns
        return f"{self._table}[{begin} + i]"

    def _copies(self, sources: Sequence[int], target: int) -> Iterator[str]:
        """What copies columns: runs of neighbours in loops; many runs in one, by the table."""
        runs: list[list[int]] = []
        for source in sources:
            if runs and source == runs[-1][-1] + 1:
                runs[-1].append(source)
            else:
                runs.append([source])
        for run in runs if len(runs) < self._few else [[*sources]]:
            if len(run) == 1:
                yield f"row[{target}] = row[{run[0]}]"
            else:
                yield f"for i in range({len(run)}):"
                yield f"    row[{target} + i] = row[{self._listed(run)}]"
            target += len(run)

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


def _is_sum(line: SeriesLine) -> bool:
    return isinstance(line.operation, Sum)


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
