"""Passes over memory: a function cut at its sums.

In: a :class:`Function`.  Out: the passes over the arrays it takes, with what each loads, computes,
stores and sums.  An array expression that needs a sum belongs to a later pass than the sum; a local
that a later pass needs is read back if it was stored, and computed again where storing it would
overwrite a value still needed.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from hamilforge.gen.program.ir import Function, Line, Reduce, Ref, Select, names, with_names


@dataclass(frozen=True, slots=True)
class Pass:
    """One sweep over the arrays.

    Attributes:
        loads: the arrays read, in the function's order.
        body: array lines, in order.
        stores: ``(array, local)`` pairs written.
        sums: reductions over the coordinates, in locals of this pass or stored arrays.
        scalars: what is computed from the sums when the pass is over.
    """

    loads: tuple[str, ...]
    body: tuple[Line, ...]
    stores: tuple[tuple[str, str], ...]
    sums: tuple[Line, ...]
    scalars: tuple[Line, ...]

    def left_alone(self, array: str) -> tuple[Select, bool] | None:
        """By what choice a stored array stays as it was, if scalars may say so.

        Args:
            array: that is stored.

        Returns:
            The choice, and whether the array is its first value; None if there is no such choice.
        """
        lines = {line.name: line for line in self.body}
        line = lines.get(dict(self.stores)[array])
        if line is None or not isinstance(line.value, Select):
            return None
        choice, old = line.value, Ref(array)
        by_scalars = {*names(choice.subject)}.isdisjoint((*self.loads, *lines))
        if by_scalars and old in (choice.then, choice.otherwise):
            return choice, choice.then == old
        return None


def schedule(function: Function) -> tuple[Pass, ...]:
    """The passes of a function, in order."""
    lines = {line.name: line for line in function.lines}
    level: dict[str, int] = {}
    for line in function.lines:
        after = [
            level[name] + (lines[name].target.is_scalar and not line.target.is_scalar)
            for name in names(line.value)
            if name in lines
        ]
        level[line.name] = max(after, default=0)
    count = 1 + max(level.values())
    stored = {local.name: array for array, local in function.results}
    stored_in = {local: level[local] for local in stored}
    while True:
        cuts = [_Cut(function, lines, level, stored, stored_in, index) for index in range(count)]
        # a pass may overwrite an array once no later one reads what was there before the step
        last = {array: cut.index for cut in cuts for array in cut.old}
        later = {
            local: max(where, last.get(stored[local], 0)) for local, where in stored_in.items()
        }
        if later == stored_in:
            return tuple(cut.made for cut in cuts)
        stored_in = later


class _Cut:
    """A pass, as far as it is known in which pass each result is stored.

    Attributes:
        old: the arrays that it reads as they were before the step.
        made: the pass.
    """

    def __init__(
        self,
        function: Function,
        lines: dict[str, Line],
        level: dict[str, int],
        stored: dict[str, str],
        stored_in: dict[str, int],
        index: int,
    ) -> None:
        self._function, self._lines, self.index = function, lines, index
        self._stored, self._stored_in = stored, stored_in
        self._read_back: set[str] = set()
        self.old: set[str] = set()
        self._body: dict[str, Line] = {}
        here = [line for line in function.lines if level[line.name] == index]
        sums = [line for line in here if isinstance(line.value, Reduce)]
        wanted = [local for local, where in stored_in.items() if where == index]
        for name in (*wanted, *(name for line in sums for name in names(line.value))):
            self._need(name)
        loads = self.old | self._read_back
        self.made = Pass(
            tuple(array for array in function.arrays if array in loads),
            tuple(self._body[line.name] for line in function.lines if line.name in self._body),
            tuple((stored[local], local) for local in wanted),
            tuple(map(self._with_stored, sums)),
            tuple(line for line in here if line.target.is_scalar and line not in sums),
        )

    def _need(self, name: str) -> None:
        if name in self._body or name in self._function.scalars:
            return
        if name not in self._lines:
            self.old.add(name)
        elif self._stored_in.get(name, self.index) < self.index:
            self._read_back.add(self._stored[name])
        elif not self._lines[name].target.is_scalar:
            line = self._lines[name]
            for part in names(line.value):
                self._need(part)
            self._body[name] = self._with_stored(line)

    def _with_stored(self, line: Line) -> Line:
        """A line with locals that an earlier pass stored read from their arrays."""
        arrays = {
            local: self._stored[local]
            for local, where in self._stored_in.items()
            if where < self.index
        }
        return replace(line, value=with_names(line.value, arrays))


def bytes_per_parameter(
    passes: tuple[Pass, ...], made: Container[str] = (), itemsize: int = 4
) -> int:
    """Bytes moved per parameter and stage: every load and every store of every pass.

    Args:
        passes: of a function.
        made: arrays that are made where they are read, and lie in no memory.
        itemsize: bytes of an entry.

    Returns:
        Bytes for each entry of a parameter.
    """
    loads = sum(name not in made for sweep in passes for name in sweep.loads)
    return itemsize * (loads + sum(len(sweep.stores) for sweep in passes))
