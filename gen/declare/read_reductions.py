"""``[[reductions]]``: other optimizers that an optimizer becomes, as its file claims.

In: the file of an optimizer of any form.  Out: each :class:`Reduction`, its names and types
checked; nothing of it is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import did_you_mean
from hamilforge.gen.declare.expression import ELEMENTWISE, Expression, constant
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.read_parts import Find, another
from hamilforge.gen.declare.reader import Reader, inside, shortened
from hamilforge.gen.declare.shapes import SCALAR, VECTOR

_KEYS = ("to", "values", "state", "at", "limit")
#: What may grow without bound.
_LIMIT = "n"


def reductions(
    reader: Reader,
    numbers: tuple[kinds.Parameter, ...],
    unknowns: tuple[str, ...],
    find: Find,
) -> tuple[kinds.Reduction, ...]:
    """Read ``[[reductions]]``.

    Args:
        reader: the file.
        numbers: what may be set of this optimizer.
        unknowns: the point, then the arrays of the state.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The reductions; problems are noted by the reader.
    """
    tables = reader.source.tables.get("reductions", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        reader.problem("a list of tables was expected: [[reductions]]", "reductions")
        return ()
    found: list[kinds.Reduction] = []
    for number, table in enumerate(tables):
        one = _Table(reader, table, number).read(numbers, unknowns, find)
        if one is None:
            continue
        if one.to.head.name in {other.to.head.name for other in found}:
            message = f"there is a reduction to '{one.to.head.name}' already"
            reader.problem(message, "reductions", number, "to")
        found.append(one)
    return tuple(found)


class _Table:
    """One table of the list.

    Args:
        reader: the file.
        table: its keys and values.
        number: its number in the list.
    """

    def __init__(self, reader: Reader, table: Mapping[str, Any], number: int) -> None:
        self._reader, self._table, self._number = reader, table, number

    def _problem(self, message: str, *path: str) -> None:
        self._reader.problem(message, "reductions", self._number, *path)

    def read(
        self, numbers: tuple[kinds.Parameter, ...], unknowns: tuple[str, ...], find: Find
    ) -> kinds.Reduction | None:
        """The reduction; None where it names no optimizer."""
        for key in self._table:
            if key not in _KEYS:
                message = f"unknown key; expected one of {', '.join(_KEYS)}"
                self._problem(message + did_you_mean(key, _KEYS), key)
        at = ("reductions", self._number, "to")
        to = another(self._reader, self._table.get("to"), ("optimizer",), find, *at)
        if to is None:
            return None
        assert isinstance(to, kinds.Optimizer | kinds.Rule | kinds.Discretised)
        theirs = {entry.name: SCALAR for entry in to.numbers}
        fixed = {*self._entries("at")}
        free = {name: shape for name, shape in theirs.items() if name not in fixed}
        scalars, late = {**theirs, "n": SCALAR}, self._late()
        arrays: dict[str, Shape] = dict(theirs if late else scalars)
        arrays |= dict.fromkeys(unknowns, VECTOR)
        name = to.head.name
        #: The point of a rule may have an array of its own, where gradients are taken elsewhere.
        states = to.unknowns[1:] if isinstance(to, kinds.Optimizer) else to.unknowns
        reduction = kinds.Reduction(
            to,
            self._part("values", numbers, SCALAR, scalars, "hyper-parameter"),
            self._part("state", states, VECTOR, arrays, f"array of {name}"),
            self._part("at", to.numbers, SCALAR, free, f"hyper-parameter of {name}"),
            late,
            self._number,
        )
        self._refuse_missing(to)
        return reduction

    def _entries(self, part: str) -> Mapping[str, Any]:
        """A table of expressions by name, empty where it is missing."""
        entries = self._table.get(part, {})
        if not isinstance(entries, dict):
            self._problem(f"{part} is a table: {{ name = expression, ... }}", part)
            return {}
        return entries

    def _part(
        self,
        part: str,
        named: Iterable[kinds.Parameter | str],
        shape: Shape,
        known: Mapping[str, Shape],
        what: str,
    ) -> tuple[tuple[str, Expression], ...]:
        """A table of expressions by name.

        Args:
            part: its key.
            named: what it may name.
            shape: of its values.
            known: the shapes of the names that its values may read.
            what: a name of it is, for errors.
        """
        own = {entry if isinstance(entry, str) else entry.name: entry for entry in named}
        read = []
        for name, text in self._entries(part).items():
            place = ("reductions", self._number, part, name)
            if name not in own:
                message = f"'{name}' is no {what}; expected one of {', '.join(own)}"
                self._reader.problem(message + did_you_mean(name, own), *place)
            entry = own.get(name)
            is_flag = isinstance(entry, kinds.Parameter) and entry.domain == kinds.FLAG
            if is_flag and not isinstance(text, bool):
                self._reader.problem(f"a flag is true or false, not {shortened(text)}", *place)
                continue
            value = self._reader.expression(int(text) if is_flag else text, *place)
            self._reader.typed(value, shape, known, ELEMENTWISE, *place)
            exact = constant(value.tree) if value else None
            if isinstance(entry, kinds.Parameter) and exact is not None:
                if not inside(exact, entry.domain):
                    message = f"{exact} is outside the domain {kinds.DOMAINS[entry.domain]}"
                    self._reader.problem(message, *place)
            if value:
                read.append((name, value))
        return tuple(read)

    def _late(self) -> bool:
        """Whether a limit is declared."""
        limit = self._table.get("limit")
        if limit not in (None, _LIMIT):
            self._problem(f"expected '{_LIMIT}', the number of the step, which grows", "limit")
        return limit is not None

    def _refuse_missing(self, to: kinds.Optimizer | kinds.Rule | kinds.Discretised) -> None:
        """All arrays of the other one's state are said; that its point is ours goes without."""
        declared = self._entries("state")
        missing = [name for name in to.unknowns[1:] if name not in declared]
        if missing and isinstance(self._table.get("state", {}), dict):
            names = ", ".join(f"'{name}'" for name in missing)
            self._problem(f"{to.head.name} keeps {names}, of which nothing is said", "state")
