"""Series of a large system in groups of like operations, so that loops can take them together.

In: operations on series.  Out: a column for each series and, in order, what is done to a row, the
coefficients of one power: sums one by one, then copies, then a loop for each group of operations of
one kind, whose operands and results stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hamilforge.gen.program.integrators.series import (
    TIME,
    Elementary,
    Operation,
    Power,
    Product,
    Quotient,
    SeriesLine,
    SeriesProgram,
    Sum,
)
from hamilforge.gen.program.lower import ONE

#: How many operations a loop takes at once: groups are filled up to a multiple.
LANES = 8


@dataclass(frozen=True, slots=True)
class Group:
    """Operations of one kind.

    Attributes:
        operation: of the first line.
        operands: the first column of each operand; None for one that is 1.
        result: the first column of the results.
        count: how many.
    """

    operation: Operation
    operands: tuple[int | None, ...]
    result: int
    count: int

    @property
    def width(self) -> int:
        """How many are computed, the fill included."""
        return _filled(self.count)


@dataclass(frozen=True, slots=True)
class Copies:
    """Columns that are copied to stand side by side."""

    sources: tuple[int, ...]
    target: int


Statement = SeriesLine | Copies | Group


@dataclass(frozen=True, slots=True)
class Groups:
    """The whole of it.

    Attributes:
        width: how many columns there are.
        columns: that of each series.
        statements: what is done to each row, in order.
    """

    width: int
    columns: dict[str, int]
    statements: tuple[Statement, ...]

    def ungrouped(self, program: SeriesProgram) -> SeriesProgram:
        """What the statements do, one series after the other, each called by its column.

        So what loops compute is seen in the same way as what lines do: a column that is read before
        it is filled, or is not the one that was meant, makes another program.

        Args:
            program: that was grouped; its components and the time keep their names.
        """
        self._refuse_overlaps()
        given = {self.columns[name]: name for name in (*program.components, TIME)}

        def called(column: int) -> str:
            return given.get(column, f"column__{column}")

        place = {name: called(column) for name, column in self.columns.items()}
        lines: list[SeriesLine] = []
        for statement in self.statements:
            match statement:
                case SeriesLine(name=name, operation=Sum(terms=terms, constant=first)):
                    read = tuple((factor, place[series]) for factor, series in terms)
                    lines.append(SeriesLine(place[name], Sum(read, first)))
                case Copies(sources=sources, target=target):
                    for column, source in enumerate(sources, target):
                        same = Sum(((ONE, called(source)),))
                        lines.append(SeriesLine(called(column), same))
                case Group(operation=operation, operands=operands, result=result, count=count):
                    for k in range(count):
                        of = [None if first is None else called(first + k) for first in operands]
                        lines.append(SeriesLine(called(result + k), _with_operands(operation, of)))
        results = tuple(
            (factor, None if series is None else place[series])
            for factor, series in program.results
        )
        return SeriesProgram(program.inputs, program.components, tuple(lines), results)

    def _refuse_overlaps(self) -> None:
        """Refuse groups whose loops, with their fill, write other columns or read what they write.

        Raises:
            AssertionError: one does.
        """
        of_copies = [
            copies.target + k
            for copies in self.statements
            if isinstance(copies, Copies)
            for k in range(len(copies.sources))
        ]
        groups = [group for group in self.statements if isinstance(group, Group)]
        for group in groups:
            own = range(group.result, group.result + group.count)
            filled = range(group.result, group.result + group.width)
            others = [*self.columns.values(), *of_copies, *(other.result for other in groups)]
            written = {column for column in others if column in filled} - {*own}
            early = [
                first
                for first, (_, is_late) in zip(
                    group.operands, _operands(group.operation), strict=True
                )
                if first is not None and not is_late
            ]
            read = {column for first in early for column in range(first, first + group.count)}
            ends = [first + group.width for first in (*group.operands, group.result) if first]
            if written or read & {*filled} or max(ends) > self.width:
                raise AssertionError(f"the loop over {group.operation} leads into other columns")


def grouped(program: SeriesProgram) -> Groups:
    """Like operations together.

    Args:
        program: operations on series, in order.

    Returns:
        Columns and statements.
    """
    return _Grouping(program).groups()


class _Grouping:
    """Columns are given out as groups ask for them."""

    def __init__(self, program: SeriesProgram) -> None:
        self._lines = program.lines
        names = (*program.components, TIME)
        self._columns = {name: place for place, name in enumerate(names)}
        self._width = _filled(len(names))
        self._of_sums = {line.name for line in self._lines if isinstance(line.operation, Sum)}

    def groups(self) -> Groups:
        """All statements, level by level; last, copies of what is read to one power less."""
        levels = self._levels()
        statements: list[Statement] = []
        late: list[tuple[list[str], int]] = []
        for level in sorted(set(levels.values())):
            by_kind: dict[object, list[SeriesLine]] = {}
            for line in self._lines:
                if levels[line.name] == level:
                    by_kind.setdefault(_kind(line.operation), []).append(line)
            for kind, members in by_kind.items():
                if kind is Sum:
                    statements += members
                    continue
                copies, later, group = self._group(members)
                statements += [*copies, group]
                late += later
        for line in self._lines:
            if line.name not in self._columns:
                self._columns[line.name] = self._take(1)
        self._take(LANES)  # a loop reads as far as it is filled
        copies = [
            Copies(tuple(self._columns[name] for name in names), target) for names, target in late
        ]
        return Groups(self._width, self._columns, (*statements, *copies))

    def _levels(self) -> dict[str, int]:
        """How many operations deep each line is."""
        levels: dict[str, int] = {}
        for line in self._lines:
            early = (name for name, is_late in _operands(line.operation) if not is_late)
            reads = (name for name in early if name is not None)
            levels[line.name] = 1 + max((levels.get(name, 0) for name in reads), default=0)
        return levels

    def _take(self, count: int) -> int:
        first = self._width
        self._width += count
        return first

    def _group(
        self, members: list[SeriesLine]
    ) -> tuple[list[Copies], list[tuple[list[str], int]], Group]:
        """Copies for a group, series to be copied last with their columns, and the group."""
        ordered = sorted(map(self._with_sums_first, members), key=self._place)
        early: list[Copies] = []
        late: list[tuple[list[str], int]] = []
        operands: list[int | None] = []
        for slot in zip(*(_operands(line.operation) for line in ordered), strict=True):
            names = [name for name, _ in slot if name is not None]
            if not names:
                operands.append(None)
                continue
            first = None if slot[0][1] else self._side_by_side(names)
            if first is None:
                first = self._take(_filled(len(names)))
                if slot[0][1]:  # kin may have no columns yet
                    late.append((names, first))
                else:
                    early.append(Copies(tuple(self._columns[name] for name in names), first))
            operands.append(first)
        result = self._take(_filled(len(ordered)))
        self._columns |= {line.name: result + k for k, line in enumerate(ordered)}
        return early, late, Group(ordered[0].operation, tuple(operands), result, len(ordered))

    def _with_sums_first(self, line: SeriesLine) -> SeriesLine:
        """A product with the operand in front that is a sum, or stands before the other."""
        if not isinstance(line.operation, Product):
            return line
        pair = (line.operation.left, line.operation.right)
        left, right = sorted(
            pair, key=lambda name: (name not in self._of_sums, self._columns.get(name, 0))
        )
        return SeriesLine(line.name, Product(left, right))

    def _place(self, line: SeriesLine) -> int:
        """Where the first operand stands; last where it does not yet."""
        (name, _), *_ = _operands(line.operation)
        return self._columns.get(name or "", self._width)

    def _side_by_side(self, names: list[str]) -> int | None:
        """The column from which series stand side by side, if they do or can; for sums they can."""
        if len({*names}) == len(names) and all(
            name in self._of_sums and name not in self._columns for name in names
        ):
            first = self._take(_filled(len(names)))
            self._columns |= {name: first + k for k, name in enumerate(names)}
            return first
        for name in names:
            if name not in self._columns:  # of a sum
                self._columns[name] = self._take(1)
        first = self._columns[names[0]]
        same = [self._columns[name] for name in names] == [*range(first, first + len(names))]
        return first if same else None


def _filled(count: int) -> int:
    return -(-count // LANES) * LANES


def _operands(operation: Operation) -> list[tuple[str | None, bool]]:
    """What an operation reads, each with whether it is read to one power less only."""
    match operation:
        case Sum(terms=terms):
            return [(name, False) for _, name in terms]
        case Product(left=left, right=right):
            return [(left, False)] if left == right else [(left, False), (right, False)]
        case Quotient(over=over, under=under):
            return [(over, False), (under, False)]
        case Power(base=base):
            return [(base, False)]
        case Elementary(argument=argument, over=over, under=under):
            return [(argument, False), (over, True), (under, True)]


def _with_operands(operation: Operation, names: Sequence[str | None]) -> Operation:
    """The same operation with operands of other names, in the order of :func:`_operands`."""
    match operation, names:
        case Product(), [str(both)]:
            return Product(both, both)
        case Product(), [str(left), str(right)]:
            return Product(left, right)
        case Quotient(), [over, str(under)]:
            return Quotient(over, under)
        case Power(), [str(base)]:
            return replace(operation, base=base)
        case Elementary(), [str(argument), over, under]:
            return replace(operation, argument=argument, over=over, under=under)
    raise AssertionError(f"{operation} with {len(names)} operands")


def _kind(operation: Operation) -> object:
    """What operations of one group have in common."""
    match operation:
        case Sum():
            return Sum
        case Product(left=left, right=right):
            return Product, left == right
        case Quotient(over=over):
            return Quotient, over is None
        case Power(exponent=exponent):
            return Power, exponent
        case Elementary(function=function, factor=factor, over=over, under=under):
            return Elementary, function, factor, over is None, under is None
