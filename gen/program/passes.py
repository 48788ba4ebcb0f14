"""Passes over memory: a function cut at its sums.

In: a :class:`Function`.  Out: the passes over the arrays it takes, with what each loads, computes,
stores and sums.  An array expression that needs a sum belongs to a later pass than the sum; a local
that a later pass needs is read back if it was stored, and computed again where storing it would
overwrite a value still needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hamilforge.gen.program.ir import Function, Line, Reduce, names, with_names


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
    stored_in = {
        local: _store_level(function, level, array, local) for local, array in stored.items()
    }
    return tuple(_pass(function, lines, level, stored, stored_in, index) for index in range(count))


def _store_level(function: Function, level: dict[str, int], array: str, local: str) -> int:
    """The first pass in which ``local`` may overwrite ``array``: the last that reads the old."""
    needed = [
        level[line.name]
        for line in function.lines
        if line.name != local and array in names(line.value)
    ]
    return max([level[local], *needed])


def _pass(
    function: Function,
    lines: dict[str, Line],
    level: dict[str, int],
    stored: dict[str, str],
    stored_in: dict[str, int],
    index: int,
) -> Pass:
    sums = [
        line
        for line in function.lines
        if isinstance(line.value, Reduce) and level[line.name] == index
    ]
    scalars = [
        line
        for line in function.lines
        if line.target.is_scalar and line not in sums and level[line.name] == index
    ]
    wanted = [local for local, where in stored_in.items() if where == index]
    loads: set[str] = set()
    body: dict[str, Line] = {}

    def need(name: str) -> None:
        if name in body:
            return
        if name not in lines:
            if name in function.arrays:
                loads.add(name)
            return
        if lines[name].target.is_scalar:
            return
        if stored_in.get(name, index) < index:
            loads.add(stored[name])
            return
        for part in names(lines[name].value):
            need(part)
        body[name] = _read_back(lines[name], stored, stored_in, index)

    for name in wanted:
        need(name)
    for line in sums:
        for name in names(line.value):
            need(name)
    ordered = tuple(body[line.name] for line in function.lines if line.name in body)
    return Pass(
        tuple(array for array in function.arrays if array in loads),
        ordered,
        tuple((stored[local], local) for local in wanted),
        tuple(_read_back(line, stored, stored_in, index) for line in sums),
        tuple(scalars),
    )


def _read_back(line: Line, stored: dict[str, str], stored_in: dict[str, int], index: int) -> Line:
    """A line with locals that an earlier pass stored read from their arrays."""
    arrays = {local: stored[local] for local, where in stored_in.items() if where < index}
    return replace(line, value=with_names(line.value, arrays))


def bytes_per_parameter(passes: tuple[Pass, ...], itemsize: int = 4) -> int:
    """Bytes moved per parameter and stage: every load and every store of every pass."""
    return itemsize * sum(len(sweep.loads) + len(sweep.stores) for sweep in passes)
